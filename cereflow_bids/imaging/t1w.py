"""From a T1w image to brain, tissues, and the way to the template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.imaging.brain_network import extract_brain
from cereflow_bids.imaging.masks import BRAIN_VOLUME_ML, dice
from cereflow_bids.imaging.point_map import PointMap
from cereflow_bids.imaging.registration import deform
from cereflow_bids.imaging.resampling import resample
from cereflow_bids.imaging.segmentation import correct_bias, segment
from cereflow_bids.imaging.standard_space import downsample, template_mask

Float = NDArray[np.floating]
Mask = NDArray[np.bool_]

LEAST_OVERLAP = 0.9
"""Dice of the brain with that of the template after registration, below which it is no brain or
not registered; 0.96 and 0.98 on scans at hand."""

LEAST_FILLED = 0.8
"""Share of the brain that known tissues have to fill: else they lie elsewhere (our choice)."""

LEAST_TISSUE = 0.1
"""Share of the brain that is grey, and that is white matter, in any head (our choice)."""

_MARGIN_MM = 10.0


@dataclass(frozen=True, eq=False)
class Template:
    """A standard brain on one grid (x, y, z).

    Attributes
    ----------
    brain
        Skull-stripped T1w.
    gm, wm
        Tissue fractions, 0 to 1.
    affine
        Voxel-to-RAS+ matrix (4, 4), mm.
    """

    brain: Float
    gm: Float
    wm: Float
    affine: Float


@dataclass(frozen=True, eq=False)
class Known:
    """What was made of a T1w image before, on its grid (x, y, z), and need not be made again.

    Attributes
    ----------
    mask
        Brain.
    tissues
        Fractions of fluid, grey and white matter.
    unbiased
        Whether the bias field was removed.
    """

    mask: Mask | None = None
    tissues: tuple[Float, Float, Float] | None = None
    unbiased: bool = False


@dataclass(frozen=True, eq=False)
class Anatomy:
    """What a T1w image tells of a head, on its own grid (x, y, z).

    Attributes
    ----------
    head
        The image without bias field, skull included.
    mask
        Brain.
    gm, wm, csf
        Tissue fractions, 0 outside the mask.
    to_template, to_t1w
        Points of the T1w to points of the template, and back, RAS+ mm.
    overlap
        Dice of the brain with the template's after registration.
    notes
        Sentences for the record.
    """

    head: Float
    mask: Mask
    gm: Float
    wm: Float
    csf: Float
    to_template: PointMap
    to_t1w: PointMap
    overlap: float
    notes: tuple[str, ...]


def prepare_t1w(
    image: Float,
    affine: Float,
    template: Template,
    *,
    known: Known | None = None,
    threads: int = 1,
    seed: int = 0,
) -> Anatomy:
    """Extract the brain, remove the bias, register to the template and segment.

    What is known is not done again. The way to the template always is: the packaged one is hardly
    ever the one that others registered to, and its overlap tells whether the brain is one.

    Parameters
    ----------
    image
        T1w image (x, y, z), arbitrary unit.
    affine
        Voxel-to-RAS+ matrix (4, 4), mm.
    template
        Where to.
    known
        What was made of the image before.
    threads
        Of brain extraction.
    seed
        Of registration and segmentation.

    Raises
    ------
    ValueError
        If there is no brain in it that fits the template; says why.
    """
    known = known or Known()
    image = np.maximum(np.nan_to_num(np.asarray(image, dtype=np.float32), posinf=0.0), 0)
    mask = extract_brain(image, affine, threads=threads) if known.mask is None else known.mask
    volume = float(mask.sum() * abs(np.linalg.det(affine[:3, :3])) / 1000)
    if not BRAIN_VOLUME_ML[0] <= volume <= BRAIN_VOLUME_ML[1]:
        raise ValueError(f"what looks like a brain in the T1w image has {volume:.0f} mL")
    given = None if known.tissues is None else _checked(known.tissues, mask)
    head = image if known.unbiased else correct_bias(image, affine, mask)
    box, box_affine = _box(mask, affine)
    inside = mask[box]
    brain = np.where(inside, head[box], 0)
    coarse, coarse_affine = downsample(template.brain, template.affine, 2)
    to_t1w, to_template = deform(coarse, coarse_affine, brain, box_affine, seed=seed)
    overlap = _overlap(inside, box_affine, template, to_template)
    if overlap < LEAST_OVERLAP:
        raise ValueError(
            f"the brain in the T1w image does not fit the template (Dice {overlap:.2f})"
        )
    if given is None:
        made = _tissues(brain, box_affine, inside, template, to_template, seed)
        given = [_put_back(one, box, mask.shape) for one in made]
    csf, gm, wm = given
    note = (
        f"T1w image: brain of {volume:.0f} mL, of which {_share(gm, mask)} grey and "
        f"{_share(wm, mask)} white matter; Dice {overlap:.2f} with the template."
    )
    return Anatomy(head, mask, gm, wm, csf, to_template, to_t1w, overlap, (note,))


def _checked(tissues: Sequence[Float], mask: Mask) -> list[Float]:
    """Return known tissues inside the brain, or raise if they cannot be its own."""
    csf, gm, wm = (
        np.where(mask, np.clip(np.nan_to_num(one), 0, 1), 0).astype(np.float32) for one in tissues
    )
    filled = float((csf + gm + wm)[mask].mean())
    if filled < LEAST_FILLED:
        raise ValueError(f"its tissues fill {100 * filled:.0f} % of its brain mask")
    for name, one in (("grey", gm), ("white", wm)):
        share = float(one[mask].mean())
        if share < LEAST_TISSUE:
            raise ValueError(f"{100 * share:.0f} % of its brain mask are {name} matter")
    return [csf, gm, wm]


def _box(mask: Mask, affine: Float) -> tuple[tuple[slice, ...], Float]:
    """Return the part of the grid that holds the brain, and its matrix."""
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    where = np.argwhere(mask)
    margin = np.ceil(_MARGIN_MM / edges).astype(int)
    first = np.maximum(where.min(axis=0) - margin, 0)
    last = np.minimum(where.max(axis=0) + 1 + margin, mask.shape)
    own = np.array(affine, dtype=np.float64)
    own[:3, 3] += own[:3, :3] @ first
    return tuple(slice(a, b) for a, b in zip(first, last, strict=True)), own


def _overlap(mask: Mask, affine: Float, template: Template, to_template: PointMap) -> float:
    standard = template_mask(template.brain)
    moved = resample(standard, template.affine, mask.shape, affine, world=to_template, order=0)
    return dice(mask, moved > 0.5)


def _tissues(  # noqa: PLR0917
    brain: Float,
    affine: Float,
    mask: Mask,
    template: Template,
    to_template: PointMap,
    seed: int,
) -> tuple[NDArray[np.float32], ...]:
    """Return CSF, grey and white matter."""
    gm, wm = (
        resample(one, template.affine, mask.shape, affine, world=to_template, order=1)
        for one in (template.gm, template.wm)
    )
    return segment(brain, affine, mask, [np.clip(1 - gm - wm, 0, 1), gm, wm], seed=seed)


def _put_back(part: Float, box: tuple[slice, ...], shape: tuple[int, ...]) -> Float:
    whole = np.zeros(shape, dtype=np.float32)
    whole[box] = part
    return whole


def _share(tissue: Float, mask: Mask) -> str:
    return f"{100 * float(tissue.sum()) / float(mask.sum()):.0f} %"
