"""Whether two images of one head have the same side left, told by what is not symmetric in it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize
from scipy.spatial.transform import Rotation

from cereflow_bids.imaging.point_map import transform

Float = NDArray[np.floating]
Mask = NDArray[np.bool_]
Image = tuple[NDArray, Float]

SURE = 3.0
"""Of `compare_sides`, in either direction (our choice): of two real scans with the T1w of the
other person, where little should show, none went beyond 2.9."""

LEAST_ASYMMETRY = 0.2
"""SD of the difference of sides over the SD in the T1w (our choice): two real ones had 0.5 to 0.9,
the same made symmetric 0.04 and less."""

_LEAST_BLOCKS = 12
_BLOCK = 25.0  # mm
_STEP = 3.0  # mm between points
_BINS = 24
_ROUNDS = 4
_FLIP = np.diag([-1.0, 1.0, 1.0, 1.0])
_UNIT = 50.0  # mm, so that powers of coordinates are of the order of one


def compare_sides(asl: Image, head: Image, brain: Image, mask: Mask, matrix: Float) -> float:
    """Return how surely sides of an ASL image are those of the T1w, in SDs; below 0 they differ.

    Both images are seen in a frame whose plane x = 0 is the head's plane of symmetry. What tissue
    looks like in the ASL image is learnt from the T1w and the mean of the ASL image's two sides,
    which does not know of sides. The differences right minus left of that prediction and of
    the ASL image are multiplied; their sum over the brain is held against what sums of
    blocks of 2.5 cm with random signs would give. What shading, or a head off the plane, does to a
    symmetric image is taken out of both first. An ASL image with its sides exchanged gives the
    opposite value, where it lies in the same place.

    Parameters
    ----------
    asl, head
        Reference image and T1w: array (x, y, z) and voxel-to-RAS+ matrix (4, 4), mm.
    brain
        Mask of the brain, on any grid, in the place of the T1w.
    mask
        Brain on the grid of the ASL image.
    matrix
        Points of the T1w to points of the ASL image (4, 4), RAS+ mm.

    Returns
    -------
    float
        Standard normal where sides have nothing to do with each other; NaN where the T1w is too
        symmetric, or too little of the brain was imaged on both sides, to tell.
    """
    edge = float(np.prod(np.linalg.norm(asl[1][:3, :3], axis=0))) ** (1 / 3)
    blurred = _smoothed(head, 0.45 * edge)
    frame = _symmetric_frame(_smoothed(head, 3.0), brain)
    points = _points_of_both(asl, brain, mask, frame, matrix)
    if points.shape[1] < _LEAST_BLOCKS * (_BLOCK / _STEP) ** 3 / 4:
        return float("nan")
    sides = np.stack([points, transform(_FLIP, points)])
    seen = np.stack([_at(asl, transform(matrix @ frame, side)) for side in sides])
    floor = 0.1 * float(np.median(seen))
    if floor <= 0:
        return float("nan")
    shown = np.log(np.maximum(seen, floor))
    tissue, look = _look_of_tissue(blurred, frame, sides, shown.mean(axis=0))
    expected = np.interp(_at(blurred, transform(frame, np.hstack(list(sides)))), tissue, look)
    expected = expected.reshape(2, -1)
    gap = expected[0] - expected[1]
    if gap.std() < LEAST_ASYMMETRY * expected.std():
        return float("nan")
    nuisance = np.vstack(
        [_powers(points, odd=True), _moved_symmetric(blurred, frame, sides, (tissue, look))]
    )
    return _agreement(_without(shown[0] - shown[1], nuisance), _without(gap, nuisance), points)


def _smoothed(image: Image, sigma: float) -> Image:
    data, affine = image
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    return ndimage.gaussian_filter(np.asarray(data, np.float32), sigma / edges), affine


def _at(image: Image, points: Float) -> Float:
    """Interpolate an image at points (3, n), mm."""
    data, affine = image
    values: Float = ndimage.map_coordinates(
        np.asarray(data, np.float32),
        transform(np.linalg.inv(affine), points),
        order=1,
        mode="nearest",
    )
    return values


def _symmetric_frame(head: Image, brain: Image) -> Float:
    """Return the matrix to the head from a frame whose plane x = 0 is its plane of symmetry."""
    places = np.argwhere(brain[0]).T.astype(np.float64)
    points = transform(brain[1], places[:, :: max(1, places.shape[1] // 8000)])
    centre = points.mean(axis=1)
    here = _at(head, points)

    def frame(values: Float) -> Float:
        matrix = np.eye(4)
        matrix[:3, :3] = Rotation.from_euler("yz", values[:2], degrees=True).as_matrix()
        matrix[:3, 3] = centre + values[2] * matrix[:3, 0]
        return matrix

    def unlike(values: Float) -> float:
        to_head = frame(values)
        there = transform(to_head @ _FLIP @ np.linalg.inv(to_head), points)
        return -float(np.corrcoef(here, _at(head, there))[0, 1])

    # To a twentieth of a degree or mm: what is left is taken for a movement of the head.
    found = optimize.minimize(
        unlike, np.zeros(3), method="Powell", options={"xtol": 0.05, "ftol": 1e-5}
    )
    return frame(found.x)


def _points_of_both(asl: Image, brain: Image, mask: Mask, frame: Float, matrix: Float) -> Float:
    """Return points (3, n) of the right half of the frame that are brain in both images.

    So are their mirror images.
    """
    corners = transform(np.linalg.inv(frame) @ brain[1], np.argwhere(brain[0]).T[:, ::7] * 1.0)
    reach = np.abs(corners[0]).max()
    low, high = corners.min(axis=1), corners.max(axis=1)
    axes = [np.arange(_STEP / 2, reach, _STEP)]
    axes += [np.arange(low[k], high[k], _STEP) for k in (1, 2)]
    points: Float = np.stack(np.meshgrid(*axes, indexing="ij")).reshape(3, -1)
    kept = np.ones(points.shape[1], dtype=bool)
    limits = np.array(mask.shape)[:, None] - 1
    for side in (points, transform(_FLIP, points)):
        kept &= _at(brain, transform(frame, side)) > 0.5
        there = transform(matrix @ frame, side)
        voxels = transform(np.linalg.inv(asl[1]), there)
        kept &= ((voxels >= 0) & (voxels <= limits)).all(axis=0)
        kept &= _at((mask, asl[1]), there) > 0.5
    return points[:, kept]


def _look_of_tissue(head: Image, frame: Float, sides: Float, even: Float) -> tuple[Float, Float]:
    """Return values of the T1w, and of the logarithm of the ASL image that go with them.

    `even` (n,) is the mean of the ASL image's two sides: which is which cannot enter.
    """
    tissue = _at(head, transform(frame, np.hstack(list(sides))))
    limits = np.quantile(tissue, np.linspace(0, 1, _BINS + 1))
    group = np.clip(np.searchsorted(limits, tissue) - 1, 0, _BINS - 1)
    count = np.maximum(np.bincount(group, minlength=_BINS), 1)
    shading = _powers(sides[0], odd=False)
    flat = even
    for _ in range(_ROUNDS):
        look = np.bincount(group, np.tile(flat, 2), minlength=_BINS) / count
        left = even - look[group].reshape(2, -1).mean(axis=0)
        flat = even - (left - _without(left, shading))
    middles = np.bincount(group, tissue, minlength=_BINS) / count
    order = np.argsort(middles)
    return middles[order], look[order]


def _powers(points: Float, *, odd: bool) -> Float:
    """Return products of coordinates, of degree 3 at most, that are odd or even in x."""
    x, y, z = points / _UNIT
    return np.stack(
        [
            x**i * y**j * z**k
            for i in range(1 if odd else 0, 4, 2)
            for j in range(4 - i)
            for k in range(4 - i - j)
        ]
    )


def _moved_symmetric(
    head: Image, frame: Float, sides: Float, mapping: tuple[Float, Float]
) -> Float:
    """Return what moving a symmetric head makes differ between its sides, (3, n).

    It is moved along x, and turned about y and about z.
    """

    def slope(axis: int) -> Float:
        both = []
        for side, sign in zip(sides, (1, -1 if axis == 0 else 1), strict=True):
            step = np.zeros((3, 1))
            step[axis] = sign
            ends = [_at(head, transform(frame, side + way * step)) for way in (1, -1)]
            after, before = (np.interp(end, *mapping) for end in ends)
            both.append((after - before) / 2)
        return np.mean(both, axis=0)

    x, y, z = sides[0] / _UNIT
    along = [slope(axis) for axis in range(3)]
    return np.stack([along[0], along[0] * z - along[2] * x, along[1] * x - along[0] * y])


def _without(values: Float, parts: Float) -> Float:
    """Return what no weighted sum of `parts` (k, n) explains of `values` (n,)."""
    return values - parts.T @ np.linalg.lstsq(parts.T, values, rcond=None)[0]


def _agreement(one: Float, other: Float, points: Float) -> float:
    """Return the sum of products over what sums of blocks with random signs give as its SD."""
    # A vessel or the rim of a fluid space must not speak for its whole block.
    limits = [4 * 1.4826 * float(np.median(np.abs(values))) for values in (one, other)]
    product = np.clip(one, -limits[0], limits[0]) * np.clip(other, -limits[1], limits[1])
    _, block = np.unique(np.floor(points / _BLOCK), axis=1, return_inverse=True)
    sums = np.bincount(block.ravel(), product)[np.bincount(block.ravel()) > 20]
    scale = float(np.sqrt((sums**2).sum()))
    if sums.size < _LEAST_BLOCKS or scale == 0:
        return float("nan")
    return float(sums.sum()) / scale
