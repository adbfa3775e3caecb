"""The brain-extraction network on an ASL image, shown to it as the head that it knows.

It was trained on T1w images of 1 mm voxels in which fluid is dark and nothing in the head is
much brighter than the brain. An ASL reference is a slab of thick slices in which fluid, eyes and
vessels outshine the brain. So the image is sampled at 1 mm, because the network's own sampling
takes the nearest voxel and would show it steps; emptiness is put above and below; and what is
brighter than the middle of the bright tissue is made as bright as that.

What comes back is a probability. It is averaged, not rounded, until the ASL voxels are reached.
Last, what has next to no signal is taken from the rim of the mask.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cereflow_bids.imaging.brain_network import brain_probability, largest_component
from cereflow_bids.imaging.resampling import area_average
from cereflow_bids.imaging.threshold_masks import otsu_threshold, solid_mask

Float = NDArray[np.floating]
Mask = NDArray[np.bool_]

_FINE_MM = 1.0
_EMPTY_MM = 20.0  # of zeros above and below a slab, for the network knows whole heads
_OPENING = 2  # voxels of twice the fine grid, to cut what hangs on by a thread
_SMOOTHING = 1.0  # the same voxels, standard deviation
_RIM_MM = 8.0
_NEARBY_MM = 15.0  # standard deviation
_LEAST_SIGNAL = 0.4  # of the brain nearby; a voxel half in brain, half in air has 0.5


def slab_mask(image: Float, affine: Float, *, threads: int = 1) -> Mask:
    """Segment the brain in an ASL reference image.

    Nothing here judges the result; see `masks.brain_mask`.

    Parameters
    ----------
    image
        Finite image (x, y, z), not negative, brain brighter than background.
    affine
        Voxel-to-RAS+ matrix (4, 4), mm; the third axis runs along the body.
    threads
        Threads of the network.

    Returns
    -------
    ndarray of bool
        Mask (x, y, z), one component without holes in its axial slices.

    Raises
    ------
    ValueError
        If the network sees no head in the image.
    """
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    to_voxels, shape = _fine_grid(image.shape, edges)
    head = _sampled(_levelled(image), to_voxels, shape)
    probability = _halved(brain_probability(head, affine @ to_voxels, threads=threads))
    probability = ndimage.gaussian_filter(probability, _SMOOTHING)
    body = largest_component(ndimage.binary_opening(probability > 0.5, iterations=_OPENING))
    # Opening decides what belongs to the brain; where its surface runs, the probability does.
    body = ndimage.binary_dilation(body, iterations=_OPENING)
    coarse = (
        affine
        @ to_voxels
        @ np.array([[2, 0, 0, 0.5], [0, 2, 0, 0.5], [0, 0, 2, 0.5], [0, 0, 0, 1]])
    )
    brain = area_average(np.where(body, probability, 0), coarse, image.shape, affine)
    return solid_mask(_without_dark_rim(solid_mask(brain > 0.5), image, edges))


def _levelled(image: Float) -> Float:
    """Make what is brighter than the median of the bright class no brighter than that."""
    bright = image[image > otsu_threshold(image)]
    return np.minimum(image, np.median(bright)) if bright.size else image


def _fine_grid(shape: tuple[int, ...], edges: Float) -> tuple[Float, tuple[int, ...]]:
    """Return the matrix from voxels of the fine grid to those of the image, and its even shape."""
    size = np.array(shape)
    count = 2 * np.ceil(size * edges / (2 * _FINE_MM)).astype(int)
    count[2] += 2 * round(_EMPTY_MM / _FINE_MM)
    to_voxels = np.diag([*(_FINE_MM / edges), 1.0])
    to_voxels[:3, 3] = (size - 1) / 2 - _FINE_MM / edges * (count - 1) / 2
    return to_voxels, tuple(int(n) for n in count)


def _sampled(image: Float, to_voxels: Float, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Interpolate linearly on a grid parallel to the image's, axis by axis; 0 beyond the image."""
    out = np.asarray(image, dtype=np.float32)
    for axis in (2, 1, 0):
        size = out.shape[axis]
        place = to_voxels[axis, axis] * np.arange(shape[axis]) + to_voxels[axis, 3]
        inner = np.clip(place, 0, size - 1)
        lower = np.minimum(inner.astype(int), max(size - 2, 0))
        share = (inner - lower).astype(np.float32)
        inside = ((place >= -0.5) & (place <= size - 0.5)).astype(np.float32)
        form = [1, 1, 1]
        form[axis] = -1
        out = out.take(lower, axis) * ((1 - share) * inside).reshape(form) + out.take(
            np.minimum(lower + 1, size - 1), axis
        ) * (share * inside).reshape(form)
    return out


def _halved(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average blocks of 2 × 2 × 2 voxels."""
    for axis in range(3):
        first, second = (
            np.take(image, np.arange(start, image.shape[axis], 2), axis) for start in (0, 1)
        )
        image = np.asarray((first + second) / 2, dtype=np.float32)
    return image


def _without_dark_rim(mask: Mask, image: Float, edges: Float) -> Mask:
    """Take away what lies at the surface and holds hardly any signal: air, bone, neck.

    The measure is the brain nearby, because reception and the slab's profile shade the image.
    Deeper than the rim nothing is taken: there, dark is a vessel or a loss of signal.
    """
    level = np.minimum(image, np.median(image[mask])) if mask.any() else image
    nearby = mean_nearby(level, mask, _NEARBY_MM / edges)
    lit = image > _LEAST_SIGNAL * nearby
    return np.asarray(mask & ((depth(mask, edges) > _RIM_MM) | lit))


def mean_nearby(image: Float, mask: Mask, reach: Float) -> Float:
    """Average an image (x, y, z) within a mask, by a Gaussian of `reach` (3,) voxels."""
    inside = mask.astype(np.float32)
    weight = ndimage.gaussian_filter(inside, reach)
    total = ndimage.gaussian_filter(image * inside, reach)
    return np.asarray(total / np.maximum(weight, 1e-3))


def depth(mask: Mask, edges: Float) -> Float:
    """Return how deep below the surface of a mask (x, y, z) each of its voxels lies, mm.

    The slices beyond a slab's ends are unknown, not empty: its end slices are no surface.
    """
    padded = np.pad(mask, ((0, 0), (0, 0), (1, 1)), mode="edge")
    found = ndimage.distance_transform_edt(padded, sampling=edges)
    return np.asarray(found)[..., 1:-1]
