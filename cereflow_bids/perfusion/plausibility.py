"""Mistakes that the data give away, named. Nothing is rescaled. Times in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]

ALARM_CBF = (10.0, 150.0)
"""Mean grey matter CBF, mL/100 g/min, outside which scaling is suspected (quality alarms)."""

USUAL_CBF = (20.0, 120.0)
"""Where a factor must bring it back to for the factor to be named (our choice)."""

LARGEST_VARIATION = 0.67
"""SD over mean of grey matter CBF above which low CBF looks like late arrival or noise, which no
factor explains (Mutsaerts 2017, doi:10.1177/0271678X16683690)."""

SHORTEST_TIME = 0.01
"""s; no delay but 0 and no labelling is shorter: a smaller number was divided by 1000 twice."""

SWAPPED_SIZE = 0.3
"""Least size of a negative difference, over that of the positive ones (our choice)."""

SWAPPED_LIKENESS = -0.2
"""A swapped difference is the negative of the others: their correlation over the brain is below
this, that of noise is about 0 (our choice; real pairs have 0.5 to 0.8)."""


@dataclass(frozen=True)
class Finding:
    """One suspicion: its name, the value behind it, what it means, and what to do."""

    name: str
    value: float
    text: str
    fix: str


_ORDER_FIX = "compare aslcontext.tsv with the order of acquisition."


def likeness(differences: ArrayLike) -> Float:
    """Return how much each difference looks like the others that are positive in the brain.

    Parameters
    ----------
    differences
        Control minus label of each pair in the voxels of the brain (v, p).

    Returns
    -------
    ndarray
        (p,) correlation over voxels with the mean of the other pairs whose mean is positive; NaN
        where there is no other, or nothing varies.
    """
    values = np.asarray(differences, dtype=np.float64)
    values = values[np.isfinite(values).all(axis=1)]
    found = np.full(values.shape[1], np.nan)
    if len(values) < 2:
        return found
    positive = values.mean(axis=0) > 0
    total, count = values[:, positive].sum(axis=1), positive.sum()
    for k in range(values.shape[1]):
        others = total - values[:, k] if positive[k] else total
        if count - positive[k] > 0 and others.std() > 0 and values[:, k].std() > 0:
            found[k] = np.corrcoef(values[:, k], others)[0, 1]
    return found


def check_order(
    pair_means: ArrayLike,
    alike: ArrayLike,
    tissue_contrast: float = float("nan"),
    names: Sequence[str] = (),
) -> list[Finding]:
    """Find swapped control and label.

    Late arrival makes differences small and noise makes them random; only a swap makes them the
    negative of what they should be.

    Parameters
    ----------
    pair_means
        Mean difference of each pair in the brain (p,).
    alike
        `likeness` of each pair (p,).
    tissue_contrast
        Correlation of the mean difference with grey minus white matter; NaN if unknown, where
        the means alone have to tell.
    names
        What to call each pair; its number, counted from 0, if not given.
    """
    means, same = np.asarray(pair_means, dtype=np.float64), np.asarray(alike, dtype=np.float64)
    finite = means[np.isfinite(means)]
    if not (finite < 0).any():
        return []
    if finite.mean() < 0 and _opposite(finite, tissue_contrast):
        text = "The mean control-label difference is negative: control and label are swapped."
        return [Finding("swapped_order", float(finite.mean()), text, _ORDER_FIX)]
    if not (finite > 0).any():
        return []
    typical = float(np.median(finite[finite > 0]))
    swapped = np.flatnonzero((means < -SWAPPED_SIZE * typical) & (same < SWAPPED_LIKENESS))
    if not swapped.size:
        return []
    which = "; ".join(names[k] if names else str(k) for k in swapped)
    text = (
        f"{swapped.size} of {finite.size} control-label differences are negative and the reverse "
        f"of the others: control and label are swapped there ({which})."
    )
    return [Finding("swapped_pairs", float(swapped.size), text, _ORDER_FIX)]


def _opposite(means: Float, tissue_contrast: float) -> bool:
    """Tell a swap of all pairs from noise about zero."""
    if np.isfinite(tissue_contrast):
        return tissue_contrast < -0.1
    if means.size < 3:
        return True
    return bool(abs(means.mean()) > 3 * means.std(ddof=1) / np.sqrt(means.size))


def check_scale(
    gm_cbf: float,
    *,
    vendor: str = "",
    excitations: float | None = None,
    variation: float = 0.0,
) -> list[Finding]:
    """Name what may have put the mean grey matter CBF out of the plausible range.

    Parameters
    ----------
    gm_cbf
        Mean grey matter CBF, mL/100 g/min.
    vendor
        Manufacturer; each has its own factors.
    excitations
        NEX of a GE perfusion-weighted image.
    variation
        SD over mean of grey matter CBF.
    """
    if not np.isfinite(gm_cbf) or gm_cbf <= 0 or ALARM_CBF[0] <= gm_cbf <= ALARM_CBF[1]:
        return []
    high = gm_cbf > ALARM_CBF[1]
    if not high and not variation <= LARGEST_VARIATION:
        return []
    causes = [*_factors(vendor, excitations), *_without_a_factor(vendor, high)]
    unit = f"Grey matter CBF is {gm_cbf:.4g} mL/100 g/min"
    return [
        Finding(name, factor, f"{unit}: perhaps {text}.", fix)
        for factor, name, text, fix in causes
        if not factor or USUAL_CBF[0] <= gm_cbf * factor <= USUAL_CBF[1]
    ]


_Cause = tuple[float, str, str, str]
_CONVERT = "correct the conversion and run again."


def _factors(vendor: str, excitations: float | None) -> list[_Cause]:
    """Return the mistakes that are a known factor: what would mend CBF, and what it is."""
    causes: list[_Cause] = [
        (1e-3, "scale_1000", "the series is a thousand times too large for M0", _CONVERT),
        (1e3, "scale_1000_low", "the series is a thousand times too small for M0", _CONVERT),
    ]
    if not vendor.upper().startswith("GE"):
        return causes
    image = "the perfusion image was"
    causes += [
        (1 / 32, "scale_32", f"{image} not divided by the scale factor 32", _CONVERT),
        (32.0, "scale_32_twice", f"{image} divided by 32 twice", _CONVERT),
    ]
    if excitations is not None and excitations > 1:
        both, n = 32 * excitations, f"NEX ({excitations:g})"
        causes += [
            (1 / excitations, "nex", f"{image} not divided by {n}", _CONVERT),
            (excitations, "nex_twice", f"{image} divided by {n} twice", _CONVERT),
            (1 / both, "scale_32_nex", f"{image} divided neither by 32 nor by {n}", _CONVERT),
        ]
    return causes


def _without_a_factor(vendor: str, high: bool) -> list[_Cause]:
    """Return the mistakes that may be of any size."""
    causes: list[_Cause] = []
    if vendor.upper().startswith("PHILIPS"):
        text = "the scale slope or the rescale slope of the series or of M0 was not applied"
        causes.append((0, "scale_slope", text, "convert both with their scale slopes."))
    side = "too dark, such as a background-suppressed one" if high else "too bright"
    text = f"M0 is {side}, or scaled otherwise than the series"
    return [*causes, (0, "m0_suspicious", text, "look at M0 beside the control images.")]


def check_times(times: ArrayLike) -> list[Finding]:
    """Find delays and durations (n,) in s that are too short to be: they were in s already.

    A delay of 0 is no mistake. Those in ms are so long that metadata with them is refused.
    """
    values = np.asarray(times, dtype=np.float64)
    short = values[(values > 0) & (values < SHORTEST_TIME)]
    if not short.size:
        return []
    text = f"A delay or duration of {short[0]:g} s is too short to be: it was divided by 1000."
    return [Finding("time_too_short", float(short[0]), text, "give it in seconds.")]
