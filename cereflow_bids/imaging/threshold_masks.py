"""Brain masks from intensity thresholds: three that fail differently, and their vote.

Each fails somewhere: the histogram gaps move with noise and interpolation, Otsu's threshold keeps
neck and face, all of them give in to a strong receive bias. They are there to confirm the network
and to stand in for it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Float = NDArray[np.floating]
Mask = NDArray[np.bool_]

_PADDING = 4  # slices repeated beyond a slab, or opening would eat its end slices
_BALL_MM = 6.0
_CUTOFFS = {"histogram gap": (0.2, 0.85), "upper histogram gap": (0.4, 0.9)}


def threshold_masks(image: Float, affine: Float) -> dict[str, Mask]:
    """Return the masks that can be made of an image, by name of the method.

    Parameters
    ----------
    image
        Finite image (x, y, z), brain brighter than background.
    affine
        Voxel-to-RAS+ matrix (4, 4), mm.

    Returns
    -------
    dict of str to ndarray of bool
        Masks (x, y, z), one component each, filled slice by slice; those that came out empty are
        left out.
    """
    padded = np.pad(image, ((0, 0), (0, 0), (_PADDING, _PADDING)), mode="edge")
    raw = {name: _histogram_gap(padded, affine, *cut) for name, cut in _CUTOFFS.items()}
    raw["Otsu"] = _opened(padded > otsu_threshold(padded), affine)
    solid = {name: solid_mask(mask[..., _PADDING:-_PADDING]) for name, mask in raw.items()}
    return {name: mask for name, mask in solid.items() if mask.any()}


def vote(masks: Sequence[Mask]) -> Mask:
    """Return the voxels that more than half of the masks (x, y, z) hold, made solid."""
    return solid_mask(np.sum(masks, axis=0) * 2 > len(masks))


def solid_mask(mask: Mask) -> Mask:
    """Keep the largest 6-connected component (x, y, z) and fill its holes in axial slices."""
    labels, count = ndimage.label(mask)
    if count > 1:
        mask = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    filled = [ndimage.binary_fill_holes(mask[..., k]) for k in range(mask.shape[2])]
    return np.asarray(np.stack(filled, axis=2), dtype=bool)


def otsu_threshold(image: Float) -> float:
    """Return the intensity that best divides the positive voxels into two classes.

    The brightest half percent is cut down to its lower end: eyes and vessels would otherwise be
    a class of their own.
    """
    positive = image[image > 0]
    if positive.size == 0:
        return float("inf")
    counts, edges = np.histogram(np.minimum(positive, np.percentile(image, 99.5)), bins=256)
    centres = (edges[1:] + edges[:-1]) / 2
    below, total = np.cumsum(counts), np.cumsum(counts * centres)
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = total / below - (total[-1] - total) / above
    return float(edges[1:][np.nanargmax(np.where(above > 0, below * above * gap**2, 0))])


def _histogram_gap(image: Float, affine: Float, lower: float, upper: float) -> Mask:
    """Threshold at the widest gap of the sorted intensities between two quantiles."""
    import nibabel as nib
    from nilearn.masking import MaskWarning, compute_epi_mask

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MaskWarning)  # an empty mask; the caller sees that
        found = compute_epi_mask(
            nib.Nifti1Image(image.astype(np.float32), affine),
            lower_cutoff=lower,
            upper_cutoff=upper,
        )
    return np.asarray(found.dataobj).astype(bool)


def _opened(mask: Mask, affine: Float) -> Mask:
    """Cut bridges thinner than the ball: brain to scalp, brainstem to neck."""
    edges = np.linalg.norm(np.asarray(affine)[:3, :3], axis=0)
    reach = (_BALL_MM / edges).astype(int)
    offsets = np.indices(2 * reach + 1) - reach[:, None, None, None]
    distance = np.sqrt(((offsets * edges[:, None, None, None]) ** 2).sum(axis=0))
    return np.asarray(ndimage.binary_opening(mask, distance <= _BALL_MM), dtype=bool)
