"""A digital head with a known cerebral blood flow in every region.

Its anatomy is finer than the voxels of a scan, so that partial volume arises where it does in a
scanner.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cereflow_bids.demo.anatomy import Anatomy, anatomy, regions
from cereflow_bids.imaging.label_volumes import volume_preserving_labels
from cereflow_bids.imaging.resampling import area_average

Float = NDArray[np.float32]

GREY_FLOW = {
    "frontal": 60.0,
    "parietal": 62.0,
    "temporal": 55.0,
    "occipital": 58.0,
    "cingulate": 65.0,
    "insula": 60.0,
    "cerebellum": 56.0,
}
"""Cortical CBF by lobe, mL/100 g/min, about what pCASL finds in adults."""

DEEP_FLOW = {
    "thalamus": 52.0,
    "caudate": 46.0,
    "putamen": 48.0,
    "pallidum": 36.0,
    "hippocampus": 48.0,
    "amygdala": 45.0,
    "accumbens": 45.0,
    "brainstem": 40.0,
}
"""CBF of deep structures, mL/100 g/min."""

WHITE_FLOW = 21.0
LEFT_MIDDLE_CEREBRAL = (
    "banks of superior temporal sulcus",
    "caudal middle frontal",
    "inferior parietal",
    "insula",
    "middle temporal",
    "pars opercularis",
    "pars triangularis",
    "postcentral",
    "precentral",
    "superior temporal",
    "supramarginal",
    "transverse temporal",
)
"""Regions that the left middle cerebral artery mostly feeds."""


@dataclass(frozen=True)
class Head:
    """One participant: anatomy, blood flow, and where the head lies in the scanner.

    Attributes
    ----------
    anatomy
        The shared anatomy.
    flow
        True CBF, mL/100 g/min, on the anatomy's grid.
    placement
        Template mm to scanner mm, ``(4, 4)``.
    regional_flow
        Grey matter CBF of every label, as painted.
    """

    anatomy: Anatomy
    flow: Float
    placement: NDArray[np.float64]
    regional_flow: dict[int, float] = field(repr=False)


@dataclass(frozen=True)
class SampledHead:
    """A head seen through the voxels of a scan.

    Attributes
    ----------
    fractions
        Volume fraction of grey matter, white matter, fluid and scalp, ``(4, x, y, z)``.
    flow
        Volume-weighted CBF of the grey and of the white part, mL/100 g/min, ``(2, x, y, z)``;
        their sum is the true CBF of the voxel.
    labels
        Label that fills most of each voxel, 0 for none.
    affine
        Voxel to scanner mm, ``(4, 4)``.
    """

    fractions: Float
    flow: Float
    labels: NDArray[np.int32]
    affine: NDArray[np.float64]

    @property
    def true_cbf(self) -> Float:
        """True CBF of every voxel, mL/100 g/min, ``(x, y, z)``."""
        return self.flow.sum(axis=0)

    def regional_means(self) -> dict[int, float]:
        """Return the mean of the true CBF over the voxels of every label that has any."""
        found = np.unique(self.labels[self.labels > 0])
        means = ndimage.mean(self.true_cbf, self.labels, found)
        return {int(label): float(mean) for label, mean in zip(found, means, strict=True)}


def participant(
    seed: int, *, deficit: tuple[str, ...] = (), deficit_fraction: float = 0.6
) -> Head:
    """Return a head with its own blood flow, size and position.

    Parameters
    ----------
    seed
        Of the participant's variation; the same seed gives the same head.
    deficit
        Names of left-sided regions whose grey matter CBF is multiplied by `deficit_fraction`.
    deficit_fraction
        1 for none.
    """
    rng = np.random.default_rng(seed)
    body = anatomy()
    atlas = regions()
    names = sorted({region.name for region in atlas})
    unknown = set(deficit) - set(names)
    if unknown:
        raise ValueError(f"no such region in the atlas: {', '.join(sorted(unknown))}")
    regional: dict[int, float] = {}
    own = {name: rng.uniform(0.93, 1.07) for name in names}
    for region in atlas:
        usual = DEEP_FLOW.get(region.name) or GREY_FLOW[region.group]
        flow = usual * own[region.name] * rng.uniform(0.98, 1.02)
        hit = region.hemisphere == "L" and region.name in deficit
        regional[region.label] = flow * (deficit_fraction if hit else 1.0)
    return Head(body, _paint(body, regional), _placement(rng), regional)


def sample(head: Head, shape: tuple[int, int, int], affine: NDArray[np.float64]) -> SampledHead:
    """Average the head over the voxels of a scan.

    Parameters
    ----------
    head
        The participant.
    shape
        Voxels of the scan along x, y, z.
    affine
        Voxel to scanner mm, ``(4, 4)``.
    """
    body = head.anatomy
    to_template = np.linalg.inv(head.placement)

    def average(points: NDArray[np.generic]) -> Float:
        return area_average(points, body.affine, shape, affine, world=to_template)

    fractions = [average(body.tissue == kind) for kind in (1, 2, 3, 4)]
    flow = [average(np.where(body.tissue == kind, head.flow, 0)) for kind in (1, 2)]
    (labels,) = volume_preserving_labels(
        [body.labels], body.affine, shape, affine, world=to_template
    )
    return SampledHead(np.stack(fractions), np.stack(flow), labels, affine)


def scan_grid(
    head: Head,
    shape: tuple[int, int, int],
    voxel_size: tuple[float, float, float],
    tilt_degrees: float,
) -> NDArray[np.float64]:
    """Return the affine of an axial slab centred on the brain and tilted about the x axis.

    Parameters
    ----------
    head
        Whose brain is at the centre.
    shape
        Voxels along x, y, z.
    voxel_size
        mm.
    tilt_degrees
        Positive: the front goes up.
    """
    angle = np.deg2rad(tilt_degrees)
    turn = np.array(
        [
            [1, 0, 0],
            [0, np.cos(angle), -np.sin(angle)],
            [0, np.sin(angle), np.cos(angle)],
        ]
    )
    brain_centre = head.placement @ np.array([0, -17, 5, 1.0])
    affine = np.eye(4)
    affine[:3, :3] = turn * np.asarray(voxel_size)
    affine[:3, 3] = brain_centre[:3] - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def _paint(body: Anatomy, regional: dict[int, float]) -> Float:
    """Give every point of the brain the flow of its tissue and region."""
    table = np.zeros(max(regional) + 1, dtype=np.float32)
    table[list(regional)] = list(regional.values())
    flow = np.zeros(body.tissue.shape, dtype=np.float32)
    grey = body.tissue == 1
    flow[grey] = table[body.nearest[grey]]
    flow[body.tissue == 2] = WHITE_FLOW
    return flow


def _placement(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a small affine: size within 6 %, angles within 5°, position within 8 mm."""
    angles = np.deg2rad(rng.uniform(-5, 5, 3))
    turn = np.eye(3)
    for axis, angle in enumerate(angles):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        step = np.eye(3)
        step[first, first] = step[second, second] = np.cos(angle)
        step[first, second], step[second, first] = -np.sin(angle), np.sin(angle)
        turn = step @ turn
    placement = np.eye(4)
    placement[:3, :3] = turn * rng.uniform(0.94, 1.02, 3)
    placement[:3, 3] = rng.uniform(-8, 8, 3)
    return placement
