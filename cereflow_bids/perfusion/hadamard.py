"""Time-encoded labelling: from the encoded volumes to one difference per block of label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import hadamard

Float = NDArray[np.floating]


def sylvester_signs(encodings: int) -> NDArray[np.int64]:
    """Return the signs (n, n − 1) of Sylvester's Hadamard matrix without its column of ones.

    Parameters
    ----------
    encodings
        Number of encodings n, a power of 2 of at least 2. Scanners also use other orders of rows
        and columns: `decode` takes any.
    """
    if encodings < 2 or encodings & (encodings - 1):
        raise ValueError(f"number of encodings must be a power of 2, got {encodings}")
    return np.asarray(hadamard(encodings)[:, 1:], dtype=np.int64)


def decode(encoded: ArrayLike, signs: ArrayLike) -> Float:
    """Return the difference, control minus label, that each block makes by itself.

    Parameters
    ----------
    encoded
        Encoded volumes (..., n), any unit. Volumes of more than one cycle are averaged first.
    signs
        (n, b), the blocks in the order of time: +1 where the block was control, −1 where label.

    Returns
    -------
    ndarray
        (..., b), float32 of float32 volumes, else float64. ΔM = HᵀS/(n/2), so the noise has
        4/n of the variance of one volume, where one pair has 2.

    Raises
    ------
    ValueError
        If volumes do not fit the matrix, or its columns are not balanced and orthogonal.

    Notes
    -----
    Günther 2007 and Dai 2013, doi:10.1002/mrm.24335.
    """
    h, s = np.asarray(signs, dtype=np.float64), np.asarray(encoded)
    if h.ndim != 2 or s.ndim < 1 or s.shape[-1] != h.shape[0]:
        raise ValueError(f"volumes of shape {s.shape} for a sign matrix of shape {h.shape}")
    check_signs(h)
    dtype = np.float32 if s.dtype == np.float32 else np.float64
    return np.asarray(s.astype(dtype, copy=False) @ (h * (2 / h.shape[0])).astype(dtype))


def check_signs(signs: ArrayLike) -> None:
    """Refuse a sign matrix (n, b) that does not tell its blocks apart.

    Raises
    ------
    ValueError
        If it holds anything but ±1, or its columns are not balanced and orthogonal.
    """
    h = np.asarray(signs, dtype=np.float64)
    n = h.shape[0]
    if not np.all(np.abs(h) == 1):
        raise ValueError("signs must be +1 (control) or −1 (label)")
    if np.any(h.sum(axis=0) != 0) or np.any(h.T @ h != n * np.eye(h.shape[1])):
        raise ValueError(
            "the signs of each block must hold as many +1 as −1 and be orthogonal to those of "
            "the others; what is +1 in all volumes belongs to no block: leave it out"
        )


def block_delays(durations: Sequence[float], final_delay: float) -> tuple[float, ...]:
    """Return the effective PLD of each block: the final delay and all later blocks.

    Parameters
    ----------
    durations
        Duration of each block in the order of time, s; it is the τ of the block's difference.
    final_delay
        From the end of the last block to the readout, s.

    Examples
    --------
    >>> block_delays((1.0, 0.5, 0.25), 0.75)
    (1.5, 1.0, 0.75)
    """
    blocks = np.asarray(durations, dtype=np.float64)
    if blocks.ndim != 1 or blocks.size == 0 or not np.all((blocks > 0) & np.isfinite(blocks)):
        raise ValueError(f"durations of blocks must be positive, got {durations}")
    if not (final_delay >= 0 and np.isfinite(final_delay)):
        raise ValueError(f"final delay must be 0 or more, got {final_delay}")
    later = np.concatenate([np.cumsum(blocks[:0:-1])[::-1], [0.0]])
    return tuple(float(delay) for delay in final_delay + later)


def decoded_sign(differences: ArrayLike, grey_matter: ArrayLike) -> int:
    """Return 1 if decoded label lowers the signal of grey matter, as it must; −1 if it raises it.

    At −1 control and label are exchanged in the sign matrix. Nothing is turned round here.

    Parameters
    ----------
    differences
        Decoded differences (..., b).
    grey_matter
        Mask (...), true in grey matter.

    Raises
    ------
    ValueError
        If grey matter has no finite value, or its mean is exactly 0.
    """
    values = np.asarray(differences)[np.asarray(grey_matter, dtype=bool)]
    values = values[np.isfinite(values)]
    mean = float(values.mean(dtype=np.float64)) if values.size else 0.0
    if mean == 0:
        raise ValueError("no perfusion signal in grey matter: the sign cannot be checked")
    return 1 if mean > 0 else -1
