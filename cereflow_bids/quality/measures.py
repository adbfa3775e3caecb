"""Quality measures of one run. Maps (x, y, z) in mL/100 g/min; masks boolean, same shape."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Mask = NDArray[np.bool_]
Map = NDArray[np.floating]

SPATIAL_COV_VASCULAR = 0.67
"""Spatial CoV from which labelled blood is still in arteries."""

SPATIAL_COV_ARTEFACT = 1.0
"""Spatial CoV above which late arrival of blood no longer explains it."""


def mean_in(values: Map, region: Mask) -> float:
    """Return the mean of the finite values in a region, NaN where there is none."""
    inside = values[region & np.isfinite(values)]
    return float(inside.mean()) if inside.size else float("nan")


def tissue_ratio(gm_mean: float, wm_mean: float) -> float:
    """Return grey over white matter CBF (2 to 3 is expected); NaN if white is not above 0."""
    return gm_mean / wm_mean if wm_mean > 0 else float("nan")


def spatial_cov(cbf: Map, gm: Mask) -> float:
    """Return the spatial coefficient of variation, SD/mean of CBF in grey matter.

    Mutsaerts 2017, doi:10.1177/0271678X16683690: below 0.67 perfusion, to 1 vascular, above 1
    artefact. NaN where the mean is not positive.
    """
    values = cbf[gm & np.isfinite(cbf)]
    if not values.size or values.mean() <= 0:
        return float("nan")
    return float(values.std() / values.mean())


def negative_fraction(cbf: Map, gm: Mask) -> float:
    """Return the fraction of grey matter voxels with a CBF below 0."""
    values = cbf[gm & np.isfinite(cbf)]
    return float((values < 0).mean()) if values.size else float("nan")


def fraction_above(cbf: Map, gm: Mask, limit: float) -> float:
    """Return the fraction of grey matter voxels with a CBF above `limit`, mL/100 g/min.

    Vessels, noise or a wrong scale put many voxels above 100, 150 or 200.
    """
    values = cbf[gm & np.isfinite(cbf)]
    return float((values > limit).mean()) if values.size else float("nan")


def spatial_cov_category(cov: float) -> str:
    """Return what the spatial CoV says of a map; empty where it is NaN.

    ``perfusion`` below 0.67, ``vascular`` (labelled blood is still in arteries) from there to 1,
    ``artefact`` above. The measure is that of Mutsaerts 2017, the limits are those of ExploreASL
    (Mutsaerts 2020, doi:10.1016/j.neuroimage.2020.117031).
    """
    if math.isnan(cov):
        return ""
    if cov < SPATIAL_COV_VASCULAR:
        return "perfusion"
    return "vascular" if cov <= SPATIAL_COV_ARTEFACT else "artefact"


def temporal_snr(differences: Map, measurement: ArrayLike) -> float:
    """Return the median over voxels of mean/SD of ΔM over its repeats, averaged over delays.

    The median, because with few repeats some voxels have an SD near 0 by chance.

    Parameters
    ----------
    differences
        Single differences (v, p) of grey matter voxels.
    measurement
        Which delay (and labelling duration) each is of (p,); those with one repeat do not count.

    Returns
    -------
    float
        NaN where no delay was measured twice.
    """
    kinds = np.asarray(measurement)
    ratios = []
    for kind in np.unique(kinds):
        repeats = differences[:, kinds == kind].astype(np.float64)
        if repeats.shape[1] < 2:
            continue
        mean, sd = repeats.mean(axis=1), repeats.std(axis=1, ddof=1)
        known = np.isfinite(mean) & (sd > 0)
        if known.any():
            ratios.append(float(np.median(mean[known] / sd[known])))
    return float(np.mean(ratios)) if ratios else float("nan")


def deltam_percent(deltam: Map, reference: Map, mask: Mask) -> float:
    """Return the mean ΔM in the brain over the mean reference signal (control or M0), %.

    Of an unsuppressed control 0.3 to 0.8 % is usual: by the consensus equation (pCASL, delay and
    labelling 1.8 s, 3 T) 1 % is a CBF of 86 mL/100 g/min, and whole brains have about 30 to 70.
    A negative value says that control and label are swapped.
    """
    base = mean_in(reference, mask)
    return 100 * mean_in(deltam, mask) / base if base > 0 else float("nan")


def dice(first: Mask, second: Mask) -> float:
    """Return the Dice overlap 2|A∩B|/(|A|+|B|); NaN if both are empty."""
    total = first.sum() + second.sum()
    return float(2 * (first & second).sum() / total) if total else float("nan")


def coverage(mask: Mask, reference: Mask) -> float:
    """Return the fraction of `reference` that `mask` covers; NaN if `reference` is empty."""
    total = reference.sum()
    return float((mask & reference).sum() / total) if total else float("nan")


def overlap_coefficient(first: Mask, second: Mask) -> float:
    """Return |A∩B|/min(|A|, |B|), which is 1 for a slab inside a brain; NaN if one is empty."""
    smaller = min(first.sum(), second.sum())
    return float((first & second).sum() / smaller) if smaller else float("nan")


def framewise_displacement(
    matrices: ArrayLike, volume_types: ArrayLike, centre: ArrayLike, radius: float = 50.0
) -> NDArray[np.float64]:
    """Return each volume's framewise displacement within its type, mm.

    Power 2012, doi:10.1016/j.neuroimage.2011.10.018, against the volume before it of the same
    type: sum of the absolute changes of three translations and three rotations on a sphere. Within
    one volume type, because the contrast between control and label looks like motion.

    Parameters
    ----------
    matrices
        Rigid matrices (n, 4, 4), mm.
    volume_types
        Type of each volume (n,).
    centre
        Middle of the head (3,), mm: that of the sphere.
    radius
        Radius of the sphere, mm.

    Returns
    -------
    ndarray
        (n,), NaN for the first volume of a type, and where its matrix or that before it is NaN.
    """
    parameters = rigid_parameters(matrices, centre)
    types = np.asarray(volume_types)
    displacement = np.full(types.size, np.nan)
    for kind in np.unique(types):
        index = np.flatnonzero(types == kind)
        change = np.abs(np.diff(parameters[index], axis=0))
        displacement[index[1:]] = change[:, :3].sum(axis=1) + radius * change[:, 3:].sum(axis=1)
    return displacement


def rigid_parameters(matrices: ArrayLike, centre: ArrayLike) -> NDArray[np.float64]:
    """Return translations (mm) and rotations (rad, about x, y, z; R = Rz·Ry·Rx).

    Translations are those of the centre. About another point, such as the origin of the scanner,
    a turn would shift it besides, the more the farther it lies away.

    Parameters
    ----------
    matrices
        Rigid matrices (n, 4, 4), mm.
    centre
        The point about which rotations are (3,), mm.

    Returns
    -------
    ndarray
        (n, 6).
    """
    m = np.asarray(matrices, dtype=np.float64)
    rot_y = np.arcsin(np.clip(-m[:, 2, 0], -1, 1))
    rot_x = np.arctan2(m[:, 2, 1], m[:, 2, 2])
    rot_z = np.arctan2(m[:, 1, 0], m[:, 0, 0])
    middle = np.asarray(centre, dtype=np.float64)
    shifts = m[:, :3, :3] @ middle + m[:, :3, 3] - middle
    return np.column_stack([shifts, rot_x, rot_y, rot_z])
