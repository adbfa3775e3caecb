"""Moving images between grids with one interpolation.

What is named `world` maps points of the target, in RAS+ mm, to points of the source, as
`registration.register` and `registration.deform` return it (fixed = target, moving = source).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from cereflow_bids.imaging.point_map import PointMap, transform

_SLAB = 16
_SPLINE_PAD = 12
_ROWS = 10_000
World = ArrayLike | PointMap | None
Array = NDArray[np.floating]


def resample(
    source: ArrayLike,
    source_affine: ArrayLike,
    shape: Sequence[int],
    affine: ArrayLike,
    *,
    world: World = None,
    order: int = 3,
    fill: float = 0.0,
) -> NDArray[np.float32]:
    """Interpolate an image at the voxel centres of another grid.

    Parameters
    ----------
    source
        Image (x, y, z).
    source_affine, affine
        Voxel-to-RAS+ matrices (4, 4) of source and target, mm.
    shape
        Shape (3,) of the target.
    world
        Target-to-source matrix (4, 4), mm, or a deformation; identity where none is given.
    order
        Order of the spline: 0 nearest, 1 linear, 3 cubic.
    fill
        Value where the centre of a target voxel lies in no source voxel; up to half a voxel
        beyond the outermost centres the nearest one counts.

    Returns
    -------
    ndarray
        Target image, float32.
    """
    image = np.asarray(source, dtype=np.float32)
    if isinstance(world, PointMap):
        return _deformed(image, source_affine, shape, affine, world, order=order, fill=fill)
    voxels = _target_to_source(source_affine, affine, world)
    out: NDArray[np.float32] = ndimage.affine_transform(
        image,
        voxels[:3, :3],
        voxels[:3, 3],
        output_shape=tuple(shape),
        order=order,
        mode="nearest",
    )
    out[_outside(voxels, shape, image.shape)] = fill
    return out


def _deformed(
    image: NDArray,
    source_affine: ArrayLike,
    shape: Sequence[int],
    affine: ArrayLike,
    world: PointMap,
    *,
    order: int,
    fill: float,
) -> NDArray:
    """Interpolate slab by slab: the coordinates of a whole grid would take gigabytes."""
    # A spline needs values beyond the edge; this is how affine_transform gives them.
    pad = _SPLINE_PAD if order > 1 else 0
    coefficients = image
    if pad:
        coefficients = ndimage.spline_filter(np.pad(image, pad, "edge"), order, mode="nearest")
    out = np.empty(tuple(shape), dtype=image.dtype)
    back = np.linalg.inv(np.asarray(source_affine, dtype=np.float64))
    limits = np.array(image.shape).reshape(3, 1, 1, 1) - 0.5
    for first in range(0, shape[2], _SLAB):
        here = slice(first, min(first + _SLAB, shape[2]))
        grid = np.indices((shape[0], shape[1], here.stop - first), dtype=np.float64)
        grid[2] += first
        voxels = transform(back, world.apply(transform(affine, grid)))
        slab = ndimage.map_coordinates(
            coefficients,
            voxels + pad,
            output=image.dtype,
            order=order,
            mode="nearest",
            prefilter=False,
        )
        slab[((voxels < -0.5) | (voxels > limits)).any(axis=0)] = fill
        out[:, :, here] = slab
    return out


def _target_to_source(
    source_affine: ArrayLike, affine: ArrayLike, world: ArrayLike | None
) -> NDArray[np.float64]:
    """Return the matrix from voxels of the target to voxels of the source."""
    source, target = (np.asarray(matrix, dtype=np.float64) for matrix in (source_affine, affine))
    between = np.eye(4) if world is None else np.asarray(world, dtype=np.float64)
    voxels: NDArray[np.float64] = np.linalg.inv(source) @ between @ target
    return voxels


def _outside(
    voxels: Array, shape: Sequence[int], source_shape: Sequence[int]
) -> NDArray[np.bool_]:
    """Tell which target voxels have their centre in no source voxel."""
    grid = np.ogrid[tuple(slice(n) for n in shape)]
    outside = np.zeros(tuple(shape), dtype=bool)
    for axis, size in enumerate(source_shape):
        i, j, k = (voxels[axis, n] * grid[n] for n in range(3))
        place = i + j + k + voxels[axis, 3]
        outside |= (place < -0.5) | (place > size - 0.5)
    return outside


def area_average(
    source: ArrayLike,
    source_affine: ArrayLike,
    shape: Sequence[int],
    affine: ArrayLike,
    *,
    world: World = None,
) -> NDArray[np.float32]:
    """Average a fine image over the voxels of a coarser grid.

    Each target voxel is divided into cells no larger than a source voxel; the cells, linearly
    interpolated, are averaged. Tissue fractions keep their volume so.

    Parameters as for `resample`.
    """
    image = np.asarray(source, dtype=np.float32)
    factors, fine_shape, fine_affine = _subdivide(source_affine, shape, affine)
    if isinstance(world, PointMap):
        fine = resample(image, source_affine, fine_shape, fine_affine, world=world, order=1)
        return _average(_blocks(fine, shape, factors), (1, 3, 5))
    voxels = _target_to_source(source_affine, fine_affine, world)
    reach = np.abs(voxels[:3, :3]) @ ((factors - 1) / 2)
    bright = _near(image != 0, np.ceil(reach).astype(int) + 1)
    centres = _target_to_source(source_affine, affine, world)
    chosen = np.nonzero(_seen(bright, centres, shape))
    out = np.zeros(tuple(shape), dtype=np.float32)
    for first in range(0, chosen[0].size, _ROWS):
        rows = tuple(index[first : first + _ROWS] for index in chosen)
        out[rows] = _average(_cells_of(image, voxels, rows, factors), (1,))
    return out


def _average(fine: NDArray[np.float32], axes: tuple[int, ...]) -> NDArray[np.float32]:
    return np.asarray(fine.mean(axis=axes, dtype=np.float64), dtype=np.float32)


def _near(bright: NDArray[np.bool_], reach: NDArray[np.int_]) -> NDArray[np.bool_]:
    """Tell which voxels lie within so many voxels, along each axis, of one that is bright."""
    near = bright.view(np.uint8)
    for axis, distance in enumerate(reach):
        near = ndimage.maximum_filter1d(near, 2 * int(distance) + 1, axis=axis, mode="nearest")
    return near.astype(bool)


def _seen(bright: NDArray[np.bool_], voxels: Array, shape: Sequence[int]) -> NDArray[np.bool_]:
    """Tell which target voxels have their centre in a bright source voxel, or beyond the edge."""
    seen: NDArray[np.uint8] = ndimage.affine_transform(
        bright.view(np.uint8),
        voxels[:3, :3],
        voxels[:3, 3],
        output_shape=tuple(shape),
        order=0,
        mode="nearest",
    )
    return seen.astype(bool)


def _cells_of(
    image: NDArray[np.float32],
    voxels: Array,
    rows: tuple[NDArray[np.intp], ...],
    factors: NDArray[np.int_],
) -> NDArray[np.float32]:
    """Interpolate the cells of some target voxels, (voxels, cells); 0 outside the image.

    `voxels` takes cells to voxels of the image; `rows` has the target voxels' indices.
    """
    within = np.indices(tuple(factors)).reshape(3, 1, -1)
    fine = [
        index[:, None] * n + inner for index, n, inner in zip(rows, factors, within, strict=True)
    ]
    places = np.empty((3, *fine[0].shape))
    outside = np.zeros(fine[0].shape, dtype=bool)
    for axis, size in enumerate(image.shape):
        i, j, k = (voxels[axis, n] * fine[n] for n in range(3))
        places[axis] = i + j + k + voxels[axis, 3]
        outside |= (places[axis] < -0.5) | (places[axis] > size - 0.5)
    cells: NDArray[np.float32] = ndimage.map_coordinates(
        image, places, output=np.float32, order=1, mode="nearest", prefilter=False
    )
    cells[outside] = 0
    return cells


def label_cells(
    source: ArrayLike,
    source_affine: ArrayLike,
    shape: Sequence[int],
    affine: ArrayLike,
    *,
    world: World = None,
) -> NDArray[np.integer]:
    """Return the labels of the cells into which each voxel of a coarser grid is divided.

    Parameters as for `resample`; `source` holds integer labels, which are not interpolated.

    Returns
    -------
    ndarray
        (voxels, cells); 0 outside the source.
    """
    labels = np.asarray(source)
    factors, fine_shape, fine_affine = _subdivide(source_affine, shape, affine)
    if isinstance(world, PointMap):
        fine = _deformed(labels, source_affine, fine_shape, fine_affine, world, order=0, fill=0)
    else:
        voxels = _target_to_source(source_affine, fine_affine, world)
        fine = ndimage.affine_transform(
            labels, voxels[:3, :3], voxels[:3, 3], output_shape=fine_shape, order=0, cval=0
        )
    cells = _blocks(fine, shape, factors).transpose(0, 2, 4, 1, 3, 5)
    return np.asarray(cells.reshape(int(np.prod(shape)), -1))


def _subdivide(
    source_affine: ArrayLike, shape: Sequence[int], affine: ArrayLike
) -> tuple[NDArray[np.int_], tuple[int, ...], Array]:
    """Return the cells per voxel edge, and the shape and affine of the grid of cells."""
    edges = np.linalg.norm(np.asarray(affine)[:3, :3], axis=0)
    finest = np.linalg.norm(np.asarray(source_affine)[:3, :3], axis=0).min()
    factors = np.maximum(np.ceil(edges / finest - 1e-6).astype(int), 1)
    scale = np.diag([*(1 / factors), 1.0])
    scale[:3, 3] = (1 / factors - 1) / 2
    fine_shape = tuple(int(n * f) for n, f in zip(shape, factors, strict=True))
    return factors, fine_shape, np.asarray(affine) @ scale


def _blocks(fine: NDArray, shape: Sequence[int], factors: NDArray[np.int_]) -> NDArray:
    sizes = [size for pair in zip(shape, factors, strict=True) for size in pair]
    return fine.reshape(sizes)
