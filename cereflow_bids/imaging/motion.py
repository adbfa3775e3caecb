"""Rigid motion within an ASL series, by volume type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.imaging.registration import register
from cereflow_bids.imaging.resampling import resample

Array = NDArray[np.floating]

MOVING_TYPES = ("control", "label")


@dataclass(frozen=True)
class Motion:
    """What motion estimation found.

    Attributes
    ----------
    matrices
        (n, 4, 4), mm: from the reference to each volume; NaN where nothing was estimated.
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
    series: Array, affine: Array, volume_types: Sequence[str], *, seed: int = 0
) -> Motion:
    """Estimate the rigid motion of each control and label volume, and of M0 volumes among them.

    Controls are registered to the control that is most like their mean, labels to such a label,
    and the label reference and each M0 volume to the control reference, so that the difference
    between control and label is never taken for motion. Of time-encoded volumes one in a cycle is
    a control, or none: then a label stands in.

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
    references = {kind: _most_typical(series, index) for kind, index in indices.items()}
    first = next(iter(references))
    home = series[..., references[first]]
    for kind, index in indices.items():
        reference = series[..., references[kind]]
        to_reference = np.eye(4) if kind == first else _rigid(home, reference, affine, seed)
        for k in index:
            own = k == references[kind]
            within = np.eye(4) if own else _rigid(reference, series[..., k], affine, seed)
            matrices[k] = within @ to_reference
    for k in np.flatnonzero(types == "m0scan"):
        matrices[k] = _rigid(home, series[..., k], affine, seed)
    return Motion(
        matrices,
        "Rigid motion correction within control and within label volumes, interpolated once.",
    )


def realign(series: Array, affine: Array, motion: Motion) -> NDArray[np.float32]:
    """Resample each volume that has a matrix onto the reference; the others stay as they are.

    Parameters
    ----------
    series
        Volumes (x, y, z, n).
    affine
        Voxel-to-RAS+ matrix (4, 4), mm.
    motion
        From `estimate_motion`.

    Returns
    -------
    ndarray
        (x, y, z, n), float32; NaN where a volume did not image the place.
    """
    out = np.array(series, dtype=np.float32)
    for k, matrix in enumerate(motion.matrices):
        if np.isfinite(matrix).all() and not np.array_equal(matrix, np.eye(4)):
            out[..., k] = resample(
                series[..., k], affine, series.shape[:3], affine, world=matrix, fill=np.nan
            )
    return out


def _most_typical(series: Array, index: NDArray[np.intp]) -> int:
    volumes = series[..., index].reshape(-1, index.size).astype(np.float64)
    distance = ((volumes - volumes.mean(axis=1, keepdims=True)) ** 2).sum(axis=0)
    return int(index[distance.argmin()])


def _rigid(fixed: Array, moving: Array, affine: Array, seed: int) -> Array:
    """Register two volumes of one series; they start aligned, so two coarse levels suffice."""
    return register(
        fixed,
        affine,
        moving,
        affine,
        transform="Rigid",
        initial=np.eye(4),
        seed=seed,
        iterations=(20, 10),
        shrink_factors=(2, 1),
        smoothing_sigmas=(1, 0),
    )
