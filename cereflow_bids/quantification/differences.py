"""The control-label differences of a run, each for itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.bids.parameters import Parameter
from cereflow_bids.bids.run import AslRun, Encoding
from cereflow_bids.errors import InputError
from cereflow_bids.perfusion.differences import pair_volumes, subtract
from cereflow_bids.perfusion.hadamard import decode, decoded_sign

Float = NDArray[np.floating]
Time = tuple[float, float]


@dataclass(frozen=True)
class Differences:
    """All differences of a run, by measurement, that is by delay and labelling duration.

    Attributes
    ----------
    values
        (x, y, z, p), in the precision of the series; those of one measurement stand together.
    measurement
        (p,) which measurement a difference belongs to.
    volumes
        (p,) the volumes that each was made of, counted from 0.
    delays, durations
        (n,) of each measurement by rising delay, s. The duration is TI1 for PASL, 0 if unknown.
    unpaired
        Volumes that had no partner of their own delay.
    divisors
        (p,) what each difference was divided by since; empty for nothing.
    parameters, notes
        For the record, of what was done to them besides subtracting.
    """

    values: Float
    measurement: tuple[int, ...]
    volumes: tuple[tuple[int, ...], ...]
    delays: tuple[float, ...]
    durations: tuple[float, ...]
    unpaired: tuple[int, ...] = ()
    divisors: tuple[float, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    notes: tuple[str, ...] = ()

    def members(self, measurement: int) -> list[int]:
        """Return the differences of one measurement."""
        return [k for k, own in enumerate(self.measurement) if own == measurement]


def find_differences(run: AslRun, series: Float) -> Differences:
    """Subtract label from control, or decode; pairs never mix delays, whatever their order.

    Parameters
    ----------
    run
        Validated metadata.
    series
        Volumes (x, y, z, n) or one difference (x, y, z), realigned.

    Raises
    ------
    InputError
        If a measurement has no control-label pair.
    """
    images = series if series.ndim == 4 else series[..., None]
    if run.labeling.encoding is not None:
        return _decoded(images, run.labeling.encoding)
    times = _times(run)
    used = [k for k, kind in enumerate(run.context) if kind in ("control", "label", "deltam")]
    measured = sorted({times[k] for k in used})
    sources: list[tuple[int, ...]] = []
    measurement: list[int] = []
    unpaired: list[int] = []
    for number, time in enumerate(measured):
        members = [k for k in used if times[k] == time]
        found, rest = _pairs(run, members, time, alone=len(measured) == 1)
        sources += found
        measurement += [number] * len(found)
        unpaired += rest
    if not sources:
        raise InputError(
            "there is no control-label pair.", where=run.source, fix="correct aslcontext.tsv."
        )
    return Differences(
        _subtract(images, sources),
        tuple(measurement),
        tuple(sources),
        tuple(delay for delay, _ in measured),
        tuple(duration for _, duration in measured),
        tuple(sorted(unpaired)),
    )


def _decoded(images: Float, encoding: Encoding) -> Differences:
    """Return one difference per block and cycle of time-encoded volumes."""
    cycles, blocks = encoding.cycles, range(len(encoding.delays))
    by_cycle = np.stack([decode(images[..., list(c)], encoding.signs) for c in cycles], axis=-1)
    return Differences(
        by_cycle.reshape(*images.shape[:3], -1),
        tuple(block for block in blocks for _ in cycles),
        tuple(cycle for _ in blocks for cycle in cycles),
        encoding.delays,
        encoding.durations,
    )


def check_decoding(run: AslRun, found: Differences, grey_matter: NDArray[np.bool_]) -> None:
    """Refuse decoded differences that are negative in grey matter: the matrix is the wrong way.

    Parameters
    ----------
    run, found
        The run and its differences; nothing is asked of a run that is not encoded.
    grey_matter
        Mask (x, y, z); the brain where grey matter is not known.

    Raises
    ------
    InputError
        Naming the matrix.
    """
    if run.labeling.encoding is None or not grey_matter.any():
        return
    try:
        sign = decoded_sign(found.values, grey_matter)
    except ValueError as error:
        raise InputError(
            f"the time-encoded volumes hold {error}.", where=run.source, fix="check the images."
        ) from error
    if sign < 0:
        raise InputError(
            "decoded by TimeEncodedMatrix, the label raises the signal of the brain: control and "
            "label are exchanged in the matrix.",
            where=run.source,
            fix="give 1 where a block was control and -1 where it was label; Philips matrices "
            "for ExploreASL, which turns them round by itself, have to be multiplied by -1.",
        )


def _times(run: AslRun) -> list[Time]:
    """Delay and duration of each volume; the same for all where a run has one delay."""
    labeling = run.labeling
    duration = labeling.bolus_cutoff if labeling.kind == "PASL" else labeling.labeling_duration
    one = 0.0 if duration is None or isinstance(duration.value, tuple) else float(duration.value)
    if not labeling.several_delays:
        return [(float(labeling.post_labeling_delay.value), one)] * len(run.context)
    durations = labeling.volume_durations or (one,) * len(run.context)
    return list(zip(labeling.volume_delays, durations, strict=True))


def _pairs(
    run: AslRun, members: Sequence[int], time: Time, *, alone: bool
) -> tuple[list[tuple[int, ...]], list[int]]:
    """Return the volumes of each difference of one measurement, and what was left over."""
    deltam = [k for k in members if run.context[k] == "deltam"]
    if deltam and len(deltam) < len(members):
        # The difference may be the mean of those very pairs, or a measurement of its own.
        raise InputError(
            f"the delay of {time[0]:g} s has both deltam and control or label volumes.",
            where=run.source,
            fix="mark those that are not to be used as n/a in aslcontext.tsv.",
        )
    if deltam:
        return [(k,) for k in deltam], []
    control, label, rest = pair_volumes([run.context[k] for k in members])
    if not control.size and not alone:
        raise InputError(
            f"the delay of {time[0]:g} s has no control-label pair.",
            where=run.source,
            fix="correct aslcontext.tsv or PostLabelingDelay.",
        )
    pairs = [(members[c], members[k]) for c, k in zip(control, label, strict=True)]
    return list(pairs), [members[k] for k in rest]


def _subtract(images: Float, sources: Sequence[tuple[int, ...]]) -> Float:
    """Return control minus label of each pair, or the difference that the scanner made."""
    first = [source[0] for source in sources]
    paired = [k for k, source in enumerate(sources) if len(source) == 2]
    if len(paired) == len(sources):
        return subtract(images, first, [source[1] for source in sources])
    values = np.asarray(images[..., first])
    if paired:
        label = [sources[k][1] for k in paired]
        values[..., paired] = subtract(images, [first[k] for k in paired], label)
    return values


def check_contrast(run: AslRun, found: Differences, mask: NDArray[np.bool_]) -> None:
    """Refuse a run in which control and label are the same images: its CBF would be 0.

    Parameters
    ----------
    run, found
        The run and its differences.
    mask
        Brain mask (x, y, z).

    Raises
    ------
    InputError
        If no difference has any signal in the brain.
    """
    if not any(found.values[..., k][mask].any() for k in range(found.values.shape[-1])):
        raise InputError(
            "every control image equals its label image: there is no difference in them.",
            where=run.source,
            fix="check how the volumes were converted, and aslcontext.tsv.",
        )
