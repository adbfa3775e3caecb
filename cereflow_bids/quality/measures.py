"""Quality measures of one run. Maps (x, y, z) in mL/100 g/min; masks boolean, same shape."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Mask = NDArray[np.bool_]
Map = NDArray[np.floating]


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


def deltam_percent(deltam: Map, reference: Map, mask: Mask) -> float:
    """Return the mean ΔM in the brain over the mean reference signal (control or M0), %.

    1 to 3 % of an unsuppressed control is normal; a negative value says that control and label are
    swapped.
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


def framewise_displacement(
    matrices: ArrayLike, volume_types: ArrayLike, radius: float = 50.0
) -> NDArray[np.float64]:
    """Return each volume's framewise displacement within its type, mm.

    Power 2012, doi:10.1016/j.neuroimage.2011.10.018, against the volume before it of the same
    type: sum of the absolute changes of three translations and three rotations on a sphere. Within
    one volume type, because the contrast between control and label looks like motion.

    Parameters
    ----------
    matrices
        Rigid matrices (n, 4, 4), mm, about the same origin.
    volume_types
        Type of each volume (n,).
    radius
        Radius of the sphere, mm.

    Returns
    -------
    ndarray
        (n,), NaN for the first volume of a type and for volumes whose matrix is NaN.
    """
    parameters = rigid_parameters(matrices)
    types = np.asarray(volume_types)
    displacement = np.full(types.size, np.nan)
    for kind in np.unique(types):
        index = np.flatnonzero(types == kind)
        change = np.abs(np.diff(parameters[index], axis=0))
        displacement[index[1:]] = change[:, :3].sum(axis=1) + radius * change[:, 3:].sum(axis=1)
    return displacement


def rigid_parameters(matrices: ArrayLike) -> NDArray[np.float64]:
    """Return translations (mm) and rotations (rad, about x, y, z; R = Rz·Ry·Rx).

    Parameters
    ----------
    matrices
        Rigid matrices (n, 4, 4).

    Returns
    -------
    ndarray
        (n, 6).
    """
    m = np.asarray(matrices, dtype=np.float64)
    rot_y = np.arcsin(np.clip(-m[:, 2, 0], -1, 1))
    rot_x = np.arctan2(m[:, 2, 1], m[:, 2, 2])
    rot_z = np.arctan2(m[:, 1, 0], m[:, 0, 0])
    return np.column_stack([m[:, :3, 3], rot_x, rot_y, rot_z])
