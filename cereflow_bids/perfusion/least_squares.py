"""CBF and ATT of several delays by weighted least squares, each voxel for itself."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cereflow_bids.perfusion.constants import CBF_UNIT
from cereflow_bids.perfusion.estimate import Estimate, Flag
from cereflow_bids.perfusion.response_table import ResponseTable, response_table
from cereflow_bids.perfusion.scheme import LabelingScheme

Float = NDArray[np.float64]
Index = NDArray[np.intp]

ATT_RANGE = (0.0, 4.0)
_CHUNK = 4096
_RATE_STEP = 0.04
_CBF_RANGE = (0.0, 200.0)
"""CBF beyond it, mL/100 g/min, no longer shortens T1' further."""
_FIELDS = 6


def fit_least_squares(
    signal: ArrayLike,
    scheme: LabelingScheme,
    *,
    t1_tissue: ArrayLike | None = None,
    offset: ArrayLike = 0.0,
    att_range: tuple[float, float] = ATT_RANGE,
) -> Estimate:
    """Fit CBF and ATT to the signal by variable projection (Golub 1973, doi:10.1137/0710036).

    The model is linear in CBF, so that CBF has a closed form for each ATT and ATT alone is
    searched: on a grid, then to the maximum of a polynomial on the piece found. CBF in 1/T1' of
    the full model is iterated to its fixed point.

    Parameters
    ----------
    signal
        λ·ΔM/M0 (v, n).
    scheme
        Labelling, times and constants; its `repeats` are the weights.
    t1_tissue
        T1t (v,) or one value, s, for the full model; that of the scheme if not given.
    offset
        What the slice of each voxel adds to the delays, (v,) or one value, s; few distinct ones.
    att_range
        Range of ATT that is searched, s.

    Returns
    -------
    Estimate
        Standard errors are σ²·(JᵀWJ)⁻¹ with σ² = RSS/(n − 2), NaN at the ends of the range or
        for n ≤ 2. With ``BEFORE_FIRST_DELAY`` (the lower end, or one delay only) ATT is the
        first delay and CBF that for this ATT; with ``NO_PERFUSION`` ATT is NaN and CBF ≤ 0.
    """
    values = np.asarray(signal)
    if values.ndim != 2 or values.shape[1] != scheme.size:
        raise ValueError(f"signal has shape {values.shape}, the scheme {scheme.size} delays")
    if not 0 <= att_range[0] < att_range[1]:
        raise ValueError(f"range of ATT is {att_range}: it must rise from 0 or more, in seconds")
    t1 = np.asarray(scheme.t1_tissue if t1_tissue is None else t1_tissue, dtype=np.float64)
    t1 = np.broadcast_to(t1, values.shape[:1])
    shift = np.broadcast_to(np.asarray(offset, dtype=np.float64), values.shape[:1])
    good = np.isfinite(values).all(axis=1) & np.isfinite(shift)
    if scheme.model == "full":
        good &= np.isfinite(t1) & (t1 > 0)
    maps = np.full((_FIELDS, values.shape[0]), np.nan)
    maps[5] = Flag.NO_DATA
    weights = np.sqrt(scheme.repeats)
    for voxels, rates, slice_offset in _groups(scheme, np.flatnonzero(good), t1, shift):
        table = response_table(scheme, rates, slice_offset, att_range)
        for start in range(0, voxels.size, _CHUNK):
            chunk = voxels[start : start + _CHUNK]
            rate = 1 / t1[chunk] if scheme.model == "full" else np.ones(chunk.size)
            maps[:, chunk] = _fit(values[chunk] * weights, table, rate, scheme)
    # Weighted squares over the weights' sum: in the unit of the signal.
    maps[4] /= np.sqrt(np.mean(scheme.repeats))
    cbf, att, cbf_error, att_error, residual, flag = maps
    return Estimate(cbf, att, cbf_error, att_error, residual, flag.astype(np.uint8))


def _groups(
    scheme: LabelingScheme, voxels: Index, t1: Float, shift: Float
) -> Iterator[tuple[Index, Float, float]]:
    """Voxels that can share a table, its rates 1/T1' and its offset."""
    full = scheme.model == "full"
    steps = np.floor(1 / t1[voxels] / _RATE_STEP) if full else np.zeros(voxels.size)
    keys, which = np.unique(np.stack([steps, shift[voxels]]), axis=1, return_inverse=True)
    order = np.argsort(which, kind="stable")
    ends = np.cumsum(np.bincount(which, minlength=keys.shape[1]))
    flow = _CBF_RANGE[1] / CBF_UNIT / scheme.partition_coefficient
    for key, members in zip(keys.T, np.split(order, ends[:-1]), strict=False):
        low = key[0] * _RATE_STEP
        rates = np.maximum(np.linspace(low, low + _RATE_STEP + flow, 4), 1e-3)
        yield voxels[members], rates if full else np.ones(1), float(key[1])


