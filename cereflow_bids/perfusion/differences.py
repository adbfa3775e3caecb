"""From label and control volumes to perfusion-weighted differences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]
Index = NDArray[np.intp]


def pair_volumes(volume_types: Sequence[str]) -> tuple[Index, Index, Index]:
    """Pair the k-th control with the k-th label, whichever comes first.

    Parameters
    ----------
    volume_types
        BIDS ``aslcontext`` entries, one per volume.

    Returns
    -------
    control, label, unpaired
        Volume indices; `unpaired` lists surplus controls or labels at the end of the series.

    Examples
    --------
    >>> c, l, rest = pair_volumes(["m0scan", "label", "control", "label", "control", "label"])
    >>> c.tolist(), l.tolist(), rest.tolist()
    ([2, 4], [1, 3], [5])
    """
    types = np.asarray(volume_types)
    control, label = np.flatnonzero(types == "control"), np.flatnonzero(types == "label")
    n = min(control.size, label.size)
    return control[:n], label[:n], np.sort(np.concatenate([control[n:], label[n:]]))


def subtract(
    series: ArrayLike, control: Index | Sequence[int], label: Index | Sequence[int]
) -> NDArray[np.floating]:
    """Return control minus label, in single precision where the series is.

    That suffices: the difference of two numbers within a factor of 2 of each other is exact.

    Parameters
    ----------
    series
        Volumes (x, y, z, n).
    control, label
        Indices of equal length p.

    Returns
    -------
    ndarray
        Differences (x, y, z, p).
    """
    volumes = np.asarray(series)
    if volumes.dtype.kind != "f":
        volumes = volumes.astype(np.float64)
    difference = volumes[..., control]
    difference -= volumes[..., label]
    return np.asarray(difference)


def mean_and_standard_error(repeats: ArrayLike) -> tuple[Float, Float]:
    """Return the mean over the last axis and its standard error, SD/√N.

    Parameters
    ----------
    repeats
        Differences (..., n).

    Returns
    -------
    mean, standard_error
        Shape (...); the error is NaN for a single repeat: it is unknown then, not zero.
    """
    values = np.asarray(repeats)
    n = values.shape[-1]
    if n == 0:
        raise ValueError("no control-label pair")
    mean = values.mean(axis=-1, dtype=np.float64)
    if n == 1:
        return mean, np.full(mean.shape, np.nan)
    return mean, values.std(axis=-1, ddof=1, dtype=np.float64) / np.sqrt(n)
