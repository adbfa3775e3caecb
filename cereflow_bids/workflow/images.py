"""Images between the steps of one run, in the work folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def load(path: str | Path) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return data as float32, scaled as the header says, and the voxel-to-RAS+ matrix."""
    import nibabel as nib

    image: Any = nib.load(path)
    return image.get_fdata(dtype=np.float32), image.affine


def load_mask(path: str | Path) -> NDArray[np.bool_]:
    """Return a mask as booleans."""
    return load(path)[0] > 0.5


def load_labels(path: str | Path) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return integer labels and the voxel-to-RAS+ matrix."""
    import nibabel as nib

    image: Any = nib.load(path)
    return np.asarray(image.dataobj).astype(np.int32), image.affine


def save(data: ArrayLike, affine: ArrayLike, path: Path) -> str:
    """Write an intermediate image, uncompressed for speed, and return its path as text."""
    import nibabel as nib

    array = np.asarray(data)
    kind = np.int32 if array.dtype.kind in "bui" else np.float32
    nib.save(nib.Nifti1Image(array.astype(kind), np.asarray(affine)), path)
    return str(path)
