"""M0 of arterial blood from a reference tissue. Arrays (x, y, z); times in seconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

T2_BLOOD = 0.15
"""T2 of arterial blood at 3 T, s; a default, to be given for other fields."""

PURE_FRACTION = 0.9
"""Least tissue fraction of a reference voxel, as neighbours differ in M0 (our choice)."""

FEWEST_VOXELS = 10
"""Fewer voxels give a mean that a single odd one decides (the limit of our regional tables)."""

LARGEST_SPREAD = 0.5
"""Robust SD over median above which a region is not taken for one tissue (our choice)."""


@dataclass(frozen=True)
class ReferenceTissue:
    """T1 and T2 (s) of a tissue and its partition coefficient against blood."""

    name: str
    t1: float
    t2: float
    partition_coefficient: float


CSF = ReferenceTissue("CSF", 4.3, 0.75, 1.15)
WHITE_MATTER = ReferenceTissue("white matter", 1.0, 0.05, 0.82)


@dataclass(frozen=True)
class BloodM0:
    """M0a at the echo time of the ASL images, its robust SD over the voxels, and their number."""

    value: float
    spread: float
    voxels: int


def blood_m0(
    m0: ArrayLike,
    region: ArrayLike,
    tissue: ReferenceTissue,
    *,
    repetition_time: float,
    m0_echo_time: float,
    asl_echo_time: float,
    t2_blood: float = T2_BLOOD,
) -> BloodM0:
    """Return M0 of arterial blood from the median of a reference region.

    ``M0a = S · exp(TE_M0/T2r) / (λr·(1 − exp(−TR/T1r))) · exp(−TE_ASL/T2b)``, after the
    reference-tissue method of asl_calib (BASIL, asl-docs.readthedocs.io). Divide ΔM by M0a
    without λ. T1 of CSF is so long that recovery is corrected at any TR.

    Parameters
    ----------
    m0
        Calibration image (x, y, z), not suppressed.
    region
        Mask, or fraction of the tissue (x, y, z), of which voxels from 0.9 count.
    tissue
        `CSF`, `WHITE_MATTER` or another.
    repetition_time, m0_echo_time, asl_echo_time, t2_blood
        TR and TE of `m0`, TE of the ASL images, T2 of blood, s.

    Raises
    ------
    ValueError
        If a time is impossible, voxels are too few, or they are not one tissue.
    """
    if not (np.isfinite(repetition_time) and repetition_time > 0):
        raise ValueError(f"repetition time must be positive, in seconds; got {repetition_time}")
    times = (m0_echo_time, asl_echo_time)
    if not (np.all(np.isfinite(times)) and min(times) >= 0 and t2_blood > 0):
        raise ValueError(f"echo times {times} or T2 of blood {t2_blood} s are impossible")
    signal, spread, voxels = _region_signal(m0, region, tissue)
    recovery = -np.expm1(-repetition_time / tissue.t1)
    echoes = np.exp(m0_echo_time / tissue.t2 - asl_echo_time / t2_blood)
    factor = float(echoes / (recovery * tissue.partition_coefficient))
    return BloodM0(signal * factor, spread * factor, voxels)


def _region_signal(
    m0: ArrayLike, region: ArrayLike, tissue: ReferenceTissue
) -> tuple[float, float, int]:
    """Median, robust SD and number of the positive, finite voxels of a region."""
    image, inside = np.asarray(m0, dtype=np.float64), np.asarray(region)
    if image.shape != inside.shape:
        raise ValueError(f"M0 has the shape {image.shape}, the region {inside.shape}")
    pure = inside if inside.dtype == bool else inside >= PURE_FRACTION
    values = image[pure & np.isfinite(image) & (image > 0)]
    if values.size < FEWEST_VOXELS:
        raise ValueError(
            f"the {tissue.name} region has {values.size} voxels with a positive M0; at least "
            f"{FEWEST_VOXELS} are needed"
        )
    median = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - median)))
    if spread > LARGEST_SPREAD * median:
        raise ValueError(
            f"M0 varies by {spread / median:.0%} in the {tissue.name} region: it is not one "
            "tissue, or not where the tissue is"
        )
    return median, spread, int(values.size)
