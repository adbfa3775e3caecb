"""Brain masks on the ASL grid: a network's, checked against intensity thresholds.

The rule, in this order, depends on the image alone:

1. The network's mask stands if it could be a brain (volume, edge of the field of view, contrast,
   outline: `_doubt`) and if, where the thresholds found something that could be a brain too, the
   smaller of both masks lies by at least 80 % within the larger. Size is not compared: thresholds
   lose dark parts of a brain and keep scalp, the network seldom does.
2. Otherwise the thresholds' vote stands, if it could be a brain.
3. Otherwise there is no mask.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from cereflow_bids.imaging.slab_network import depth, mean_nearby, slab_mask
from cereflow_bids.imaging.threshold_masks import threshold_masks, vote

Float = NDArray[np.floating]
Mask = NDArray[np.bool_]

BRAIN_VOLUME_ML = (400.0, 2200.0)
"""No brain is smaller; a head with its neck is larger. For slabs see `volume_limits`."""

_WHOLE_BRAIN_MM = 100.0  # a slab of this height can hold almost all of a brain
_SECTION_ML_PER_MM = 20.0  # the largest axial section of a brain; a head's has 25
_GREATEST_EDGE = 0.10  # share of the lateral faces of the field of view
_LEAST_CONTRAST = 0.80  # chance that a voxel inside is brighter than one outside
_LEAST_SMOOTHNESS = 0.95  # Dice of a mask with itself after smoothing by 5 mm
_LEAST_OVERLAP = 0.80  # of the smaller of two masks with the larger
_SMOOTHING_MM = 5.0
LEAST_INNER_CONTRAST = 0.025
"""Measured: 4.6 to 4.8 % in simulated heads, 6 to 38 % on scans; 1.9 % in a body at 5 % noise."""

_TISSUE_MM, _SHADE_MM, _RIM_MM = 3.0, 20.0, 8.0


@dataclass(frozen=True, eq=False)
class BrainMask:
    """A brain mask and how it came about.

    Attributes
    ----------
    mask
        Mask (x, y, z), one component without holes in its axial slices.
    method
        What drew it.
    note
        One or two sentences for the record of the run.
    """

    mask: Mask
    method: Literal["network", "threshold vote"]
    note: str


def brain_mask(reference: ArrayLike, affine: ArrayLike, *, threads: int = 1) -> BrainMask:
    """Separate brain from everything else on an M0, control or mean ASL image.

    Parameters
    ----------
    reference
        Image (x, y, z) of any positive scale, brain brighter than background. Values below 0
        and NaN count as 0.
    affine
        Voxel-to-RAS+ matrix (4, 4), mm; the third axis runs along the body.
    threads
        Threads of the network.

    Returns
    -------
    BrainMask

    Raises
    ------
    ValueError
        If neither the network nor the thresholds find what could be a brain; says why.
    """
    matrix = np.asarray(affine, dtype=np.float64)
    image = _checked(reference)
    found = _chosen(image, matrix, threads)
    contrast = inner_contrast(image, found.mask, matrix)
    if not contrast < LEAST_INNER_CONTRAST:  # NaN: too small a mask to tell
        return found
    return replace(
        found,
        note=f"{found.note} Inside the mask the image is uniform (local contrast "
        f"{contrast:.1%}; brains have 4 % and more): this may be a phantom.",
    )


def _chosen(image: Float, matrix: Float, threads: int) -> BrainMask:
    """Let the network and the thresholds draw, and choose."""
    ranks = _ranks(image)
    voted = _vote(image, matrix, ranks)
    network, doubt = _network(image, matrix, ranks, threads)
    if network is not None and not doubt:
        if voted is None:
            return _result(network, matrix, "network", "Intensity thresholds do not confirm it.")
        if _overlap(network, voted) >= _LEAST_OVERLAP:
            told = f"Intensity thresholds agree with it at Dice {dice(network, voted):.2f}."
            return _result(network, matrix, "network", told)
        doubt = "it lies elsewhere than the brightest tissue"
    if voted is None:
        raise ValueError(
            f"no brain found in the reference image: the network's mask was rejected ({doubt}), "
            "and intensity thresholds found nothing that could be one"
        )
    return _result(voted, matrix, "threshold vote", f"The network's mask was rejected: {doubt}.")


def dice(one: Mask, other: Mask) -> float:
    """Return Dice's overlap of two masks, 0 to 1; NaN where both are empty."""
    total = int(one.sum()) + int(other.sum())
    return 2 * float((one & other).sum()) / total if total else float("nan")


def volume_limits(height: float) -> tuple[float, float]:
    """Return the least and the greatest volume of brain, mL, that a slab can hold.

    Parameters
    ----------
    height
        Of the slab, mm.
    """
    least, greatest = BRAIN_VOLUME_ML
    return (
        least * min(1.0, height / _WHOLE_BRAIN_MM),
        min(greatest, _SECTION_ML_PER_MM * height),
    )


