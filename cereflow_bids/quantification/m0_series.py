"""Each part of a series by its own M0, where the parts were scaled differently."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.bids.parameters import DERIVED, Parameter
from cereflow_bids.bids.run import AslRun
from cereflow_bids.quantification.differences import Differences

Float = NDArray[np.floating]
Bool = NDArray[np.bool_]

SAME_SCALE = 0.05
"""Share by which M0 volumes of parts of a series may differ without a change of scale: the
smallest step of a receiver gain is about a tenth (our choice, as at conversion)."""

OTHER_SCALE = 1.5
"""M0 volumes that differ by more than this factor are not averaged: no incomplete recovery of one
of them explains it (our choice)."""

FOREGROUND = 0.3
"""Share of the brightest of an image from which a voxel is head (as at conversion)."""


@dataclass(frozen=True)
class OnOneScale:
    """Differences on the scale of the mean M0.

    Attributes
    ----------
    found
        The differences, each divided by its own M0 over the mean M0, with a record of it.
    refusal
        Why there is no absolute CBF; empty where there is.
    """

    found: Differences
    refusal: str = ""


def on_one_scale(run: AslRun, series: Float, found: Differences, mask: Bool) -> OnOneScale:
    """Bring differences to the scale of the mean M0 where each part of a series has its own.

    A run that joins several series, one per delay for instance, may have another receiver gain or
    slope in each: the brightness of its M0 volumes tells.

    Parameters
    ----------
    run
        Validated metadata.
    series
        Volumes (x, y, z, n), realigned.
    found
        All differences.
    mask
        Brain mask (x, y, z).
    """
    index = run.volumes("m0scan")
    if run.calibration.source != "included" or len(index) < 2:
        return OnOneScale(found)
    bright = {k: _brightness(series[..., k], mask) for k in index}
    lowest, highest = min(bright.values()), max(bright.values())
    if not (np.isfinite(list(bright.values())).all() and lowest > 0):
        return OnOneScale(found)
    change = highest / lowest
    if change < 1 + SAME_SCALE:
        return OnOneScale(found)
    usual = float(np.mean(list(bright.values())))
    own = _own_brightness(run, bright)
    ratios = [{own.get(volume) for volume in volumes} for volumes in found.volumes]
    told_apart = all(len(ratio) == 1 and None not in ratio for ratio in ratios)
    if told_apart and len(set(own.values())) > 1:
        return _scaled(found, [one / usual for ratio in ratios for one in ratio if one], change)
    if change < OTHER_SCALE:
        return OnOneScale(found)
    refusal = (
        f"the m0scan volumes differ in brightness by a factor of {change:.2f}, and nothing tells "
        "which of them goes with which volumes. Make each series a run of its own, or mark the "
        "m0scan volumes that do not belong to it as n/a in aslcontext.tsv."
    )
    return OnOneScale(found, refusal=refusal)


def mean_m0(volumes: Float) -> Float:
    """Return the mean of a separate M0 image, (x, y, z) or (x, y, z, n).

    Empty volumes do not count.

    Raises
    ------
    ValueError
        If its volumes differ too much to be images of the same.
    """
    if volumes.ndim == 3:
        return np.nan_to_num(volumes)
    imaged = [k for k in range(volumes.shape[-1]) if np.isfinite(volumes[..., k]).mean() > 0.5]
    mean: Float = np.nan_to_num(volumes[..., imaged or [0]].mean(axis=-1))
    head = mean > FOREGROUND * np.percentile(mean, 99)
    bright = [_brightness(volumes[..., k], head) for k in imaged]
    if bright and head.any() and max(bright) > OTHER_SCALE * max(min(bright), 0.0):
        which = ", ".join(f"{one / max(bright):.2f}" for one in bright)
        raise ValueError(f"the volumes of the M0 image differ in brightness ({which})")
    return mean


def _brightness(volume: Float, mask: Bool) -> float:
    inside = volume[mask & np.isfinite(volume)]
    return float(np.median(inside)) if inside.size else float("nan")


def _own_brightness(run: AslRun, bright: Mapping[int, float]) -> dict[int, float]:
    """Return the brightness of M0 in the part of the series that each volume belongs to.

    A part without M0 is not in it.
    """
    own: dict[int, float] = {}
    for part in _recorded_parts(run) or _equal_parts(run, list(bright)):
        found = [bright[k] for k in part if k in bright]
        if found:
            own |= dict.fromkeys(part, float(np.mean(found)))
    return own


def _recorded_parts(run: AslRun) -> list[list[int]]:
    """Return the volumes of each series that conversion joined; empty if that is not recorded."""
    recorded = json.loads(run.metadata or "{}").get("CereflowSeries")
    if not isinstance(recorded, list):
        return []
    return [one["Volumes"] for one in recorded if isinstance(one, dict) and "Volumes" in one]


def _equal_parts(run: AslRun, m0: Sequence[int]) -> list[list[int]]:
    """Split a series in which M0 recurs at equal distances into parts with one M0 each."""
    size, rest = divmod(len(run.context), len(m0))
    if rest or len({k % size for k in m0}) > 1:
        return []
    return [list(range(start, start + size)) for start in range(0, len(run.context), size)]


def _scaled(found: Differences, ratios: Sequence[float], change: float) -> OnOneScale:
    factors = np.asarray(ratios, dtype=found.values.dtype)
    value = tuple(float(f"{ratio:.4g}") for ratio in ratios)
    note = "brightness of its own M0 over the mean M0, by which each difference was divided"
    told = (
        f"The m0scan volumes differ in brightness by a factor of {change:.2f}, as after a change "
        "of scale between series: each difference was brought to the scale of its own M0."
    )
    scale = Parameter("M0OwnScale", value, "", DERIVED, note)
    values = found.values / factors
    divisors = tuple(float(factor) for factor in factors)
    return OnOneScale(
        replace(found, values=values, divisors=divisors, parameters=(scale,), notes=(told,))
    )
