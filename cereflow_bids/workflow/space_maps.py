"""Maps between spaces, in files of the work folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cereflow_bids.imaging.point_map import PointMap

SpaceMap = NDArray[np.float64] | PointMap
"""A matrix (4, 4) or a deformation; from points of one space to points of another, RAS+ mm."""


def save_map(found: ArrayLike | PointMap, path: Path) -> str:
    """Write a map as .npz and return its path as text."""
    if isinstance(found, PointMap):
        parts = {
            name: getattr(found, name) for name in ("before", "displacement", "affine", "after")
        }
        np.savez(path, **parts)
    else:
        np.savez(path, matrix=np.asarray(found, dtype=np.float64))
    return str(path)


def load_map(path: str | Path) -> SpaceMap:
    """Read what `save_map` wrote."""
    with np.load(path) as parts:
        if "matrix" in parts:
            return np.asarray(parts["matrix"], dtype=np.float64)
        return PointMap(**{name: parts[name] for name in parts.files})
