"""An M0 that is none: as dark as the background-suppressed series itself. Arrays (x, y, z)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cereflow_bids.perfusion.plausibility import Finding

UNSUPPRESSED_RATIO = 1.5
"""M0 over control below which both are equally bright (our choice; suppressed controls of real
scans are darker than M0 by 6 to 24 times, unsuppressed ones by 1.0 to 1.1)."""

SAME_PICTURE = 0.15
"""Range of M0 over control, 5th to 95th percentile over the median, below which one is the other
times a number: suppression acts on each tissue differently (0.07 for a false M0; 0.45 and more for
true ones)."""

CONTRAST = 0.3
"""The same range of M0 itself, below which it has no tissues that could differ."""

LARGEST_DIFFERENCE = 0.05
"""Mean difference of the brain over M0 that no blood flow reaches: a CBF of 150 mL/100 g/min with
a delay of 0.5 s and a labelling duration of 1.8 s gives 0.04."""


@dataclass(frozen=True)
class Comparison:
    """M0 held against the control images and the difference, over the brain.

    Attributes
    ----------
    ratio
        Median of M0 over control.
    ratio_range, m0_range
        5th to 95th percentile of that ratio, and of M0, over the median.
    difference
        Mean difference over mean M0.
    voxels
        How many could be compared.
    """

    ratio: float
    ratio_range: float
    m0_range: float
    difference: float
    voxels: int


def compare(m0: ArrayLike, control: ArrayLike, deltam: ArrayLike, mask: ArrayLike) -> Comparison:
    """Compare M0 with the mean control image and the mean difference in the brain mask.

    Parameters
    ----------
    m0, control, deltam
        (x, y, z), as acquired, in one unit.
    mask
        Brain mask (x, y, z).
    """
    images = [np.asarray(image, dtype=np.float64) for image in (m0, control, deltam)]
    inside = np.asarray(mask, dtype=bool) & np.all([np.isfinite(i) for i in images], axis=0)
    inside &= (images[0] > 0) & (images[1] > 0)
    if not inside.any():
        return Comparison(np.nan, np.nan, np.nan, np.nan, 0)
    density, unlabeled, difference = (image[inside] for image in images)
    low, middle, high = np.percentile(density / unlabeled, [5, 50, 95])
    dark, usual, bright = np.percentile(density, [5, 50, 95])
    return Comparison(
        float(middle),
        float((high - low) / middle),
        float((bright - dark) / usual),
        float(difference.mean() / density.mean()),
        int(inside.sum()),
    )


def check_m0(found: Comparison, suppressed: bool | None) -> list[Finding]:
    """Tell an M0 that would make CBF several times too high.

    Parameters
    ----------
    found
        Of `compare`.
    suppressed
        Whether the series is background-suppressed; None if unknown.
    """
    if not found.voxels:
        return []
    alike = found.ratio < UNSUPPRESSED_RATIO
    scaled = found.ratio_range < SAME_PICTURE and found.m0_range > CONTRAST
    if suppressed and alike:
        text = (
            f"the series is background-suppressed, but M0 is only {found.ratio:.2f} times as "
            "bright as its control images: M0 is suppressed like them"
        )
    elif suppressed and scaled:
        text = (
            f"the series is background-suppressed, but M0 is its control image times "
            f"{found.ratio:.2f}, with the same contrast of tissues: M0 is suppressed like it"
        )
    elif alike and found.difference > LARGEST_DIFFERENCE:
        text = (
            f"the control-label difference is {100 * found.difference:.1f} % of M0, which no "
            "blood flow reaches, and M0 is as bright as the control images: both are "
            "background-suppressed"
        )
    else:
        return []
    fix = (
        "give a calibration image without background suppression or labelling, or an M0Estimate; "
        "if the series was not suppressed, set BackgroundSuppression to false."
    )
    return [Finding("m0_suppressed", found.ratio, text, fix)]
