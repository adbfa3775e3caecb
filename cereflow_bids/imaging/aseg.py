"""Tissues of FreeSurfer's volume labels.

Numbers are those of FreeSurferColorLUT.txt. The brainstem and the ventral diencephalon, which
are mostly white on a T1w image, count as white matter (our choice).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cereflow_bids.imaging.resampling import area_average

Float = NDArray[np.floating]
Mask = NDArray[np.bool_]

CEREBRAL_CORTEX = (3, 42)
CEREBELLAR_CORTEX = (8, 47)
DEEP_GREY = (
    *(9, 10, 48, 49),  # thalamus, by its earlier and its present number
    *(11, 50),  # caudate
    *(12, 51),  # putamen
    *(13, 52),  # pallidum
    *(17, 53),  # hippocampus
    *(18, 54),  # amygdala
    *(26, 58),  # accumbens
    *(27, 59),  # substantia nigra
)
HYPOINTENSITIES_OF_GREY = (80, 81, 82)
CEREBRAL_WHITE = (2, 41)
CEREBELLAR_WHITE = (7, 46)
CORPUS_CALLOSUM = (192, 250, 251, 252, 253, 254, 255)
WHITE_HYPOINTENSITIES = (77, 78, 79)
BRAINSTEM = (16,)
VENTRAL_DIENCEPHALON = (28, 60)
OPTIC_CHIASM = (85,)

GREY = (*CEREBRAL_CORTEX, *CEREBELLAR_CORTEX, *DEEP_GREY, *HYPOINTENSITIES_OF_GREY)
WHITE = (
    *(*CEREBRAL_WHITE, *CEREBELLAR_WHITE, *CORPUS_CALLOSUM, *WHITE_HYPOINTENSITIES),
    *(*BRAINSTEM, *VENTRAL_DIENCEPHALON, *OPTIC_CHIASM),
)
CORTICAL_PARCELS = ((1000, 1099), (2000, 2099), (11100, 11199), (12100, 12199))
"""First and last number of gyri, left and right, of aparc+aseg and of aparc.a2009s+aseg."""

_CLOSING_MM = 4.0
_CROP = 12  # voxels of margin, so that closing does not see the edge


def tissues_of_aseg(labels: NDArray[np.integer]) -> tuple[NDArray[np.float32], ...]:
    """Return grey and white matter as 0 or 1 (x, y, z); all else in a brain is fluid."""
    grey = np.isin(labels, GREY)
    for first, last in CORTICAL_PARCELS:
        grey |= (labels >= first) & (labels <= last)
    return grey.astype(np.float32), np.isin(labels, WHITE).astype(np.float32)


def brain_of_aseg(labels: NDArray[np.integer], affine: Float) -> Mask:
    """Return what is labelled (x, y, z), sulci closed and holes filled."""
    labelled = np.asarray(labels) > 0
    if not labelled.any():
        return labelled
    found = ndimage.find_objects(labelled.astype(np.uint8))[0]
    box = tuple(
        slice(max(one.start - _CROP, 0), min(one.stop + _CROP, size))
        for one, size in zip(found, labelled.shape, strict=True)
    )
    edges = np.linalg.norm(np.asarray(affine)[:3, :3], axis=0)
    near = ndimage.distance_transform_edt(~labelled[box], sampling=edges) <= _CLOSING_MM
    closed = ndimage.distance_transform_edt(near, sampling=edges) > _CLOSING_MM
    brain = np.zeros_like(labelled)
    brain[box] = ndimage.binary_fill_holes(closed | labelled[box])
    return brain


def on_grid(
    image: Float, own: Float, shape: tuple[int, ...], affine: Float
) -> NDArray[np.float32]:
    """Return fractions on another grid of the same scanner's coordinates; the same if it is it.

    Parameters
    ----------
    image
        (x, y, z).
    own, affine
        Voxel-to-RAS+ matrices (4, 4) of image and target, mm.
    shape
        Of the target.
    """
    if same_grid(image.shape, own, shape, affine):
        return np.asarray(image, dtype=np.float32)
    return area_average(image, own, shape, affine)


def same_grid(
    shape: tuple[int, ...], own: Float, other_shape: tuple[int, ...], affine: Float
) -> bool:
    """Tell whether the voxels of two grids are the same, to a hundredth of a millimetre."""
    return tuple(shape) == tuple(other_shape) and bool(np.allclose(own, affine, atol=1e-4))
