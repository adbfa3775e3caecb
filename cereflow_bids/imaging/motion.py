"""Rigid motion within an ASL series, by volume type."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.imaging.registration import is_found, register
from cereflow_bids.imaging.resampling import resample
from cereflow_bids.imaging.series_alignment import Reference
from cereflow_bids.processes import side_by_side

Array = NDArray[np.floating]

MOVING_TYPES = ("control", "label")

FEWEST_SLICES = 4
"""With fewer, least squares have no voxel inside the slab, and ANTs has no gradient across it."""


@dataclass(frozen=True)
class Motion:
    """What motion estimation found.

    Attributes
    ----------
    matrices
        (n, 4, 4), mm: from the reference to each volume; NaN where nothing was or could be
        estimated.
    note
        In plain words, what was done or why nothing was.
    """

    matrices: NDArray[np.float64]
    note: str

    @property
    def estimated(self) -> bool:
        """Whether any volume has a matrix."""
        return bool(np.isfinite(self.matrices).any())


def estimate_motion(
    series: Array,
    affine: Array,
    volume_types: Sequence[str],
    *,
    seed: int = 0,
    processes: int = 1,
) -> Motion:
    """Estimate the rigid motion of each control and label volume, and of M0 volumes among them.

    Controls are registered to the control that is most like their mean, labels to such a label,
    and the label reference and each M0 volume to the control reference, so that the difference
    between control and label is never taken for motion. Of time-encoded volumes one in a cycle is
    a control, or none: then a label stands in. Volumes of one contrast are aligned by least
    squares, others by mutual information.

    Parameters
    ----------
    series
        Volumes (x, y, z, n).
    affine
        Voxel-to-RAS+ matrix (4, 4), mm.
    volume_types
        BIDS volume type of each volume.
    seed
        Seed of the registration.
    processes
        How many volumes may be registered at the same time.
    """
    types = np.asarray(volume_types)
    matrices = np.full((types.size, 4, 4), np.nan)
    found = {kind: np.flatnonzero(types == kind) for kind in MOVING_TYPES}
    indices = {kind: index for kind, index in found.items() if index.size}
    if max((index.size for index in indices.values()), default=0) < 2:
        return Motion(
            matrices,
            "Motion correction skipped: the series does not have two control or two label "
            "volumes to compare.",
        )
    if min(series.shape[:3]) < FEWEST_SLICES:
        return Motion(
            matrices,
            "Motion correction skipped: too few slices to tell a movement by, "
            f"{min(series.shape[:3])} of the {FEWEST_SLICES} that are needed.",
        )
    references = {kind: _most_typical(series, index) for kind, index in indices.items()}
    home = next(iter(references.values()))
    # M0 first: it takes longest, and others can go on meanwhile.
    targets = dict.fromkeys((int(k) for k in np.flatnonzero(types == "m0scan")), home)
    targets |= {int(k): references[kind] for kind, index in indices.items() for k in index}
    # A label goes to the label reference, and that to the control reference.
    pairs = [(to, k) for k, to in targets.items()] + [(home, one) for one in references.values()]
    found_by = _register_pairs(series, affine, pairs, seed=seed, processes=processes)
    for k, target in targets.items():
        matrices[k] = found_by[target, k] @ found_by[home, target]
    return Motion(matrices, _note(matrices[list(targets)]))


def realign(
    series: Array, affine: Array, motion: Motion, *, threads: int = 1
) -> NDArray[np.float32]:
    """Resample each volume that has a matrix onto the reference; the others stay as they are.

    Parameters
    ----------
    series
        Volumes (x, y, z, n).
    affine
        Voxel-to-RAS+ matrix (4, 4), mm.
    motion
        From `estimate_motion`.
    threads
        How many volumes may be resampled at the same time.

    Returns
    -------
    ndarray
        (x, y, z, n), float32; NaN where a volume did not image the place.
    """
    out = np.array(series, dtype=np.float32)

    def undo(k: int) -> None:
        world = motion.matrices[k]
        out[..., k] = resample(
            series[..., k], affine, series.shape[:3], affine, world=world, fill=np.nan
        )

    moved = [
        k
        for k, matrix in enumerate(motion.matrices)
        if np.isfinite(matrix).all() and not np.array_equal(matrix, np.eye(4))
    ]
    with ThreadPoolExecutor(max(1, threads)) as pool:
        list(pool.map(undo, moved))
    return out


def _note(matrices: Array) -> str:
    """Return what was done to the volumes that these matrices are of."""
    note = "Rigid motion correction within control and within label volumes, interpolated once."
    lost = int(np.isnan(matrices).any(axis=(1, 2)).sum())
    if lost == 1:
        note += " 1 volume could not be aligned: it was left where it is, its motion is unknown."
    elif lost:
        note += (
            f" {lost} volumes could not be aligned: they were left where they are, their motion "
            "is unknown."
        )
    return note


def _most_typical(series: Array, index: NDArray[np.intp]) -> int:
    volumes = series[..., index].reshape(-1, index.size).astype(np.float64)
    distance = ((volumes - volumes.mean(axis=1, keepdims=True)) ** 2).sum(axis=0)
    return int(index[distance.argmin()])


def _register_pairs(
    series: Array,
    affine: Array,
    pairs: Sequence[tuple[int, int]],
    *,
    seed: int,
    processes: int,
) -> dict[tuple[int, int], Array]:
    """Return the matrix of each pair of volumes; a volume lies where it is."""
    others: dict[int, list[int]] = {}
    for fixed, moving in dict.fromkeys(pairs):
        if fixed != moving:
            others.setdefault(fixed, []).append(moving)
    several = max(1, processes)
    shares = [
        (fixed, moving[k::several])
        for fixed, moving in others.items()
        for k in range(min(several, len(moving)))
    ]
    calls = [
        (series[..., fixed], [series[..., k] for k in moving], affine, seed)
        for fixed, moving in shares
    ]
    found: dict[tuple[int, int], Array] = {(one, one): np.eye(4) for pair in pairs for one in pair}
    for share, matrices in zip(shares, side_by_side(_align, calls, several), strict=True):
        found |= {(share[0], k): matrix for k, matrix in zip(share[1], matrices, strict=True)}
    return found


def _align(fixed: Array, volumes: Sequence[Array], affine: Array, seed: int) -> list[Array]:
    """Return the matrix of each of several volumes; what one is does not depend on the others."""
    reference = Reference(fixed, affine)
    by_squares = [reference.align(volume) for volume in volumes]
    return [
        _rigid(fixed, volume, affine, seed) if matrix is None else matrix
        for volume, matrix in zip(volumes, by_squares, strict=True)
    ]


def _rigid(fixed: Array, moving: Array, affine: Array, seed: int) -> Array:
    """Register two volumes of one series; they start aligned, so two coarse levels suffice.

    NaN where nothing was found.
    """
    start = np.eye(4)
    found = register(
        fixed,
        affine,
        moving,
        affine,
        transform="Rigid",
        initial=start,
        seed=seed,
        iterations=(20, 10),
        shrink_factors=(2, 1),
        smoothing_sigmas=(1, 0),
    )
    return found if is_found(found, start) else np.full((4, 4), np.nan)
