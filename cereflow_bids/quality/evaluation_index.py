"""The quality evaluation index (QEI) and its parts.

Dolui 2024, doi:10.1002/jmri.29308: structure, dispersion and negative values of a CBF map in one
number from 0 to 1. The weights were fitted to how experts rated maps in mL/100 g/min: on another
scale the number means nothing. No limit is set on it here; compare within a cohort.

Weights and tissue threshold are those of ASLPrep's code. The article is said to print rounded
weights (0.1·DI^0.9) and a threshold of 0.9; it was not at hand, so that values here must not be
held against a cut-off from there.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from cereflow_bids.quality.measures import Map, Mask, negative_fraction

FWHM_MM = 5.0
"""Width of the Gaussian that the map is smoothed by first, mm."""

PURE = 0.7
"""Fraction above which a voxel counts as one tissue."""

GM_TO_WM = 2.5
"""CBF of grey over that of white matter in the map that the structure is compared with."""

_SIGMA = 1 / (2 * math.sqrt(2 * math.log(2)))  # of a Gaussian with a FWHM of 1


def smooth_inside(cbf: Map, mask: Mask, voxel_size: ArrayLike) -> NDArray[np.float64]:
    """Smooth a map by 5 mm without letting in what lies outside the brain.

    Parameters
    ----------
    cbf
        mL/100 g/min (x, y, z).
    mask
        Brain (x, y, z).
    voxel_size
        Edges of a voxel (3,), mm.

    Returns
    -------
    ndarray
        (x, y, z); NaN outside the mask and where `cbf` is not finite.
    """
    known = mask & np.isfinite(cbf)
    sigma = FWHM_MM * _SIGMA / np.asarray(voxel_size, dtype=np.float64)
    total = ndimage.gaussian_filter(np.where(known, cbf, 0.0), sigma, mode="constant")
    weight = ndimage.gaussian_filter(known.astype(np.float64), sigma, mode="constant")
    smoothed = np.full(mask.shape, np.nan)
    smoothed[known] = total[known] / weight[known]
    return smoothed


def contrast_correlation(cbf: Map, mask: Mask, gm: Map, wm: Map) -> float:
    """Return the correlation of CBF with 2.5·pGM + pWM over the brain; NaN if either is flat.

    Parameters
    ----------
    cbf
        mL/100 g/min (x, y, z); for the QEI smoothed by `smooth_inside`.
    mask
        Brain (x, y, z).
    gm, wm
        Fractions 0 to 1 (x, y, z).
    """
    inside = mask & np.isfinite(cbf)
    ours, expected = cbf[inside], (GM_TO_WM * gm + wm)[inside]
    if ours.size < 2 or not np.ptp(ours) > 0 or not np.ptp(expected) > 0:
        return float("nan")
    return float(np.corrcoef(ours, expected)[0, 1])


def dispersion_index(cbf: Map, gm: Mask, wm: Mask, csf: Mask) -> float:
    """Return the variance within tissues, pooled, over the magnitude of mean grey matter CBF.

    Parameters
    ----------
    cbf
        mL/100 g/min (x, y, z).
    gm, wm, csf
        Where a voxel is one tissue (x, y, z).

    Returns
    -------
    float
        mL/100 g/min; NaN where a tissue has fewer than two voxels or grey matter has no flow.
    """
    tissues = [cbf[tissue & np.isfinite(cbf)] for tissue in (gm, wm, csf)]
    if min(values.size for values in tissues) < 2 or tissues[0].mean() == 0:
        return float("nan")
    freedom = sum(values.size - 1 for values in tissues)
    squares = sum(float(np.square(values - values.mean()).sum()) for values in tissues)
    return float(squares / freedom / abs(tissues[0].mean()))


def quality_evaluation_index(smoothed: Map, mask: Mask, gm: Map, wm: Map, csf: Map) -> float:
    """Return the QEI, 0 (worst) to 1, of Dolui 2024, doi:10.1002/jmri.29308.

    QEI = [(1 − exp(−3.0126·ρ^2.4419))·exp(−(0.054·DI^0.9272 + 2.8478·n^0.5196))]^(1/3), with ρ the
    `contrast_correlation`, at least 0, DI the `dispersion_index`, n the `negative_fraction`.

    Parameters
    ----------
    smoothed
        CBF, mL/100 g/min (x, y, z), from `smooth_inside`.
    mask
        Brain (x, y, z).
    gm, wm, csf
        Fractions 0 to 1 (x, y, z); a voxel counts as one tissue above 0.7.

    Returns
    -------
    float
        NaN where one of its parts is, as without a voxel of pure cerebrospinal fluid.
    """
    pure = [mask & (fraction > PURE) for fraction in (gm, wm, csf)]
    correlation = contrast_correlation(smoothed, mask, gm, wm)
    dispersion = dispersion_index(smoothed, *pure)
    negative = negative_fraction(smoothed, pure[0])
    if math.isnan(correlation + dispersion + negative):
        return float("nan")
    structure = 1 - math.exp(-3.0126 * max(0.0, correlation) ** 2.4419)
    spread = math.exp(-(0.054 * dispersion**0.9272 + 2.8478 * negative**0.5196))
    return float((structure * spread) ** (1 / 3))
