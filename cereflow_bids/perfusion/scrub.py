"""A robust mean of repeats that leans on structure where they disagree: SCRUB."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2

from cereflow_bids.perfusion.outliers import (
    PURE_TISSUE,
    OutlierResult,
    TissueRepeats,
    finite_mean,
    score,
    tissue_repeats,
)

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

HUBER_TUNING = 1.345
"""Residual over its SD beyond which Huber's weight falls: 95 % efficient for normal noise."""

_UNUSUAL = 1e-4
"""Chance that noise alone gives a voxel a variance that calls for the prior."""

_ITERATIONS = 30
_CHUNK = 20_000
"""Voxels at a time: each iteration needs several times the memory of their repeats."""


def scrub(
    repeats: ArrayLike, gm: ArrayLike, wm: ArrayLike, csf: ArrayLike, mask: ArrayLike
) -> OutlierResult:
    """Return the SCRUB mean: SCORE, then a robust Bayesian mean of what is left, per voxel.

    Parameters
    ----------
    repeats
        CBF or ΔM of one delay (x, y, z, p).
    gm, wm, csf
        Tissue fractions (x, y, z).
    mask
        Brain (x, y, z).

    Returns
    -------
    OutlierResult
        Kept repeats and reasons are those of SCORE.

    Notes
    -----
    Dolui 2016 (ISMRM 24, 2880): argmin over θ of Σ ρ(CBF_t - θ) + μ·(θ - prior)². ρ is Huber's;
    the prior c1·pGM + c2·pWM is fitted to voxels of usual variance. μ grows with a voxel's
    variance over that of grey matter; it is 0, and the result the plain mean, up to the value
    that normal noise exceeds once in 10⁴ voxels.
    """
    good = score(repeats, gm, wm, csf, mask)
    data = tissue_repeats(repeats, gm, wm, csf, mask)
    count = int(good.kept.sum())
    weights = np.where(good.kept, 1.0, np.nan)
    values = data.values[:, good.kept]
    whole: Bool = np.asarray(np.isfinite(values).all(axis=1))
    grey = whole & (data.fractions[:, 0] > PURE_TISSUE)
    if count < 2 or not grey.any():
        return replace(good, weights=weights)
    mu = np.zeros(whole.size)
    mu[whole] = _prior_weight(values[whole].var(axis=1, ddof=1), grey[whole], count)
    prior = _structure(data, finite_mean(values), mu, whole)
    theta = finite_mean(values)
    # Voxels that lack a repeat have no comparable variance: they keep their plain mean.
    index, total = np.flatnonzero(whole), np.zeros(count)
    for start in range(0, index.size, _CHUNK):
        part = index[start : start + _CHUNK]
        theta[part], share = _robust_mean(values[part], mu[part], prior[part])
        total += share.sum(axis=0)
    weights[good.kept] = total / index.size
    return replace(good, mean=data.on_grid(theta), weights=weights)


def _prior_weight(variance: Float, grey: Bool, count: int) -> Float:
    """Return μ (v,): 0, then linear, then quadratic in the variance over that of grey matter."""
    freedom = count - 1
    # The median of χ² is below its mean, and so is the median variance below the true one.
    usual = float(np.median(variance[grey])) * freedom / chi2.median(freedom)
    if not usual > 0:
        return np.zeros(variance.shape)
    ratio, first = variance / usual, chi2.isf(_UNUSUAL, freedom) / freedom
    steep = ratio**2 / (20 * first) + 4 * first
    return np.asarray(np.where(ratio < 10 * first, np.maximum(ratio - first, 0), steep))


def _structure(data: TissueRepeats, mean: Float, mu: Float, whole: Bool) -> Float:
    """Return the prior (v,), fitted to pure voxels of usual variance."""
    tissue = data.fractions[:, :2]
    pure = whole & (tissue > PURE_TISSUE).any(axis=1)
    usual = pure & (mu == 0)
    chosen = usual if usual.any() else pure
    coefficients = np.linalg.lstsq(tissue[chosen], mean[chosen], rcond=None)[0]
    return np.asarray(tissue @ coefficients)


def _robust_mean(values: Float, mu: Float, prior: Float) -> tuple[Float, Float]:
    """Return θ (v,) and Huber's weights (v, p), by iteratively reweighted least squares."""
    count = values.shape[1]
    weights = np.ones(values.shape)
    theta = values.mean(axis=1)
    # Where μ is small nothing is suspect, and the efficient plain mean is wanted.
    suspicion = -np.expm1(-mu / 10) / np.sqrt(1 - 1 / count)
    for _ in range(_ITERATIONS):
        before = theta
        theta = ((weights * values).sum(axis=1) + mu * prior) / (weights.sum(axis=1) + mu)
        residual = values - theta[:, None]
        spread = HUBER_TUNING * np.sqrt(np.mean(residual**2, axis=1) / (1 - 1 / count))
        x = residual * suspicion[:, None]
        away = np.divide(x, spread[:, None], out=np.zeros(x.shape), where=spread[:, None] > 0)
        weights = 1 / np.maximum(1, np.abs(away))
        if np.all(np.abs(theta - before) <= 1e-8 * np.abs(theta)):
            break
    return theta, weights
