"""Bringing a second scan of one head to the grid of the first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cereflow_bids.imaging.registration import register
from cereflow_bids.imaging.resampling import resample

Float = NDArray[np.floating]
Mask = NDArray[np.bool_]

GOOD_OVERLAP = 0.9
"""Brain masks that overlap less are aligned once more, from their centres (our choice)."""


@dataclass(frozen=True)
class Scan:
    """One scan of a head.

    Attributes
    ----------
    reference
        Image (x, y, z) with anatomical contrast, arbitrary unit.
    mask
        Brain mask (x, y, z).
    affine
        Voxel to RAS+ mm (4, 4).
    """

    reference: Float
    mask: Mask
    affine: NDArray[np.float64]


@dataclass(frozen=True)
class Alignment:
    """How a second scan lies to the first.

    Attributes
    ----------
    matrix
        Maps points of the first, RAS+ mm, to points of the second (4, 4).
    mask
        Brain mask of the second on the grid of the first.
    overlap
        Voxels of both masks over those of the smaller one, 0 to 1.
    likeness
        Correlation of the reference images within either mask, -1 to 1.
    shift
        How far the centre of the brain moved, mm.
    angle
        How far the head turned, degrees.
    """

    matrix: NDArray[np.float64]
    mask: Mask
    overlap: float
    likeness: float
    shift: float
    angle: float


def align_rigidly(first: Scan, second: Scan, *, seed: int = 0) -> Alignment:
    """Register the second scan of a head to the first by six degrees of freedom.

    The search starts where the scanner's coordinates put the second scan. Where the brains then
    overlap badly, it also starts from the centres of the brains, and the result in which the
    reference images are more alike is kept.

    Parameters
    ----------
    first, second
        The scans.
    seed
        Of the metric's random sampling.
    """
    found = _aligned(first, second, np.eye(4), seed)
    if found.overlap < GOOD_OVERLAP:
        start = np.eye(4)
        start[:3, 3] = _centre(second) - _centre(first)
        again = _aligned(first, second, start, seed)
        found = max(found, again, key=lambda one: one.likeness)
    return found


def resample_inside(
    values: Float, scan: Scan, inside: Mask, first: Scan, alignment: Alignment
) -> NDArray[np.float32]:
    """Bring a map of the second scan to the grid of the first, by one cubic interpolation.

    Values outside `inside` are replaced by the nearest one within before, so that no background
    bleeds into the rim.

    Parameters
    ----------
    values
        Map (x, y, z) on the grid of the second scan.
    scan
        The second scan.
    inside
        Where the map has a value; not empty.
    first
        The first scan.
    alignment
        Of the two.
    """
    nearest = ndimage.distance_transform_edt(
        ~inside, sampling=_edges(scan.affine), return_distances=False, return_indices=True
    )
    filled = np.where(inside, values, 0)[tuple(nearest)]
    return resample(
        filled, scan.affine, first.mask.shape, first.affine, world=alignment.matrix, order=3
    )


def moved_mask(inside: Mask, scan: Scan, first: Scan, matrix: Float) -> Mask:
    """Return where most of a voxel of the first scan lies in a mask of the second."""
    share = resample(inside, scan.affine, first.mask.shape, first.affine, world=matrix, order=1)
    return share > 0.5


def _aligned(first: Scan, second: Scan, start: Float, seed: int) -> Alignment:
    matrix = np.asarray(
        register(
            first.reference,
            first.affine,
            second.reference,
            second.affine,
            transform="Rigid",
            initial=start,
            seed=seed,
        ),
        dtype=np.float64,
    )
    mask = moved_mask(second.mask, second, first, matrix)
    smaller = min(int(first.mask.sum()), int(second.mask.sum() * _volume(second) / _volume(first)))
    overlap = float((mask & first.mask).sum() / smaller) if smaller else 0.0
    centre = _centre(first)
    moved = matrix[:3, :3] @ centre + matrix[:3, 3]
    turn = np.clip((np.trace(matrix[:3, :3]) - 1) / 2, -1, 1)
    return Alignment(
        matrix,
        mask,
        min(overlap, 1.0),
        _likeness(first, second, matrix, mask),
        float(np.linalg.norm(moved - centre)),
        float(np.degrees(np.arccos(turn))),
    )


def _likeness(first: Scan, second: Scan, matrix: Float, mask: Mask) -> float:
    moved = resample(
        second.reference, second.affine, first.mask.shape, first.affine, world=matrix, order=1
    )
    either = first.mask | mask
    pair = np.stack([first.reference[either], moved[either]]).astype(np.float64)
    spread = pair.std(axis=1)
    if not spread.all():
        return 0.0
    return float(np.cov(pair, ddof=0)[0, 1] / spread.prod())


def _centre(scan: Scan) -> NDArray[np.float64]:
    voxel = np.argwhere(scan.mask).mean(axis=0)
    return np.asarray(scan.affine[:3, :3] @ voxel + scan.affine[:3, 3])


def _volume(scan: Scan) -> float:
    return float(abs(np.linalg.det(scan.affine[:3, :3])))


def _edges(affine: Float) -> NDArray[np.float64]:
    return np.linalg.norm(np.asarray(affine, dtype=np.float64)[:3, :3], axis=0)
