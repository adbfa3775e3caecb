"""CBF and ATT of several delays by a Bayesian estimate with an adaptive spatial prior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from cereflow_bids.perfusion.estimate import Estimate, Flag
from cereflow_bids.perfusion.least_squares import ATT_RANGE, fit_least_squares
from cereflow_bids.perfusion.scheme import LabelingScheme
from cereflow_bids.perfusion.spatial_graph import Graph, neighbourhood
from cereflow_bids.perfusion.spatial_posterior import linearise, marginal, solve

Float = NDArray[np.float64]

ATT_PRIOR = {"PCASL": (1.3, 1.0), "CASL": (1.3, 1.0), "PASL": (0.7, 1.0)}
"""Mean and SD of ATT, s (priors of BASIL: Chappell 2009, doi:10.1109/TSP.2008.2005752)."""

_CBF_SD = 1000.0
"""SD of a prior on CBF about 0 that only keeps it defined where the data say nothing."""
_ITERATIONS = 12
_TAILS = 1.0
"""Degrees of freedom of the differences between neighbours: few keep edges (our choice)."""
_ATT_STEP_LIMIT = 0.3
_UNSETTLED = np.array([2.0, 0.1])


@dataclass
class _State:
    """What the iterations change: fields (v, 2), noise (v,), smoothness (2,), weights (e,)."""

    field: Float
    noise: Float
    smoothness: Float
    weight: Float
    covariance: Float
    change: Float
    rss: Float


def fit_spatial(
    signal: ArrayLike,
    mask: ArrayLike,
    scheme: LabelingScheme,
    *,
    voxel_size: Sequence[float],
    start: Estimate | None = None,
    t1_tissue: ArrayLike | None = None,
    offset: ArrayLike | None = None,
    att_prior: tuple[float, float] | None = None,
) -> Estimate:
    """Estimate CBF and ATT with a spatial prior whose strength is estimated from the data.

    The mode of the posterior by Gauss-Newton steps and its Laplace approximation (Penny 2005,
    doi:10.1016/j.neuroimage.2004.08.034, for the spatial prior); differences between neighbours
    follow a Student distribution, so that edges stay; noise and smoothness by expectation-
    maximisation.

    Parameters
    ----------
    signal
        λ·ΔM/M0 (x, y, z, n).
    mask
        Voxels to estimate (x, y, z); those without a finite signal take no part.
    scheme
        Labelling, times and constants; its `repeats` are the weights.
    voxel_size
        Voxel edges, mm.
    start
        Start values of the voxels of the mask (v,); a least squares fit if not given.
    t1_tissue
        T1t, s, that broadcasts against (x, y, z), for the full model; that of the scheme if None.
    offset
        What the slice adds to the delays, s, that broadcasts against (x, y, z).
    att_prior
        Mean and SD of ATT, s; by kind of labelling (`ATT_PRIOR`) if not given.

    Returns
    -------
    Estimate
        (v,) in the order of ``signal[mask]``. `settings` has the noise SD and, as
        ``cbf_smoothness`` and ``att_smoothness``, the SD of the difference between neighbours.
    """
    inside = np.asarray(mask, dtype=bool)
    volume = np.asarray(signal)
    if volume.shape != (*inside.shape, scheme.size):
        raise ValueError(
            f"signal has shape {volume.shape}, mask {inside.shape}, "
            f"the scheme {scheme.size} delays"
        )
    values = volume[inside]
    t1, shift = _in_mask(t1_tissue, inside), _in_mask(offset, inside)
    finite = np.isfinite(values).all(axis=1)
    for extra in (t1, shift):
        if extra is not None:
            finite &= np.isfinite(extra)
    used = finite & (values != 0).any(axis=1)
    maps = np.full((6, len(values)), np.nan)
    maps[5] = np.where(finite, Flag.NO_PERFUSION, Flag.NO_DATA)
    maps[np.ix_([0, 4], finite & ~used)] = 0
    settings: dict[str, float] = {}
    if used.any():
        part = inside.copy()
        part[inside] = used
        t1, shift = (None if x is None else x[used] for x in (t1, shift))
        values = values[used]
        field = _start(values, scheme, (t1, shift), start, used)
        graph = neighbourhood(part, voxel_size)
        prior = att_prior or ATT_PRIOR[scheme.kind]
        state = _iterate(values, scheme, field, graph, (t1, shift), prior=prior)
        maps[:, used] = _maps(state, scheme, shift)
        sd = 1 / np.sqrt(state.smoothness)
        settings = {
            "noise": float(np.sqrt(np.median(state.noise))),
            "cbf_smoothness": float(sd[0]),
            "att_smoothness": float(sd[1]),
        }
    cbf, att, cbf_error, att_error, residual, flag = maps
    return Estimate(
        cbf, att, cbf_error, att_error, residual, flag.astype(np.uint8), settings=settings
    )


def _in_mask(value: ArrayLike | None, mask: NDArray[np.bool_]) -> Float | None:
    if value is None:
        return None
    return np.broadcast_to(np.asarray(value, dtype=np.float64), mask.shape)[mask]


def _start(
    values: NDArray[np.floating],
    scheme: LabelingScheme,
    extras: tuple[Float | None, Float | None],
    start: Estimate | None,
    used: NDArray[np.bool_],
) -> Float:
    """Start values (v, 2); NaN for an ATT that is not known."""
    if start is None:
        t1, shift = extras
        own = 0.0 if shift is None else shift
        start = fit_least_squares(values, scheme, t1_tissue=t1, offset=own)
        used = np.ones(len(values), dtype=bool)
    return np.stack([start.cbf[used], start.att[used]], axis=1).astype(np.float64)


def _iterate(
    values: NDArray[np.floating],
    scheme: LabelingScheme,
    field: Float,
    graph: Graph,
    extras: tuple[Float | None, Float | None],
    *,
    prior: tuple[float, float],
) -> _State:
    unknown = ~np.isfinite(field[:, 1])
    field[unknown, 1] = prior[0]
    field[:, 0] = np.clip(np.nan_to_num(field[:, 0]), -50, 150)
    precision = np.array([_CBF_SD**-2, prior[1] ** -2])
    centre = np.array([0.0, prior[0]])
    smoothness = np.array([10.0, 0.2]) ** -2.0
    state = _State(field, np.empty(0), smoothness, graph.base, np.empty(0), field, np.empty(0))
    floor = 1e-8 * float(np.mean(values.astype(np.float64) ** 2))
    for iteration in range(_ITERATIONS):
        data, gradient, state.rss = linearise(values, scheme, state.field, *extras)
        if iteration == 0:
            spare = max(scheme.size - 2, 1)
            state.noise = np.full(len(field), max(float(np.median(state.rss)) / spare, floor))
        information = data / state.noise[:, None]
        information[:, [0, 2]] += precision
        laplacian = graph.laplacian(state.weight)
        right = gradient / state.noise[:, None] - precision * (state.field - centre)
        right -= (laplacian @ state.field) * state.smoothness
        step = solve(information, laplacian, state.smoothness, right, tolerance=0.03, steps=25)
        step[:, 1] = np.clip(step[:, 1], -_ATT_STEP_LIMIT, _ATT_STEP_LIMIT)
        moved = state.field + step
        moved[:, 1] = np.clip(moved[:, 1], *ATT_RANGE)
        state.change, state.field = moved - state.field, moved
        _learn(state, data, information, graph, laplacian, n=scheme.size, floor=floor)
    return state


def _learn(
    state: _State,
    data: Float,
    information: Float,
    graph: Graph,
    laplacian: sparse.csr_array,
    *,
    n: int,
    floor: float,
) -> None:
    """Update noise, smoothness and weights from the posterior as it is."""
    degree = graph.degree(state.weight)
    spectrum = (graph.spectrum, graph.share)
    state.covariance, rough = marginal(information, state.smoothness, degree, *spectrum)
    spent = np.einsum("vk,vk->v", data, state.covariance * [1, 2, 1]) / state.noise
    spread = np.stack([state.rss, np.maximum(n - spent, 0.05)], axis=1)
    share = sparse.csr_array(graph.laplacian(graph.base))
    reach = 1 + share.diagonal()[:, None]
    for _ in range(4):
        spread = spread + (-(share @ spread)) / reach
    state.noise = np.maximum(spread[:, 0] / spread[:, 1], floor)
    if graph.first.size == 0:
        return
    energy = np.einsum("vk,vk->k", state.field, laplacian @ state.field) + rough.sum(axis=0)
    state.smoothness = np.clip(graph.size / np.maximum(energy, 1e-30), 1e-6, 1e6)
    gap = state.field[graph.first] - state.field[graph.second]
    uncertain = rough / np.maximum(degree, 1e-30)[:, None]
    gap = gap**2 + uncertain[graph.first] + uncertain[graph.second]
    distance = graph.base * (gap @ state.smoothness) * (graph.first.size / graph.size)
    state.weight = graph.base * (_TAILS + 2) / (_TAILS + distance)


def _maps(state: _State, scheme: LabelingScheme, shift: Float | None) -> Float:
    """Return maps (6, v): CBF, ATT, their errors, residual, flag."""
    cbf, att = state.field.T.copy()
    cbf_error, att_error = np.sqrt(state.covariance[:, [0, 2]]).T
    first = np.asarray(scheme.delay) - (np.asarray(scheme.duration) if scheme.pulsed else 0)
    earliest = first.min() + (0.0 if shift is None else shift)
    none = cbf <= 0
    flag = Flag.BEFORE_FIRST_DELAY * (att < earliest)
    flag = flag + Flag.AT_UPPER_BOUND * (att >= ATT_RANGE[1])
    flag += Flag.NOT_CONVERGED * (np.abs(state.change) > _UNSETTLED).any(axis=1)
    att_error[(att < earliest) | none] = np.nan
    att[none] = np.nan
    flag = np.where(none, Flag.NO_PERFUSION, flag)
    residual = np.sqrt(state.rss / np.sum(scheme.repeats))
    return np.stack([cbf, att, cbf_error, att_error, residual, flag])
