"""ASL to MNI without a T1w image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cereflow_bids.imaging.point_map import transform
from cereflow_bids.imaging.template_registration import TemplateRegistration
from cereflow_bids.imaging.tissue_fit import Fit, Freedom, fit_tissues
from cereflow_bids.imaging.tissue_samples import Samples, Tissues, take_samples

Float = NDArray[np.floating]
Mask = NDArray[np.bool_]

_NODS = (0.0, -10.0, 10.0)  # degrees by which starts nod the head, beside the one as it lies
_OUTLINE_FIRST, _OUTLINE_ALONE, _OUTLINE_LAST = 1.0, 0.1, 0.05
"""Weights of the outline: for the starts, for one contrast alone, and in the end. It brings a
brain near its place, but masks differ from the template's in fluid and rim: where contrasts can
tell, a larger weight let one voxel more or less at the rim spoil regional values."""
_LEVELS = ((8.0, 2, 8.0, 5_000), (4.0, 1, 4.0, 10_000), (2.0, 1, 0.0, 120_000))
"""SD of the Gaussian for the template, mm; how often it shrinks; SD of that for the images, which
are seen as they are in the end: the template is then as blurred as they; points. The last are all
there are at 3 mm: which of them were drawn changed regional values by 1 %."""
_PERFUSION = 0.5
"""Weight of perfusion beside the reference image: it has more noise, and shows arteries, too."""
_GM_TO_WM = 2.5  # perfusion of grey matter over that of white matter


@dataclass(frozen=True, eq=False)
class _Level:
    """Template and images at one resolution: the SD of a Gaussian, mm."""

    tissues: Tissues
    samples: Samples


def register_to_template(
    images: tuple[Float, Float | None],
    mask: Mask,
    affine: Float,
    fractions: Float,
    fractions_affine: Float,
    *,
    seed: int = 0,
) -> TemplateRegistration:
    """Register M0 and perfusion to the tissues of a template, by an affine transform.

    Rigid, with one zoom, then affine, from coarse to fine and from several starts: the scanner's
    coordinates, the centre of the brain, and heads that nod. The result that explains the images
    best is kept. No free deformation: without a T1w image it measured worse on real scans.

    Parameters
    ----------
    images
        Reference image and mean difference (x, y, z); the sign of the difference is free, and
        it may be missing. Values that are not finite count as 0.
    mask
        Brain mask on their grid.
    affine
        Voxel-to-RAS+ matrix (4, 4), mm.
    fractions
        Grey matter, white matter and fluid of the template (3, x, y, z), see `template_tissues`.
    fractions_affine
        Its matrix.
    seed
        Of the choice of voxels.
    """
    shown = [np.nan_to_num(np.asarray(one, np.float32)) for one in images if one is not None]
    seen = (shown, mask, affine)
    coarse, middle, fine = (
        _Level(
            Tissues.smoothed(*_shrunk(fractions, fractions_affine, shrinking), sigma),
            take_samples(*seen, sigma=blur, count=count, seed=seed),
        )
        for sigma, shrinking, blur, count in _LEVELS
    )
    inside = coarse.samples.points[:, coarse.samples.weights > 0]
    fits = [
        _place(coarse, start)
        for start in _starts(inside, _centre(fractions.sum(axis=0), fractions_affine))
    ]
    best = max(fits, key=lambda fit: fit.agreement)
    world = best.matrix
    for level in (middle, fine):
        world = _fit(level, world, "affine", _OUTLINE_LAST).matrix
    return TemplateRegistration(
        np.linalg.inv(world),
        _spread(fits, best, inside),
        _disagreement(middle, world, inside),
        *_check(middle, world),
        _coverage(middle.tissues, world, mask, affine),
    )


def template_tissues(
    brain: Float, gm: Float, wm: Float, affine: Float
) -> tuple[NDArray[np.float32], Float]:
    """Return grey matter, white matter and the rest of the brain, which is fluid, at 2 mm.

    Parameters
    ----------
    brain
        Skull-stripped T1w of the template, at 1 mm.
    gm, wm
        Fractions of a voxel on its grid, 0 to 1.
    affine
        Voxel-to-RAS+ matrix (4, 4), mm.

    Returns
    -------
    fractions, affine
        Fractions (3, x, y, z) and their matrix.
    """
    grey, white, inside = (downsample(one, affine, 2)[0] for one in (gm, wm, (brain > 0) * 1.0))
    rest = np.clip(inside - grey - white, 0, 1)
    return np.stack([grey, white, rest]), downsample(brain, affine, 2)[1]


def _place(level: _Level, start: Float) -> Fit:
    """Go from a start as far as starts are compared."""
    placed = _fit(level, start, "rigid", _OUTLINE_FIRST)
    return _fit(level, placed.matrix, "similarity", _OUTLINE_FIRST)


def _fit(level: _Level, start: Float, freedom: Freedom, outline_weight: float) -> Fit:
    weights = (outline_weight, 1.0, _PERFUSION)[: 1 + len(level.samples.contrasts)]
    return fit_tissues(level.samples, level.tissues, start, freedom=freedom, weights=weights)


def _shrunk(fractions: Float, affine: Float, factor: int) -> tuple[Float, Float]:
    shrunk = [downsample(one, affine, factor) for one in fractions]
    return np.stack([image for image, _ in shrunk]), shrunk[0][1]


def _starts(inside: Float, centre: Float) -> list[Float]:
    """Matrices from points of the ASL image to points of the template."""
    middle = inside.mean(axis=1)
    starts: list[Float] = [np.eye(4)]
    for angle in np.deg2rad(_NODS):
        nod = np.eye(4)
        nod[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        nod[:3, 3] = centre - nod[:3, :3] @ middle
        starts.append(nod)
    return starts


def _centre(brain: Float, affine: Float) -> Float:
    return transform(affine, np.array(ndimage.center_of_mass(brain)))


def _spread(fits: Sequence[Fit], best: Fit, inside: Float) -> float:
    place = transform(best.matrix, inside)
    apart = [
        float(np.linalg.norm(transform(fit.matrix, inside) - place, axis=0).mean())
        for fit in fits
        if fit is not best
    ]
    return float(np.median(apart))


def _disagreement(level: _Level, world: Float, inside: Float) -> float:
    """Return how far apart either contrast alone goes from the common result, mean in mm."""
    if len(level.samples.contrasts) < 2:
        return float("nan")
    alone = [
        fit_tissues(
            level.samples,
            level.tissues,
            world,
            freedom="affine",
            weights=(_OUTLINE_ALONE, *only),
        ).matrix
        for only in ((1.0, 0.0), (0.0, 1.0))
    ]
    apart = transform(alone[0], inside) - transform(alone[1], inside)
    return float(np.linalg.norm(apart, axis=0).mean())


def _check(level: _Level, world: Float) -> tuple[float, float]:
    """Return the overlap of the outlines, and how perfusion follows the template's tissues."""
    samples = level.samples
    gm, wm, rest = level.tissues.at(transform(world, samples.points))
    brain = gm + wm + rest
    outline = 2 * np.minimum(samples.outline, brain).sum() / (samples.outline + brain).sum()
    counted = (samples.weights > 0) & (brain > 0)
    if len(samples.contrasts) < 2 or not counted.any():
        return float(outline), float("nan")
    expected = (_GM_TO_WM * gm + wm)[counted]
    with np.errstate(invalid="ignore", divide="ignore"):  # an image may be constant
        found = np.corrcoef(samples.contrasts[1][counted], expected)
    return float(outline), float(found[0, 1])


def _coverage(tissues: Tissues, world: Float, mask: Mask, affine: Float) -> float:
    """Return the part of the template's brain that lies in the field of view."""
    brain = np.argwhere(tissues.fractions.sum(axis=0) > 0.5).T.astype(np.float64)
    to_voxels = np.linalg.inv(affine) @ np.linalg.inv(world) @ tissues.affine
    voxels = transform(to_voxels, brain[:, ::10])
    size = np.array(mask.shape)[:, None]
    return float(((voxels >= -0.5) & (voxels <= size - 0.5)).all(axis=0).mean())


def downsample(image: Float, affine: Float, factor: int) -> tuple[NDArray[np.float32], Float]:
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


def template_mask(template: Float) -> NDArray[np.bool_]:
    """Return the brain of a skull-stripped template: its positive voxels, holes filled."""
    return np.asarray(ndimage.binary_fill_holes(np.asarray(template) > 0), dtype=bool)
