"""Brain extraction with the packaged network: boxes the head at 128³, segments the box at 256³."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from cereflow_bids.resources import RESOURCES

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]

_FOLDER = RESOURCES / "models" / "deepbet"
_COARSE, _FINE = 128, 256
_PERCENTILES = (0.5, 99.5)
_FOREGROUND = 0.02  # share of a coarse slice that the head's box must contain
_MARGIN = 0.1  # of the box's size, at either side
# The networks were trained on intensities with this mean and standard deviation.
_MEAN, _DEVIATION = 0.449, 0.226


def extract_brain(image: ArrayLike, affine: ArrayLike, *, threads: int = 1) -> Mask:
    """Segment the brain in a picture of a head.

    Nothing here judges the result: the network finds a plausible brain in things that are none.
    Whoever calls it has to check.

    Parameters
    ----------
    image
        Image (x, y, z) with at least the brain's whole outline; any positive scale. NaN counts
        as 0.
    affine
        Voxel-to-RAS+ matrix (4, 4), mm; it tells which way the head lies.
    threads
        Threads of the inference.

    Returns
    -------
    ndarray of bool
        Mask (x, y, z) on the grid of the image, one component without holes.

    Raises
    ------
    ValueError
        If the image is constant, or the network sees no head in it.
    """
    inside = largest_component(brain_probability(image, affine, threads=threads) > 0.5)
    return np.asarray(ndimage.binary_fill_holes(inside), dtype=bool)


def brain_probability(image: ArrayLike, affine: ArrayLike, *, threads: int = 1) -> Float:
    """Return how sure the network is of brain in each voxel, 0 to 1.

    Parameters and errors as for `extract_brain`.

    Returns
    -------
    ndarray
        Probability (x, y, z) on the grid of the image; 0 outside the head's box.
    """
    import nibabel as nib

    data = np.nan_to_num(np.asarray(image, dtype=np.float32))
    towards_ras = nib.orientations.io_orientation(np.asarray(affine))
    upright = nib.orientations.apply_orientation(data, towards_ras)
    found = _probability(upright, threads)
    back = nib.orientations.ornt_transform(np.array([[0, 1], [1, 1], [2, 1]]), towards_ras)
    return np.asarray(nib.orientations.apply_orientation(found, back), dtype=np.float32)


def _probability(image: Float, threads: int) -> Float:
    coarse = _resize(image, (_COARSE,) * 3)
    low, high = (float(value) for value in np.percentile(coarse, _PERCENTILES))
    if high <= low:
        raise ValueError("the image is constant: there is no head in it")
    head = largest_component(_infer("bbox", _normalise(coarse, low, high), threads) > 0.5)
    box = _box(head, image.shape)
    fine = _normalise(_resize(image[box], (_FINE,) * 3), low, high)
    found = np.zeros(image.shape, dtype=np.float32)
    found[box] = _resize(_infer("model", fine, threads), image[box].shape)
    return found


def largest_component(mask: Mask) -> Mask:
    """Keep the largest 6-connected component of a mask (x, y, z); an empty mask stays empty."""
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    return np.asarray(labels == np.bincount(labels.ravel())[1:].argmax() + 1)


@cache
def _session(name: str, threads: int) -> InferenceSession:
    """Load a network once per process and thread count."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    # The arena would keep the gigabyte of the largest layer for the life of the process.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        str(_FOLDER / f"deepbet_{name}.onnx"), options, providers=["CPUExecutionProvider"]
    )


def _infer(name: str, image: Float, threads: int) -> Float:
    """Return the probability of brain, the second of the network's two channels."""
    session = _session(name, threads)
    (output,) = session.run(None, {session.get_inputs()[0].name: image[None, None]})
    return np.asarray(output[0, 1], dtype=np.float32)


def _normalise(image: Float, low: float, high: float) -> Float:
    scaled = np.clip((image - low) / (high - low), 0, 1)
    deviation = float(scaled.std(ddof=1, dtype=np.float64))
    if deviation == 0:
        raise ValueError("the image is constant where a head should be")
    mean = float(scaled.mean(dtype=np.float64))
    return ((scaled - mean) * (_DEVIATION / deviation) + _MEAN).astype(np.float32)


def _resize(image: Float, shape: tuple[int, ...]) -> Float:
    """Sample the voxel nearest to each centre of a grid with the same field of view."""
    nearest = [
        ((np.arange(new) + 0.5) * old / new).astype(int)
        for new, old in zip(shape, image.shape, strict=True)
    ]
    return image[np.ix_(*nearest)]


def _box(head: Mask, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Return the head's box with its margin, in voxels of an image of the given shape."""
    slices = []
    for axis, size in enumerate(shape):
        others = tuple(other for other in range(3) if other != axis)
        filled = np.flatnonzero(head.mean(axis=others) > _FOREGROUND)
        if filled.size == 0:
            raise ValueError("the brain-extraction network sees no head in the image")
        first, last = filled[0], filled[-1] + 1
        scale = size / head.shape[axis]
        centre = np.rint(scale * (first + last) / 2)
        half = np.rint(scale * (last - first) * (1 + 2 * _MARGIN)) / 2
        slices.append(slice(max(0, int(centre - half)), min(size, int(centre + half))))
    return tuple(slices)
