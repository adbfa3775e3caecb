"""What the images of a run say against its metadata: order, scale, and an M0 that is none."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.bids.parameters import Parameter
from cereflow_bids.bids.run import AslRun
from cereflow_bids.perfusion.false_m0 import check_m0, compare
from cereflow_bids.perfusion.plausibility import (
    Finding,
    check_order,
    check_scale,
    check_times,
    likeness,
)
from cereflow_bids.quantification.differences import Differences
from cereflow_bids.quantification.tissues import Tissues

Float = NDArray[np.floating]
Bool = NDArray[np.bool_]

PURE_GM = 0.7
"""Grey matter fraction of the voxels that the mean CBF is of, as in the quality table."""

ENOUGH_VOXELS = 20_000
"""Voxels of the brain in which the order is judged; more would not change the verdict."""


def sentences(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Return each finding as a note for the report."""
    return tuple(f"{one.text} To fix: {one.fix}" for one in findings)


def judge_order(
    run: AslRun, found: Differences, mask: Bool, tissues: Tissues | None
) -> tuple[Finding, ...]:
    """Look for swapped control and label, and for times that cannot be.

    Parameters
    ----------
    run
        Validated metadata.
    found
        All differences, none rejected.
    mask
        Brain mask (x, y, z).
    tissues
        With them a swap of all pairs is told from noise by its contrast.
    """
    timing = check_times(_times(run))
    if not mask.any():
        return tuple(timing)
    step = max(1, int(mask.sum()) // ENOUGH_VOXELS)
    x, y, z = (index[::step] for index in np.nonzero(mask))
    whole = _with_data(found)
    values = found.values[x, y, z][:, whole].astype(np.float64)
    values = values[np.isfinite(values).all(axis=1)]
    if not values.size:
        return tuple(timing)
    contrast = float("nan")
    if tissues is not None:
        contrast = _contrast(found.values.mean(axis=-1, where=whole), mask, tissues)
    names = [_name(found, k) for k in np.flatnonzero(whole)]
    return (*timing, *check_order(values.mean(axis=0), likeness(values), contrast, names))


def _name(found: Differences, k: int) -> str:
    """Name a difference by its volumes, and its delay where there are several."""
    volumes = " and ".join(str(volume) for volume in found.volumes[k])
    word = "volumes" if len(found.volumes[k]) > 1 else "volume"
    delay = f" of the delay of {found.delays[found.measurement[k]]:g} s"
    several = delay if len(found.delays) > 1 else ""
    return f"{word} {volumes}{several}, counted from 0"


def _times(run: AslRun) -> list[float]:
    labeling = run.labeling
    given = (labeling.post_labeling_delay, labeling.labeling_duration, labeling.bolus_cutoff)
    return [value for one in given if one is not None for value in _values(one)]


def _values(parameter: Parameter) -> list[float]:
    value = parameter.value
    return [float(v) for v in (value if isinstance(value, tuple) else (value,))]


def _contrast(mean: Float, mask: Bool, tissues: Tissues) -> float:
    """Correlate the mean difference with grey minus white matter over the brain."""
    inside = mask & np.isfinite(mean)
    ours, expected = mean[inside], (tissues.gm - tissues.wm)[inside]
    if ours.size < 2 or not ours.std() > 0 or not expected.std() > 0:
        return float("nan")
    return float(np.corrcoef(ours, expected)[0, 1])


def judge_scale(
    run: AslRun, cbf: Float, mask: Bool, tissues: Tissues | None
) -> tuple[Finding, ...]:
    """Name what may have put grey matter CBF out of the plausible range; nothing is rescaled.

    Parameters
    ----------
    run, mask, tissues
        As for `judge_order`; without tissues nothing is judged.
    cbf
        mL/100 g/min (x, y, z).
    """
    if tissues is None:
        return ()
    grey = cbf[mask & (tissues.gm > PURE_GM) & np.isfinite(cbf)]
    if not grey.size or not grey.mean() > 0:
        return ()
    excitations = run.acquisition.get("TotalAcquiredPairs") if run.volumes("deltam") else None
    return tuple(
        check_scale(
            float(grey.mean()),
            vendor=str(run.acquisition.get("Manufacturer", "")),
            excitations=None if excitations is None else float(excitations),
            variation=float(grey.std() / grey.mean()),
        )
    )


def judge_m0(
    run: AslRun, series: Float, m0: Float | None, found: Differences, mask: Bool
) -> tuple[Finding, ...]:
    """Look for an M0 that is as suppressed as the series; CBF by it would be far too high.

    Parameters
    ----------
    run, found, mask
        As for `judge_order`.
    series
        Volumes (x, y, z, n), realigned.
    m0
        As acquired (x, y, z); None for a number.
    """
    control = [k for k in run.volumes("control") if _imaged(series[..., k])]
    whole = _with_data(found)
    if m0 is None or not control or not whole.any():
        return ()
    deltam = found.values.mean(axis=-1, where=whole)
    # One volume after the other: a copy of all controls would be half the series.
    unlabeled = sum((series[..., k] for k in control), start=np.zeros(mask.shape)) / len(control)
    compared = compare(m0, unlabeled, deltam, mask)
    return tuple(check_m0(compared, run.acquisition.get("BackgroundSuppression")))


def _with_data(found: Differences) -> Bool:
    """Tell which differences (p,) are not mostly empty."""
    n = found.values.shape[-1]
    return np.array([_imaged(found.values[..., k]) for k in range(n)], dtype=bool)


def _imaged(volume: Float) -> bool:
    return bool(np.isfinite(volume).mean() > 0.5)


def m0_refusal(run: AslRun, findings: Iterable[Finding]) -> str:
    """Return why there is no absolute CBF by this M0; empty if nothing speaks against it."""
    named = {
        "separate": "the M0 image",
        "included": "the m0scan volumes of the series",
        "control": "the mean control image as M0",
    }.get(run.calibration.source, "M0")
    if run.calibration.source == "separate" and run.calibration.m0_file is not None:
        named = f"the M0 image {run.calibration.m0_file.name}"
    also = ", and its sidecar gives the inversion time or delay of the series"
    text = also if run.calibration.same_preparation else ""
    reasons = [
        f"{one.text}{text}. CBF by {named} would be far too high. To fix: {one.fix}"
        for one in findings
    ]
    return " ".join(reasons)
