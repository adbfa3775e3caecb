"""Cerebrovascular reactivity: how much perfusion changes between two states."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]

MINIMUM_BASELINE = 5.0
"""Baseline CBF, mL/100 g/min, below which a percentage of it says nothing (our choice)."""


def reactivity(
    baseline: ArrayLike,
    stimulus: ArrayLike,
    baseline_error: ArrayLike,
    stimulus_error: ArrayLike,
    *,
    minimum: float = MINIMUM_BASELINE,
) -> tuple[Float, Float]:
    """Return CVR = 100·(stimulus - baseline)/baseline and its standard error, both in %.

    Parameters
    ----------
    baseline, stimulus
        CBF of the two runs on one grid, any equal shape, mL/100 g/min.
    baseline_error, stimulus_error
        Their standard errors, same shape or scalar, mL/100 g/min.
    minimum
        Baseline below which both results are NaN, mL/100 g/min, positive.

    Returns
    -------
    cvr, standard_error
        NaN where a CBF is not finite or the baseline is below `minimum`; the standard error is
        NaN as well where one of the two errors is not finite or is negative.

    Notes
    -----
    First-order propagation, the runs independent:
    SE = 100·sqrt(SE_s² + (s/b)²·SE_b²)/b. An error of M0, α or T1b that both runs share cancels
    in the ratio and is not part of it.
    """
    if not minimum > 0:
        raise ValueError(f"minimum baseline must be positive, got {minimum}")
    b, s = np.asarray(baseline, dtype=np.float64), np.asarray(stimulus, dtype=np.float64)
    if b.shape != s.shape:
        raise ValueError(f"baseline has shape {b.shape}, stimulus {s.shape}: not one grid")
    good = np.isfinite(b) & np.isfinite(s) & (b >= minimum)
    ratio = np.divide(s, b, out=np.full(b.shape, np.nan), where=good)
    errors = np.stack(np.broadcast_arrays(b, baseline_error, stimulus_error)[1:])
    errors = np.where(np.isfinite(errors) & (errors >= 0), errors, np.nan)
    spread = np.hypot(errors[1], ratio * errors[0])
    error = np.divide(spread, b, out=np.full(b.shape, np.nan), where=good)
    return 100 * (ratio - 1), 100 * error
