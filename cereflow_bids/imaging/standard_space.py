"""ASL to MNI without a T1w image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cereflow_bids.imaging.registration import register

Array = NDArray[np.floating]

COARSE_MM = 2


def register_to_template(
    reference: Array,
    mask: NDArray[np.bool_],
    affine: Array,
    template: Array,
    template_affine: Array,
    *,
    seed: int = 0,
) -> Array:
    """Register the brain of the reference image to a skull-stripped T1w template.

    Similarity, then affine, by Mattes mutual information at 2 mm. No free deformation: without a
    T1w image it measured worse on real scans, and affine without the similarity stretched slabs.

    Parameters
    ----------
    reference
        ASL reference image (x, y, z).
    mask
        Brain mask on its grid.
    affine
        Voxel-to-RAS+ matrix (4, 4), mm.
    template, template_affine
        Skull-stripped T1w at 1 mm and its matrix.
    seed
        Seed of the registration.

    Returns
    -------
    ndarray
        Template-to-ASL matrix (4, 4), RAS+ mm.
    """
    fixed, fixed_affine = downsample(template, template_affine, COARSE_MM)
    moving = np.where(mask, np.nan_to_num(reference), 0).astype(np.float32)
    # Coarse levels suffice to place the brain: the finest one took half of the time and moved the
    # result by 0.1 to 0.3 mm on whole brains.
    similarity = register(
        fixed,
        fixed_affine,
        moving,
        affine,
        transform="Similarity",
        seed=seed,
        iterations=(200, 100),
        shrink_factors=(4, 2),
        smoothing_sigmas=(2, 1),
    )
    return register(
        fixed,
        fixed_affine,
        moving,
        affine,
        transform="Affine",
        initial=similarity,
        seed=seed,
        iterations=(100, 50),
        shrink_factors=(2, 1),
        smoothing_sigmas=(1, 0),
    )


def downsample(image: Array, affine: Array, factor: int) -> tuple[NDArray[np.float32], Array]:
    """Average whole blocks of voxels; the remainder at the far end is dropped.

    Parameters
    ----------
    image
        (x, y, z).
    affine
        Voxel-to-RAS+ matrix (4, 4), mm.
    factor
        Voxels per block edge.

    Returns
    -------
    image, affine
        The coarser image and its matrix.
    """
    shape = [n // factor for n in image.shape]
    cut = np.asarray(image[tuple(slice(n * factor) for n in shape)], dtype=np.float32)
    blocks = cut.reshape(shape[0], factor, shape[1], factor, shape[2], factor)
    scale = np.diag([factor, factor, factor, 1.0])
    scale[:3, 3] = (factor - 1) / 2
    return blocks.mean(axis=(1, 3, 5)), affine @ scale


def template_mask(template: Array) -> NDArray[np.bool_]:
    """Return the brain of a skull-stripped template: its positive voxels, holes filled."""
    return np.asarray(ndimage.binary_fill_holes(np.asarray(template) > 0), dtype=bool)
