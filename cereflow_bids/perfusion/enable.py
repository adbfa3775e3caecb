"""The best repeats by contrast to noise, as many as quality asks for: ENABLE."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from cereflow_bids.perfusion.outliers import OutlierResult, TissueRepeats, tissue_repeats

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

_DELAYS = (0.1, 0.5, 0.9, 1.3, 1.7, 2.1)

# Weights of contrast to noise, detectability, spatial variation and temporal SNR, per delay.
_WEIGHTS = {
    3.0: (
        (0.4, 0.3, 0.7, 0.1, 0.5, 0.3),
        (1.6, 1.7, 1.0, 1.8, 1.4, 1.8),
        (-0.9, -0.9, -0.3, -1.0, -0.8, -0.6),
        (-1.1, -1.0, -1.1, -1.0, -1.0, -0.8),
    ),
    1.5: (
        (0.5, 0.7, 0.7, 0.8, 0.2, 0.1),
        (1.3, 1.2, 1.0, 0.8, 1.5, 1.6),
        (-0.5, -0.7, -0.3, -0.4, -0.6, -0.7),
        (-1.2, -1.0, -1.1, -1.0, -1.0, -1.0),
    ),
}

_SIGNIFICANT = 0.05
_FEWEST = 2

_ROUNDING = 1e-9


def enable(
    repeats: ArrayLike,
    gm: ArrayLike,
    wm: ArrayLike,
    csf: ArrayLike,
    mask: ArrayLike,
    *,
    delay: float,
    field_strength: float = 3.0,
) -> OutlierResult:
    """Keep the repeats of highest contrast to noise, as many as maximise a measure of quality.

    Parameters
    ----------
    repeats
        ΔM or CBF of one delay (x, y, z, p), not masked: noise is the SD outside the mask.
    gm, wm, csf
        Tissue fractions (x, y, z).
    mask
        Brain (x, y, z).
    delay
        PLD (TI for PASL), s: the weights of the measure depend on it, and are those of the
        nearest end beyond 0.1 to 2.1 s.
    field_strength
        B0, T: weights were published for 1.5 and 3; the nearer is taken.

    Returns
    -------
    OutlierResult
        At least two repeats are kept, where so many have data.

    Raises
    ------
    ValueError
        If there is no noise outside the mask to measure.

    Notes
    -----
    Shirzadi 2018, doi:10.1002/jmri.25807. Of each number n of best repeats, over grey matter:
    contrast to noise of the mean, share of voxels with a mean above 0 (one-sided t test,
    p < 0.05), SD/mean in space, and mean/SD over repeats; each over its maximum over n, weighted
    and summed. The minus on the last one is the published weight.
    """
    data = tissue_repeats(repeats, gm, wm, csf, mask)
    noise, grey = _outside(repeats, data), data.pure()[:, 0]
    kept, reasons = data.kept, dict(data.reasons)
    if kept.sum() <= _FEWEST or not grey.any():
        return data.result(kept, reasons)
    index = np.flatnonzero(kept)
    contrast = data.values[grey][:, index].mean(axis=0) / noise[:, index].std(axis=0)
    order = index[np.argsort(-contrast, kind="stable")]
    quality = _quality(data.values[grey][:, order], noise[:, order], delay, field_strength)
    # Of equal quality the longest: nothing is rejected without a gain.
    best = np.flatnonzero(quality >= quality.max() - _ROUNDING)
    count = int(best[-1]) + _FEWEST
    ranked = dict(zip(index.tolist(), contrast.tolist(), strict=True))
    for i in order[count:].tolist():
        kept[i] = False
        reasons[i] = (
            f"its contrast to noise {ranked[i]:.3g} is below that of the {count} repeats "
            "of which the mean is best"
        )
    return data.result(kept, reasons)


def _outside(repeats: ArrayLike, data: TissueRepeats) -> Float:
    """Return the voxels outside the mask (w, p), finite and not all zero."""
    outer: Float = np.asarray(repeats)[~data.mask].astype(np.float64)
    used = outer[:, data.kept]
    outer = outer[np.isfinite(used).all(axis=1) & (used != 0).any(axis=1)]
    if data.kept.any() and (len(outer) < 2 or not (outer[:, data.kept].std(axis=0) > 0).all()):
        raise ValueError("no noise outside the mask: ENABLE needs repeats that are not masked")
    return outer


def _quality(grey: Float, noise: Float, delay: float, field_strength: float) -> Float:
    """Return the measure of the first 2, 3, ... p of the sorted repeats, (p - 1,)."""
    counts = range(_FEWEST, grey.shape[1] + 1)
    measures = np.array([_measures(grey[:, :n], noise[:, :n]) for n in counts])
    largest = np.abs(measures).max(axis=0)
    measures = np.divide(measures, largest, out=np.zeros(measures.shape), where=largest > 0)
    field = min(_WEIGHTS, key=lambda b0: abs(b0 - field_strength))
    weights = np.array([np.interp(delay, _DELAYS, row) for row in _WEIGHTS[field]])
    total: Float = measures @ weights
    return total


def _measures(grey: Float, noise: Float) -> tuple[float, float, float, float]:
    """Return contrast to noise, detectability, spatial variation, temporal SNR."""
    n = grey.shape[1]
    mean, sd = grey.mean(axis=1), grey.std(axis=1, ddof=1)
    varies = sd > _ROUNDING * np.abs(mean)
    ratio = np.divide(mean, sd, out=np.zeros(mean.shape), where=varies)
    limit = stats.t.isf(_SIGNIFICANT, n - 1)
    detected = np.where(varies, ratio * np.sqrt(n) > limit, mean > 0).mean()
    level = float(mean.mean())
    variation = float(mean.std()) / level if level != 0 else 0.0
    return level / float(noise.mean(axis=1).std()), float(detected), variation, float(ratio.mean())
