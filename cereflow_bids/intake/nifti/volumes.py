"""What each volume of a series is: told by the header, found or confirmed by the signal."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# An unsuppressed M0 is several times as bright as suppressed volumes; motion and noise are not.
UNSUPPRESSED_RATIO = 1.5
_FOREGROUND = 0.3
_AGREEING_PAIRS = 0.75
UNPAIRED = "n/a"


@dataclass(frozen=True)
class Order:
    """BIDS volume type per volume, how it is known, and what to tell the user."""

    types: tuple[str, ...]
    origin: str
    notes: tuple[str, ...] = ()

    @property
    def pairs(self) -> int:
        """Number of control-label pairs."""
        return min(self.types.count("control"), self.types.count("label"))


def mean_signal(data: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the mean over the head of each volume.

    Parameters
    ----------
    data
        ``(x, y, z, volumes)``, any unit.

    Returns
    -------
    numpy.ndarray
        ``(volumes,)``, same unit.
    """
    mean = data.mean(axis=3, dtype=float)
    head = mean > _FOREGROUND * np.percentile(mean, 98)
    if not head.any():
        return np.zeros(data.shape[3])
    return np.asarray(data[head].mean(axis=0, dtype=float))


def order(
    signal: NDArray[np.floating],
    tagged: tuple[str, ...] | None,
    delays: tuple[float, ...] | None = None,
) -> Order:
    """Decide what each volume is.

    Parameters
    ----------
    signal
        Mean signal per volume, ``(volumes,)``.
    tagged
        What the header says per volume, in acquired order, or None.
    delays
        Delay of each volume, s, where the header tells it (0: none), or None.

    Returns
    -------
    Order
        What the header tags stands, with a note where the signal contradicts it; what it does not
        tag is inferred from the signal, with a note where that is not clear.
    """
    bright = _unsuppressed(signal, delays)
    if tagged is not None and "deltam" in tagged and len(tagged) == len(signal):
        return Order(tagged, "header (image type)")
    if tagged is None or len(tagged) != len(signal) or not {"control", "label"} <= set(tagged):
        types, notes = _from_signal(signal, bright)
        if tagged is not None:
            notes = (
                f"The header does not tag all of {len(signal)} volumes as control or label, "
                "so its tags were not used.",
                *notes,
            )
        return Order(types, "inferred from the signal", notes)
    if "m0scan" in tagged:
        return Order(tagged, "header", _contradiction(signal, tagged))
    types = _with_m0(tagged, bright)
    origin = "header; M0 by its signal" if bright.any() else "header"
    return Order(types, origin, _contradiction(signal, types))


def suppressed(signal: NDArray[np.floating], types: tuple[str, ...]) -> bool | None:
    """Tell from the brightness of M0 whether the controls are suppressed; None without an M0."""
    kinds = np.array(types)
    if "m0scan" not in types or "control" not in types:
        return None
    ratio = signal[kinds == "m0scan"].mean() / signal[kinds == "control"].mean()
    return bool(ratio > UNSUPPRESSED_RATIO)


def _unsuppressed(
    signal: NDArray[np.floating], delays: tuple[float, ...] | None
) -> NDArray[np.bool_]:
    """Mark the volumes that are far brighter than the median one of their delay.

    The signal recovers from one readout to the next, so that late phases are bright by themselves.
    """
    usual = np.full(len(signal), np.median(signal))
    if delays is not None and len(delays) == len(signal):
        times = np.array(delays)
        for time in np.unique(times[times > 0]):
            usual[times == time] = np.median(signal[times == time])
    return np.asarray(signal > UNSUPPRESSED_RATIO * usual)


def _from_signal(
    signal: NDArray[np.floating], bright: NDArray[np.bool_]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Find M0 by its brightness, then say which of two alternating volumes is the control."""
    if len(signal) < 2 or not signal.any():
        return (UNPAIRED,) * len(signal), ("The signal does not tell the volumes apart.",)
    stray = _stray(bright)
    bright = bright & ~stray
    types = np.where(bright, "m0scan", "").astype("<U7")
    rest = np.flatnonzero(~bright)
    notes = _doubtful(stray)
    if len(rest) % 2 and not bright.any() and signal[0] > signal[1:].max():
        # Without suppression M0 is only a little brighter, but it comes first.
        types[0], rest = "m0scan", rest[1:]
    elif len(rest) % 2:
        # An odd volume before the pairs lets the signal settle.
        types[rest[0]] = UNPAIRED
        rest = rest[1:]
        notes += ("One volume belongs to no control-label pair and is not used.",)
    first, second = rest[0::2], rest[1::2]
    whole = ~(stray[first] | stray[second])
    control_first = bool(signal[first[whole]].sum() > signal[second[whole]].sum())
    types[first] = "control" if control_first else "label"
    types[second] = "label" if control_first else "control"
    types[first[~whole]] = types[second[~whole]] = UNPAIRED
    found = tuple(str(kind) for kind in types)
    return found, notes + doubt(signal, found)


def _stray(bright: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark bright volumes that stand where no M0 can: inside of a pair.

    An M0 comes before or after all pairs; between them only where as many volumes, or whole pairs,
    come before and after it.
    """
    dark = np.flatnonzero(~bright)
    lengths = np.diff(np.flatnonzero(np.diff(dark, prepend=-2, append=len(bright) + 1) > 1))
    if not (lengths % 2).any() or len(set(lengths)) == 1:
        return np.zeros_like(bright)
    places = np.arange(len(bright))
    return bright & (places > dark[0]) & (places < dark[-1])


def _doubtful(stray: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(
        f"Volume {number + 1} is far brighter than the others, but stands inside of a pair: it is "
        "taken for damaged, and its pair is not used."
        for number in np.flatnonzero(stray)
    )


def _with_m0(tagged: tuple[str, ...], bright: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple("m0scan" if b else kind for kind, b in zip(tagged, bright, strict=True))


def _agreement(signal: NDArray[np.floating], types: tuple[str, ...]) -> float:
    """Return the share of control-label pairs in which the control is brighter."""
    kinds = np.array(types)
    control, label = signal[kinds == "control"], signal[kinds == "label"]
    count = min(len(control), len(label))
    return float(np.mean(control[:count] > label[:count])) if count else 0.0


def _contradiction(signal: NDArray[np.floating], tagged: tuple[str, ...]) -> tuple[str, ...]:
    """Say where the signal speaks against the header: the order decides the sign of CBF."""
    agreeing = _agreement(signal, tagged)
    if agreeing >= _AGREEING_PAIRS or "control" not in tagged or "label" not in tagged:
        return ()
    if agreeing <= 1 - _AGREEING_PAIRS:
        what = "label is brighter than control"
    else:
        what = "control is not brighter than label in most pairs"
    return (
        f"The signal contradicts the tags of the header: {what}. The header was kept: check the "
        "order of the volumes.",
    )


def doubt(signal: NDArray[np.floating], types: tuple[str, ...]) -> tuple[str, ...]:
    """Say so where the signal does not bear out the order that it was used to infer."""
    if _agreement(signal, types) >= _AGREEING_PAIRS:
        return ()
    return (
        "Controls are not brighter than labels in most pairs: check the order of the volumes.",
    )
