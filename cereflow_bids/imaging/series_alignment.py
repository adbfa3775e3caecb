"""Rigid alignment of volumes of one contrast, by least squares.

Friston 1995, doi:10.1002/hbm.460030303, in the form that takes the derivatives from the reference
alone and thus once: Baker 2004, doi:10.1023/B:VISI.0000011205.11775.fd.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

Array = NDArray[np.floating]

SAME_CONTRAST = 0.95
"""Share of the variance of a smoothed volume that the reference must explain (our choice): it is
above 0.99 for controls and labels of real scans, 0.6 to 0.85 for M0 against suppressed images."""

BACKGROUND = 0.1
"""Voxels darker than this part of the brightest do not count (our choice)."""

_SMOOTHING = 2.5
_SPACING = 5.0
_CLOSE_ENOUGH = (0.02, 0.01)
_STEPS = 10
_FEWEST = 100


@dataclass(frozen=True)
class _Level:
    """The reference, prepared for one resolution.

    Attributes
    ----------
    sigma
        Smoothing of images, voxels, or None: the coarse and the fine level.
    points
        (3, n), mm: the voxels that count.
    centre
        (3,), mm.
    radius
        Root mean square distance of points from the centre, mm.
    design
        (8, n): what shifts along and turns about each axis would add, intensity, constant.
    """

    sigma: Array | None
    points: Array
    centre: Array
    radius: float
    design: Array


class Reference:
    """A volume that others of the same series are aligned to.

    Parameters
    ----------
    image
        Volume (x, y, z), arbitrary unit.
    affine
        Voxel-to-RAS+ matrix (4, 4), mm.
    """

    def __init__(self, image: Array, affine: Array) -> None:
        self._affine = np.asarray(affine, dtype=np.float64)
        self._edges = np.linalg.norm(self._affine[:3, :3], axis=0)
        self._levels: tuple[_Level, ...] = ()
        if min(image.shape) > 2:
            volume = np.asarray(image, dtype=np.float64)
            spacing = np.maximum(1, np.floor(_SPACING / self._edges + 0.1)).astype(int)
            smooth = ndimage.gaussian_filter(volume, _SMOOTHING / self._edges, truncate=3)
            coarse = self._level(smooth, spacing, _SMOOTHING / self._edges)
            self._levels = (coarse, self._level(volume, np.ones(3, dtype=int), None))

    def align(self, volume: Array) -> Array | None:
        """Return the matrix (4, 4), RAS+ mm, from points of the reference to those of a volume.

        None if the volume has another contrast, so that least squares are not the measure, or if
        no pose was found. The same images give the same bits.
        """
        matrix: Array = np.eye(4)
        if not self._levels or min(level.points.shape[1] for level in self._levels) < _FEWEST:
            return None
        for level, close_enough in zip(self._levels, _CLOSE_ENOUGH, strict=True):
            image = np.asarray(volume, dtype=np.float64)
            if level.sigma is not None:
                image = ndimage.gaussian_filter(image, level.sigma, truncate=3)
            else:
                image = ndimage.spline_filter(image, 3, mode="nearest")
            try:
                matrix, moved, explained = self._follow(level, image, matrix, close_enough)
            except np.linalg.LinAlgError:
                return None
            # Noise of single voxels must not be taken for another contrast.
            same = level.sigma is None or explained >= SAME_CONTRAST
            if not (same and moved < close_enough):
                return None
        return matrix

    def _level(self, image: Array, spacing: NDArray[np.int_], sigma: Array | None) -> _Level:
        every = tuple(slice(step // 2, None, step) for step in spacing)
        values = image[every]
        voxels = np.indices(image.shape)[(slice(None), *every)].reshape(3, -1)
        inner = (voxels > 0) & (voxels < np.array(image.shape)[:, None] - 1)
        used = (values.ravel() > BACKGROUND * np.percentile(values, 98)) & inner.all(axis=0)
        slopes = np.stack([slope[every].ravel()[used] for slope in np.gradient(image)])
        scale = max(np.abs(values).max(), np.finfo(float).tiny)
        slopes = np.linalg.inv(self._affine[:3, :3]).T @ slopes / scale
        points = self._affine[:3, :3] @ voxels[:, used] + self._affine[:3, 3:]
        centre = points.mean(axis=1) if used.any() else np.zeros(3)
        arms = points - centre[:, None]
        radius = float(np.sqrt((arms**2).sum(axis=0).mean())) if used.any() else 1.0
        turns = np.cross(arms, slopes, axis=0) / radius
        intensity = values.ravel()[used] / scale
        design = np.vstack([slopes, turns, intensity, np.ones_like(intensity)])
        return _Level(sigma, points, centre, radius, design)

    def _follow(
        self, level: _Level, image: Array, matrix: Array, close_enough: float
    ) -> tuple[Array, float, float]:
        """Return the matrix, the last step (mm) and the share of variance that is explained."""
        last = np.array(image.shape)[:, None] - 1
        order = 1 if level.sigma is not None else 3
        moved, explained = np.inf, 0.0
        for _ in range(_STEPS):
            voxels = np.linalg.solve(self._affine, matrix)
            places = voxels[:3, :3] @ level.points + voxels[:3, 3:]
            inside = ((places >= 0) & (places <= last)).all(axis=0)
            if inside.sum() < max(_FEWEST, inside.size / 2):
                break
            design = level.design
            if not inside.all():
                design, places = design[:, inside], places[:, inside]
            found = ndimage.map_coordinates(
                image, places, order=order, mode="nearest", prefilter=False
            )
            fit = np.linalg.solve(design @ design.T, design @ found)
            if found.var() == 0 or fit[6] <= 0:
                break
            explained = 1 - float((found - fit @ design).var() / found.var())
            step = fit[:6] / fit[6]
            matrix = matrix @ np.linalg.inv(_movement(step, level))
            moved = float(np.linalg.norm(step[:3]) + np.linalg.norm(step[3:]))
            if moved < close_enough:
                break
        return matrix, moved, explained


def _movement(step: Array, level: _Level) -> Array:
    """Return the matrix of a shift, mm, and a turn about the centre, mm at the radius."""
    movement = np.eye(4)
    movement[:3, :3] = Rotation.from_rotvec(step[3:] / level.radius).as_matrix()
    movement[:3, 3] = level.centre + step[:3] - movement[:3, :3] @ level.centre
    return movement
