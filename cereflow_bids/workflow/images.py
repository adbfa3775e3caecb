"""What travels between the steps of one run, in the work folder: images, and JSON."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cereflow_bids.errors import InputError


def load(path: str | Path) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return data as float32, scaled as the header says, and the voxel-to-RAS+ matrix."""
    import nibabel as nib

    image: Any = nib.load(path)
    return image.get_fdata(dtype=np.float32), image.affine


def load_input(path: Path, where: str) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return data and matrix of an image of the dataset.

    Parameters
    ----------
    path
        The image.
    where
        Its place in the dataset, for messages.

    Raises
    ------
    InputError
        If it cannot be read to its end.
    """
    from nibabel.filebasedimages import ImageFileError

    try:
        _check_sum(path)
        return load(path)
    except (ImageFileError, EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
        raise _damaged(error, path, where) from error
    except OSError as error:
        # nibabel says of a file that is too short that bytes are missing, without a number.
        if error.errno is not None:
            raise
        raise _damaged(error, path, where) from error


def _check_sum(path: Path) -> None:
    """Read a compressed file to its end, where its check sum is: nibabel stops before that."""
    if path.suffix == ".gz":
        with gzip.open(path) as file:
            while file.read(1 << 22):
                pass


def _damaged(error: Exception, path: Path, where: str) -> InputError:
    # nibabel names the file with its folders, whose names may be those of persons.
    reason = " ".join(str(error).replace(str(path), path.name).split())
    return InputError(
        f"the image is damaged, or there is only a part of it ({reason}).",
        where=where,
        fix="copy or convert it again.",
    )


def load_mask(path: str | Path) -> NDArray[np.bool_]:
    """Return a mask as booleans."""
    return load(path)[0] > 0.5


def load_labels(path: str | Path) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return integer labels and the voxel-to-RAS+ matrix."""
    import nibabel as nib

    image: Any = nib.load(path)
    return np.asarray(image.dataobj).astype(np.int32), image.affine


def mean_volume(volumes: NDArray[Any], index: Sequence[int]) -> NDArray[Any]:
    """Return the mean of some volumes, 0 where one of them did not image the place.

    Empty volumes do not count, unless there is no other.

    Parameters
    ----------
    volumes
        (x, y, z, n), NaN where nothing was imaged.
    index
        Which.
    """
    imaged = [k for k in index if np.isfinite(volumes[..., k]).mean() > 0.5]
    return np.nan_to_num(volumes[..., imaged or list(index)].mean(axis=-1))


def save(data: ArrayLike, affine: ArrayLike, path: Path) -> str:
    """Write an intermediate image, uncompressed for speed, and return its path as text."""
    import nibabel as nib

    array = np.asarray(data)
    kind = np.int32 if array.dtype.kind in "bui" else np.float32
    nib.save(nib.Nifti1Image(array.astype(kind), np.asarray(affine)), path)
    return str(path)


def save_json(content: Any, path: Path) -> str:
    """Write `content` as JSON and return the path."""
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(path)