def _checked(reference: ArrayLike) -> Float:
    image = np.asarray(reference, dtype=np.float32)
    if image.ndim != 3 or image.size == 0:
        raise ValueError(f"the reference image must be one volume, not of shape {image.shape}")
    image = np.maximum(np.nan_to_num(image, posinf=0.0), 0)
    if image.max() <= image.min():
        raise ValueError("the reference image is constant: there is no brain to find in it")
    return image


def _result(
    mask: Mask, affine: Float, method: Literal["network", "threshold vote"], remark: str
) -> BrainMask:
    drawn = {
        "network": "drawn by the brain-extraction network",
        "threshold vote": "drawn by vote of intensity thresholds",
    }[method]
    note = f"Brain mask {drawn}: {_volume(mask, affine):.0f} mL. {remark}"
    return BrainMask(mask, method, note)


def _network(image: Float, affine: Float, ranks: Float, threads: int) -> tuple[Mask | None, str]:
    """Return the network's mask, if it gave one, and what speaks against it."""
    try:
        mask = slab_mask(image, affine, threads=threads)
    except ValueError as error:
        return None, str(error)
    return mask, _doubt(mask, affine, ranks)


def _vote(image: Float, affine: Float, ranks: Float) -> Mask | None:
    """Return what the thresholds agree on, as far as each of them could have found a brain."""
    found = threshold_masks(image, affine).values()
    possible = [mask for mask in found if not _doubt(mask, affine, ranks)]
    if not possible:
        return None
    voted = vote(possible)
    return None if _doubt(voted, affine, ranks) else voted


def _doubt(mask: Mask, affine: Float, ranks: Float) -> str:
    """Return why a mask cannot be a brain; nothing if it can."""
    least, greatest = volume_limits(mask.shape[2] * float(_edges(affine)[2]))
    volume = _volume(mask, affine)
    if not least <= volume <= greatest:
        return f"it has {volume:.0f} mL, a brain here would have {least:.0f} to {greatest:.0f} mL"
    faces = (mask[0], mask[-1], mask[:, 0], mask[:, -1])
    edge = float(np.concatenate([face.ravel() for face in faces]).mean())
    if edge > _GREATEST_EDGE:
        return f"it covers {edge:.0%} of the field of view's lateral faces"
    contrast = _contrast(mask, ranks)
    if contrast < _LEAST_CONTRAST:
        return f"it is hardly brighter than its surroundings (AUC {contrast:.2f})"
    smoothness = dice(mask, _smoothed(mask, affine))
    if smoothness < _LEAST_SMOOTHNESS:
        return f"its outline is ragged (Dice {smoothness:.2f} with its smoothed self)"
    return ""


def _ranks(image: Float) -> Float:
    from scipy.stats import rankdata

    return np.asarray(rankdata(image)).reshape(image.shape)


def _contrast(mask: Mask, ranks: Float) -> float:
    """Return the chance that a voxel inside is brighter than one outside (Mann-Whitney)."""
    inside = int(mask.sum())
    outside = mask.size - inside
    return float((ranks[mask].sum() - inside * (inside + 1) / 2) / (inside * outside))


def inner_contrast(reference: ArrayLike, mask: Mask, affine: ArrayLike) -> float:
    """Return the spread of brightness inside a mask once shading and single voxels are averaged.

    It is half the distance of the 16th and 84th percentile, as a share of the local mean; below
    `LEAST_INNER_CONTRAST` there may be no brain in the mask, but a phantom.

    Parameters
    ----------
    reference
        Image (x, y, z) of any positive scale. Values below 0 and NaN count as 0.
    mask
        Where it is said to be a brain (x, y, z).
    affine
        Voxel-to-RAS+ matrix (4, 4), mm; the third axis runs along the body.

    Returns
    -------
    float
        NaN where nothing of the mask lies deep enough to tell.
    """
    image, edges = _checked(reference), _edges(np.asarray(affine, dtype=np.float64))
    within = depth(mask, edges) > _RIM_MM
    if not within.any():
        return float("nan")
    shade = np.maximum(mean_nearby(image, mask, _SHADE_MM / edges), np.finfo(np.float32).tiny)
    tissue = mean_nearby(image, mask, _TISSUE_MM / edges) / shade
    low, high = np.percentile(tissue[within], (16, 84))
    return float(high - low) / 2


def _smoothed(mask: Mask, affine: Float) -> Mask:
    return (
        ndimage.gaussian_filter(
            mask.astype(np.float32), _SMOOTHING_MM / _edges(affine), mode="nearest"
        )
        > 0.5
    )


def _overlap(one: Mask, other: Mask) -> float:
    return float((one & other).sum()) / min(int(one.sum()), int(other.sum()))


def _volume(mask: Mask, affine: Float) -> float:
    """Return the volume of a mask, mL."""
    return float(mask.sum() * abs(np.linalg.det(affine[:3, :3])) / 1000)


def _edges(affine: Float) -> Float:
    """Return the edges of a voxel, mm."""
    return np.linalg.norm(affine[:3, :3], axis=0)
