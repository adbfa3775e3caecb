"""Whether the data of a voxel favour an arterial component."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.special import gammaincinv

from cereflow_bids.perfusion.scheme import LabelingScheme

Float = NDArray[np.float64]

BAYES_FACTOR = 3.0
"""From here on evidence is called positive (Kass 1995, doi:10.1080/01621459.1995.10476572)."""
ALONE_FACTOR = 20.0
"""From here on it is called strong; for a voxel none of whose neighbours has arteries, since
vessels go on beyond one voxel and noise does not."""
PARAMETERS = 4
_EXTRA = 2
"""Parameters that the arterial component adds: aBV and aBAT."""
_FACES = ndimage.generate_binary_structure(3, 1).astype(np.uint8)
_FACES[1, 1, 1] = 0


def evidence(tissue: Float, joint: Float, known: Float, freedom: float) -> Float:
    """Return the logarithm of the Bayes factor for arteries, over that needed; > 0 includes them.

    Parameters
    ----------
    tissue, joint
        Weighted residual sums of squares of the two models (v,).
    known
        Sum of squares that is noise whatever the model (v,), as from `prior_squares`.
    freedom
        Number of squares in all.

    Notes
    -----
    By the Bayesian information criterion (Schwarz 1978, doi:10.1214/aos/1176344136), whose half
    difference is the logarithm of a Bayes factor. It must exceed `BAYES_FACTOR`: the criterion
    alone includes arteries in up to 15 % of the voxels that have none, this in at most 6 %, and in
    1 to 3 % usually; the corrected criterion of Akaike is too lenient with many repeats and
    misses most arteries with few (`benchmarks/arterial.py`).
    """
    floor = np.finfo(float).tiny
    ratio = np.maximum(known + tissue, floor) / np.maximum(known + joint, floor)
    return np.asarray(0.5 * freedom * np.log(ratio) - needed(freedom))


def needed(freedom: float) -> float:
    """Return what the fit must gain to outweigh the parameters, as a logarithm."""
    return 0.5 * _EXTRA * float(np.log(freedom)) + float(np.log(BAYES_FACTOR))


def isolated(gain: Float, mask: ArrayLike) -> NDArray[np.bool_]:
    """Return where the evidence does not suffice for a voxel without neighbours that have any.

    Parameters
    ----------
    gain
        From `evidence` (v,); NaN or negative where there are no arteries.
    mask
        Where the voxels lie (x, y, z), v of them true.
    """
    inside = np.asarray(mask, dtype=bool)
    favoured = np.zeros(inside.shape, dtype=bool)
    favoured[inside] = gain > 0
    beside = ndimage.convolve(favoured.astype(np.uint8), _FACES, mode="constant")[inside]
    enough = gain > np.log(ALONE_FACTOR / BAYES_FACTOR)
    return np.asarray((gain > 0) & (beside == 0) & ~enough)


def prior_squares(
    rss: Float, scheme: LabelingScheme, spread: ArrayLike | None
) -> tuple[Float, float]:
    """Return squares that tell the noise besides the residuals (v,), and how many they are.

    The spread of the repeats; and, where these are few, as many squares as there are measurements
    with the noise of the whole mask. Where tissue alone leaves more in most voxels than the
    repeats explain (a wrong T1, rounding), that is no sign of arteries: the spread is enlarged by
    as much. Medians tell it, which voxels with vessels do not move much.
    """
    n = scheme.size
    repeats = 0 if spread is None else int(np.sum(scheme.repeats)) - n
    own = np.broadcast_to(np.asarray(spread if repeats else 0.0, dtype=np.float64), rss.shape)
    used = np.isfinite(rss + own)
    left, scatter = _variance(rss[used], n - 2), _variance(own[used], repeats)
    noise = max(left, scatter)
    if scatter <= 0:
        return np.full(rss.shape, n * noise), float(n)
    own = own * (noise / scatter)
    if repeats >= 2 * n:
        return own, float(repeats)
    return own + n * noise, float(repeats + n)


def _variance(squares: Float, number: int) -> float:
    """Return the variance whose sums of that many squares have the median of these."""
    if not squares.size or number < 1:
        return 0.0
    return float(np.median(squares) / (2 * gammaincinv(number / 2, 0.5)))
