"""Where a point of one space lies in another: matrices and deformations, composed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

Float = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class PointMap:
    """The map x → after · (p + displacement(p)) with p = before · x, in RAS+ mm.

    It maps points of the target of a resampling to points of its source. Another map may follow,
    so that deformations are composed without being interpolated onto a common grid.

    Attributes
    ----------
    before, after
        Matrices (4, 4).
    displacement
        (x, y, z, 3), mm, on a grid of its own; beyond it points are not displaced.
    affine
        Voxel-to-RAS+ matrix (4, 4) of that grid.
    then
        Map that is applied to the result.
    """

    before: Float
    displacement: NDArray[np.float32]
    affine: Float
    after: Float = field(default_factory=lambda: np.eye(4))
    then: PointMap | None = None

    def preceded_by(self, matrix: ArrayLike) -> PointMap:
        """Return the map that first applies a matrix (4, 4)."""
        return replace(self, before=self.before @ np.asarray(matrix, dtype=np.float64))

    def followed_by(self, following: ArrayLike | PointMap) -> PointMap:
        """Return the map that then applies a matrix (4, 4), or another map."""
        if self.then is not None:
            return replace(self, then=self.then.followed_by(following))
        if isinstance(following, PointMap):
            return replace(self, then=following)
        matrix = following
        return replace(self, after=np.asarray(matrix, dtype=np.float64) @ self.after)

    def apply(self, points: ArrayLike) -> Float:
        """Return where points (3, ...) lie, (3, ...), mm."""
        moved = transform(self.before, points)
        voxels = transform(np.linalg.inv(self.affine), moved)
        for axis in range(3):
            moved[axis] += ndimage.map_coordinates(
                self.displacement[..., axis], voxels, order=1, mode="constant"
            )
        moved = transform(self.after, moved)
        return moved if self.then is None else self.then.apply(moved)


def transform(matrix: ArrayLike, points: ArrayLike) -> Float:
    """Apply a matrix (4, 4) to points (3, ...)."""
    full, place = np.asarray(matrix, dtype=np.float64), np.asarray(points, dtype=np.float64)
    shift = full[:3, 3].reshape(3, *([1] * (place.ndim - 1)))
    return np.asarray(np.tensordot(full[:3, :3], place, axes=1) + shift)