def _fit(y: Float, table: ResponseTable, rate: Float, scheme: LabelingScheme) -> Float:
    """Return the maps of one chunk (6, v): CBF, ATT, their errors, residual, flag."""
    flow = 1 / CBF_UNIT / scheme.partition_coefficient if scheme.model == "full" else 0.0
    piece = np.argmax(y.astype(np.float32) @ table.middle.T, axis=1)
    x = np.zeros(piece.size)
    if not table.identifiable:
        x -= 1
    score = np.zeros(piece.size)
    cbf = np.zeros(piece.size)
    todo: Index = np.arange(piece.size)
    # The maximum can lie beyond the piece whose middle is best, but not far.
    for _ in range(4):
        mixed, cbf[todo], x[todo] = _refine(y[todo], table, piece[todo], rate[todo], flow)
        score[todo] = mixed
        if not table.identifiable:
            break
        step = np.where(np.abs(x[todo]) == 1, x[todo], 0).astype(np.intp)
        moved = (piece[todo] + step >= 0) & (piece[todo] + step < len(table.edges) - 1)
        moved &= step != 0
        todo = todo[moved]
        if todo.size == 0:
            break
        step = step[moved]
        ahead = _refine(y[todo], table, piece[todo] + step, rate[todo], flow)
        better = ahead[0] > score[todo] * (1 + 1e-14)
        todo, step = todo[better], step[better]
        piece[todo] += step
    return _finish(y, table, piece, x, score, cbf, rate, flow)


def _refine(
    y: Float, table: ResponseTable, piece: Index, rate: Float, flow: float
) -> tuple[Float, Float, Float]:
    """Largest projection on a piece, CBF and place x there."""
    by_rate = np.einsum("vjdn,vn->jdv", table.unit[piece], y, optimize=False)
    norms = np.moveaxis(table.norm[piece], 0, -1)
    cbf, x = np.zeros(piece.size), np.zeros(piece.size)
    for _ in range(4 if flow else 1):
        mix = _mix(table.rates, rate + flow * np.clip(cbf, *_CBF_RANGE))
        x = _peak(_mixed(mix, by_rate), x) if table.identifiable else np.full(piece.size, -1.0)
        score = _value(_mixed(mix, by_rate), x)
        cbf = CBF_UNIT * score / _value(_mixed(mix, norms), x)
    return score, cbf, x


def _finish(  # noqa: PLR0917
    y: Float,
    table: ResponseTable,
    piece: Index,
    x: Float,
    score: Float,
    cbf: Float,
    rate: Float,
    flow: float,
) -> Float:
    half = np.diff(table.edges)[piece] / 2
    att = table.edges[piece] + half * (x + 1)
    mix = _mix(table.rates, rate + flow * np.clip(cbf, *_CBF_RANGE))
    norms = _mixed(mix, np.moveaxis(table.norm[piece], 0, -1))
    norm, norm_slope = _value(norms, x), _derivative(norms, x) / half
    slope = _value(_mixed(mix, np.moveaxis(table.slope[piece], 0, -1)), x)
    rss = np.maximum(np.einsum("vn,vn->v", y, y) - score**2, 0)
    lower = (piece == 0) & (x == -1)
    upper = (piece == len(table.edges) - 2) & (x == 1)
    none = score <= 0
    flag = Flag.BEFORE_FIRST_DELAY * lower + Flag.AT_UPPER_BOUND * upper
    flag = np.where(none, Flag.NO_PERFUSION, flag)
    inner = (flag == 0) & (slope > 0)
    n = y.shape[1]
    variance = np.where(inner, rss / (n - 2) if n > 2 else np.nan, np.nan)
    slope = np.where(inner, slope, 1)
    cbf_error = CBF_UNIT * np.sqrt(variance * (norm_slope**2 / slope + norm**2)) / norm**2
    att_error = CBF_UNIT * np.sqrt(variance / slope) / (norm * np.where(inner, cbf, 1))
    residual = np.sqrt(rss / n)
    return np.stack([cbf, np.where(none, np.nan, att), cbf_error, att_error, residual, flag])


def _mix(rates: Float, rate: Float) -> Float:
    """Lagrange weights (j, v) of a table's rates."""
    if rates.size == 1:
        return np.ones((1, 1))
    weights = np.ones((rates.size, rate.size))
    for j, own in enumerate(rates):
        for other in np.delete(rates, j):
            weights[j] *= (rate - other) / (own - other)
    return weights


def _mixed(mix: Float, by_rate: Float) -> Float:
    """Coefficients (d, v) at the rate of each voxel."""
    if len(by_rate) == 1:
        return np.asarray(by_rate[0])
    return np.asarray(np.einsum("jv,jdv->dv", mix, by_rate))


def _peak(c: Float, x: Float) -> Float:
    """Place of the maximum on [−1, 1] by Newton's method; an end where the slope leads there."""
    for _ in range(4):
        first = _derivative(c, x)
        second = 2 * c[2] + x * (6 * c[3] + x * 12 * c[4])
        curved = second < 0
        step = np.where(curved, -first / np.where(curved, second, 1), 2 * np.sign(first))
        x = np.clip(x + step, -1, 1)
    return x


def _value(c: Float, x: Float) -> Float:
    return np.asarray(c[0] + x * (c[1] + x * (c[2] + x * (c[3] + x * c[4]))))


def _derivative(c: Float, x: Float) -> Float:
    return np.asarray(c[1] + x * (2 * c[2] + x * (3 * c[3] + x * 4 * c[4])))
