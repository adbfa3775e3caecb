"""The way from one template to another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.imaging.masks import dice
from cereflow_bids.imaging.point_map import PointMap
from cereflow_bids.imaging.registration import deform
from cereflow_bids.imaging.resampling import resample
from cereflow_bids.imaging.standard_space import downsample, template_mask

Float = NDArray[np.floating]

LEAST_OVERLAP = 0.9
"""Dice of the two brains after registration, below which one is no adult human brain."""


def bridge(
    other: Float, other_affine: Float, packaged: Float, packaged_affine: Float, *, seed: int = 0
) -> PointMap:
    """Register two skull-stripped templates of 1 mm, at 2 mm, by an affine map and SyN.

    Parameters
    ----------
    other, packaged
        Images (x, y, z), arbitrary units; 0 outside the brain.
    other_affine, packaged_affine
        Voxel-to-RAS+ matrices (4, 4), mm.
    seed
        As for `registration.register`.

    Returns
    -------
    PointMap
        From points of the other template to points of the packaged one.

    Raises
    ------
    ValueError
        If the brains do not lie on each other then.
    """
    fixed, fixed_affine = downsample(other, other_affine, 2)
    moving, moving_affine = downsample(packaged, packaged_affine, 2)
    found, _ = deform(fixed, fixed_affine, moving, moving_affine, seed=seed)
    brain = template_mask(moving)
    moved = resample(brain, moving_affine, fixed.shape, fixed_affine, world=found, order=0)
    overlap = dice(template_mask(fixed), moved > 0.5)
    if overlap < LEAST_OVERLAP:
        raise ValueError(f"the brains of the two templates have a Dice overlap of {overlap:.2f}")
    return found
