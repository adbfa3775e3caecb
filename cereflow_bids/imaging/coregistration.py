"""ASL to T1w, by six degrees of freedom and from several starts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.imaging.point_map import transform
from cereflow_bids.imaging.registration import likeness, register
from cereflow_bids.imaging.resampling import resample
from cereflow_bids.imaging.sides import SURE, compare_sides
from cereflow_bids.imaging.standard_space import downsample
from cereflow_bids.processes import side_by_side

Float = NDArray[np.floating]
Mask = NDArray[np.bool_]

STARTS = 4

LEAST_OVERLAP = 0.8
"""Of the ASL image's brain mask with the brain of the T1w (our choice)."""

TRUSTED_SPREAD_MM = 5.0
"""Where starts end further apart than this, registration is not to be trusted (our choice)."""

_TILT = 5.0  # degrees by which other starts nod the head
_COARSE = partial(
    register,
    transform="Rigid",
    iterations=(200, 100),
    shrink_factors=(4, 2),
    smoothing_sigmas=(2, 1),
)
_FINE = partial(
    register,
    transform="Rigid",
    iterations=(100, 50),
    shrink_factors=(2, 1),
    smoothing_sigmas=(1, 0),
)


@dataclass(frozen=True, eq=False)
class Coregistration:
    """How the ASL image lies to the T1w.

    Attributes
    ----------
    matrix
        Points of the T1w to points of the ASL image (4, 4), RAS+ mm.
    spread
        Median over the other starts of how far their results put the brain from the best's, mm.
    information
        Mutual information of the two images, nats; larger is better.
    overlap
        Part of the ASL image's brain mask that lies in the brain of the T1w.
    sides
        How surely left and right of the two images are the same, in SDs, as `compare_sides` has
        it; below -`SURE` one of the two images has its sides exchanged. NaN if nothing can tell.
    """

    matrix: Float
    spread: float
    information: float
    overlap: float
    sides: float

    @property
    def trusted(self) -> bool:
        """Whether starts agree, and brains lie on each other, well enough."""
        return self.spread <= TRUSTED_SPREAD_MM and self.overlap >= LEAST_OVERLAP

    @property
    def measures(self) -> dict[str, float]:
        """What the quality table tells of it, by column."""
        return {
            "t1w_spread": self.spread,
            "t1w_overlap": self.overlap,
            "t1w_sides": self.sides,
        }

    @property
    def note(self) -> str:
        """A sentence for the record of the run."""
        told = (
            f"ASL was registered to the T1w image from {STARTS} starts, which ended "
            f"{self.spread:.1f} mm apart (median); {100 * self.overlap:.0f} % of the ASL brain "
            "mask lies in the brain of the T1w."
        )
        if self.trusted:
            return f"{told} {self._told_of_sides}"
        return f"{told} That is not to be trusted, so that the T1w image was not used."

    @property
    def _told_of_sides(self) -> str:
        if self.sides < -SURE:
            return (
                "What is not symmetric in the head lies on the other side in the ASL image: one "
                "of the two images has its left and right exchanged."
            )
        if self.sides > SURE:
            return "What is not symmetric in the head lies on the same side in both images."
        return (
            "Whether left and right of the two images are the same cannot be told from what is "
            "not symmetric in the head."
        )


def register_to_t1w(
    reference: Float,
    affine: Float,
    head: Float,
    head_affine: Float,
    brain: Mask,
    *,
    mask: Mask,
    seed: int = 0,
    processes: int = 1,
) -> Coregistration:
    """Register the ASL reference image, skull included, to the T1w, skull included.

    Mutual information of whole heads was the most robust on real scans; a brain mask on either
    image made it worse. Starts are the scanner's coordinates, the centres of the images, and
    heads that nod; the result with the most information is kept.

    Parameters
    ----------
    reference
        M0 or control image (x, y, z).
    affine, head_affine
        Voxel-to-RAS+ matrices (4, 4), mm.
    head
        T1w image (x, y, z).
    brain
        Brain on the grid of the T1w, where the results are compared.
    mask
        Brain on the grid of the ASL image.
    seed
        Of the metric's random sampling.
    processes
        How many starts may be followed at the same time.
    """
    fixed, fixed_affine = _at_two_mm(head, head_affine)
    moving = np.nan_to_num(np.asarray(reference, dtype=np.float32))
    images = (fixed, fixed_affine, moving, affine)
    points = transform(head_affine, np.argwhere(brain).T[:, ::200].astype(np.float64))
    starts = _starts(head, head_affine, moving, affine)
    results = side_by_side(_follow, [(images, start, seed) for start in starts], processes)
    scores = [_information(images, matrix) for matrix in results]
    best = int(np.argmax(scores))
    places = [transform(matrix, points) for matrix in results]
    apart = [
        float(np.linalg.norm(place - places[best], axis=0).mean())
        for k, place in enumerate(places)
        if k != best
    ]
    world = np.linalg.inv(results[best])
    under = resample(brain, head_affine, mask.shape, affine, world=world, order=0) > 0.5
    overlap = float((under & mask).sum() / max(int(mask.sum()), 1))
    found = Coregistration(
        results[best], float(np.median(apart)), scores[best], overlap, float("nan")
    )
    if not found.trusted:
        return found
    sides = compare_sides(
        (moving, affine), (fixed, fixed_affine), (brain, head_affine), mask, found.matrix
    )
    return replace(found, sides=sides)


def _follow(images: tuple[Float, Float, Float, Float], start: Float, seed: int) -> Float:
    """Return where a start ends."""
    return _FINE(*images, initial=_COARSE(*images, initial=start, seed=seed), seed=seed)


def _information(images: tuple[Float, Float, Float, Float], matrix: Float) -> float:
    fixed, fixed_affine, moving, affine = images
    moved = resample(moving, affine, fixed.shape, fixed_affine, world=matrix, order=1)
    return likeness(fixed, moved, fixed_affine)


def _at_two_mm(image: Float, affine: Float) -> tuple[Float, Float]:
    """Average to voxels of about 2 mm."""
    edge = float(np.linalg.norm(affine[:3, :3], axis=0).max())
    factor = max(1, round(2 / edge))
    return downsample(image, affine, factor)


def _starts(head: Float, head_affine: Float, moving: Float, affine: Float) -> list[Float]:
    """Matrices from points of the T1w to points of the ASL image."""
    centre = _centre(head, head_affine)
    shift = np.eye(4)
    shift[:3, 3] = _centre(moving, affine) - centre
    nods = [_about(centre, angle) for angle in (-_TILT, _TILT)]
    return [np.eye(4), shift, *nods]


def _about(centre: Float, degrees: float) -> Float:
    """Return the turn about the left-right axis through a point."""
    angle = np.deg2rad(degrees)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turn[:3, 3] = centre - turn[:3, :3] @ centre
    return turn


def _centre(image: Float, affine: Float) -> Float:
    """Return the centre of intensity, mm."""
    weight = np.clip(image, 0, np.percentile(image, 99)).astype(np.float64)
    means = []
    for axis, size in enumerate(weight.shape):
        others = tuple(other for other in range(3) if other != axis)
        means.append(float(weight.sum(axis=others) @ np.arange(size) / weight.sum()))
    return transform(affine, np.array(means))
