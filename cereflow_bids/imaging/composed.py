"""Maps in another space, of as few interpolations as can be, inside the brain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from cereflow_bids.imaging.point_map import PointMap, transform

Float = NDArray[np.floating]
Mask = NDArray[np.bool_]

_SPLINE_PAD = 12
_SLAB = 16


class Place:
    """The voxels of a grid whose centres lie in a brain mask of another image.

    Parameters
    ----------
    mask
        Brain mask (x, y, z) of the run.
    mask_affine
        Its voxel-to-RAS+ matrix (4, 4), mm.
    shape, affine
        Of the grid.
    world
        From points of the grid to points of the run: a matrix (4, 4) or a deformation.

    Attributes
    ----------
    inside
        Which voxels these are, by the mask interpolated linearly: half of it or more.
    points
        Where they lie in the run, (3, n), RAS+ mm.
    """

    def __init__(
        self,
        mask: Mask,
        mask_affine: ArrayLike,
        shape: Sequence[int],
        affine: ArrayLike,
        world: ArrayLike | PointMap,
    ) -> None:
        self.inside = np.zeros(tuple(shape), dtype=bool)
        brain = np.asarray(mask, dtype=np.float32)
        found = []
        # The coordinates of a whole grid at 1 mm would take gigabytes.
        for first in range(0, shape[0], _SLAB):
            here = self.inside[first : first + _SLAB]
            grid = np.indices(here.shape, dtype=np.float64)
            grid[0] += first
            points = transform(affine, grid)
            moved = (
                world.apply(points) if isinstance(world, PointMap) else transform(world, points)
            )
            share = _interpolated(brain, mask_affine, moved, order=1, mode="constant")
            here[...] = share >= 0.5
            found.append(moved[:, here])
        self.points = np.concatenate(found, axis=1)

    def image(self, values: ArrayLike) -> NDArray[np.float32]:
        """Return values (n,) of these voxels on the grid, 0 elsewhere."""
        out = np.zeros(self.inside.shape, dtype=np.float32)
        out[self.inside] = values
        return out


def bring_map(
    values: Float, affine: ArrayLike, mask: Mask, place: Place, *, order: int
) -> NDArray[np.float32]:
    """Interpolate a map of the run.

    Outside the mask, and where it has no value, it is continued by the nearest value inside, so
    that the rim is not mixed with a background of 0.

    Parameters
    ----------
    values
        (x, y, z).
    affine
        Voxel-to-RAS+ matrix (4, 4), mm.
    mask
        Brain mask (x, y, z).
    place
        Where to.
    order
        Of the spline; the result keeps to the range of the map.
    """
    known = mask & np.isfinite(values)
    if not known.any():
        return place.image(np.nan)
    edges = np.linalg.norm(np.asarray(affine, dtype=np.float64)[:3, :3], axis=0)
    nearest = ndimage.distance_transform_edt(
        ~known, sampling=edges, return_distances=False, return_indices=True
    )
    filled = np.where(known, values, 0)[tuple(nearest)]
    moved = _interpolated(filled, affine, place.points, order=order)
    return place.image(np.clip(moved, filled.min(), filled.max()))


def bring_sum(
    series: Float, affine: ArrayLike, weights: Sequence[float], motion: Float, place: Place
) -> NDArray[np.float32]:
    """Add up weighted volumes, each interpolated once, cubically, from where it was acquired.

    Parameters
    ----------
    series
        Volumes as acquired (x, y, z, n).
    affine
        Voxel-to-RAS+ matrix (4, 4), mm.
    weights
        (n,); volumes of no weight are left out.
    motion
        (n, 4, 4) from points of the run to points of each volume, NaN for none.
    place
        Where to.
    """
    total = np.zeros(place.points.shape[1])
    for matrix, members in _by_matrix(weights, motion):
        # Interpolation is linear: volumes that lie alike are added up first.
        volume = np.zeros(series.shape[:3], dtype=np.float32)
        for k in members:
            volume += np.float32(weights[k]) * np.nan_to_num(series[..., k], posinf=0, neginf=0)
        total += _interpolated(volume, affine, transform(matrix, place.points), order=3)
    return place.image(total)


def _by_matrix(weights: Sequence[float], motion: Float) -> list[tuple[Float, list[int]]]:
    """Return each matrix with the volumes that it is of."""
    groups: dict[bytes, tuple[Float, list[int]]] = {}
    for k, matrix in enumerate(motion):
        if weights[k]:
            own = np.asarray(matrix if np.isfinite(matrix).all() else np.eye(4), dtype=np.float64)
            groups.setdefault(own.tobytes(), (own, []))[1].append(k)
    return list(groups.values())


def _interpolated(
    image: Float, affine: ArrayLike, points: Float, *, order: int, mode: str = "nearest"
) -> Float:
    """Return the values of an image at points (3, ...)."""
    pad = _SPLINE_PAD if order > 1 else 0
    coefficients = np.asarray(image, dtype=np.float32)
    if pad:
        # A spline needs values beyond the edge.
        padded = np.pad(coefficients, pad, "edge")
        coefficients = ndimage.spline_filter(padded, order, np.float32, mode="nearest")
    voxels = transform(np.linalg.inv(np.asarray(affine, dtype=np.float64)), points) + pad
    found: Float = ndimage.map_coordinates(
        coefficients, voxels, output=np.float32, order=order, mode=mode, prefilter=False
    )
    return found
