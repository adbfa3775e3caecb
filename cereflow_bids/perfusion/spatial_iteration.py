"""Iterations of the spatial estimate: mode, noise and strength of the prior in turn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cereflow_bids.perfusion.least_squares import ATT_RANGE
from cereflow_bids.perfusion.scheme import LabelingScheme
from cereflow_bids.perfusion.spatial_graph import Graph, grid_spectrum
from cereflow_bids.perfusion.spatial_posterior import linearise, marginal, root, solve
from cereflow_bids.perfusion.spatial_prior import Shares, SpatialPrior

Float = NDArray[np.float64]

_CBF_SD = 1000.0
"""SD of a prior on CBF about 0 that only keeps it defined where the data say nothing."""
_ITERATIONS = 20
_FEWEST = 4
_NOISE_SWEEPS = 4
"""Means over neighbours that smooth the noise variance."""
_SAMPLED = 20_000
"""Voxels that the samples of the posterior have at least, together."""
_MOST_SAMPLES = 64
_BINS = 6
_STRATA = 10
_ATT_STEP_LIMIT = 0.3
_ATT_JITTER = 0.01
_SHARE = 0.95
_SETTLED = (0.1, np.array([0.05, 0.001]))
"""Change of that share of voxels, in standard errors or in mL/100 g/min and s."""
_TOLERANCE, _STEPS = 0.1, 30


@dataclass(frozen=True)
class Problem:
    """What stays: data (v, n), T1t and offset (v,) or None, neighbours, prior of ATT."""

    values: NDArray[np.floating]
    scheme: LabelingScheme
    t1_tissue: Float | None
    offset: Float | None
    graph: Graph
    att_prior: tuple[float, float]

    @property
    def precision(self) -> Float:
        """Of the priors of a voxel (2, 1)."""
        return np.array([[_CBF_SD**-2], [self.att_prior[1] ** -2]])

    @property
    def centre(self) -> Float:
        """Of the priors of a voxel (2, 1)."""
        return np.array([[0.0], [self.att_prior[0]]])

    @property
    def floor(self) -> float:
        """Smallest noise variance."""
        return 1e-8 * float(np.mean(self.values.astype(np.float64) ** 2))


@dataclass
class Solution:
    """What the iterations change.

    Fields and their last change (2, v), noise variance of one repeat and RSS (v,), samples
    (s, 2, v), information with the priors of a voxel (3, v), sums of weights (2, v).
    """

    field: Float
    noise: Float
    prior: SpatialPrior
    samples: Float
    change: Float
    rss: Float
    information: Float
    degree: Float

    def covariance(self, graph: Graph) -> Float:
        """Return the posterior covariance (3, v): that of uniform grids, to the samples' scale."""
        spectrum = grid_spectrum(graph.scale)
        covariance, _ = marginal(self.information, self.degree, *spectrum)
        if graph.first.size == 0:
            return covariance
        factor = np.ones((2, graph.size))
        for row in (0, 1):
            variance = covariance[2 * row]
            order = np.argsort(variance * self.degree[row])
            drawn = np.mean(self.samples[:, row] ** 2, axis=0)
            for part in np.array_split(order, min(_STRATA, graph.size)):
                factor[row, part] = drawn[part].sum() / variance[part].sum()
        one, two = factor
        return np.asarray(covariance * np.stack([one, np.sqrt(one * two), two]))


def iterate(problem: Problem, field: Float) -> Solution:
    """Return mode and strengths from start values (2, v), NaN where not known."""
    graph, size = problem.graph, problem.graph.size
    field = np.where(np.isfinite(field), field, problem.centre)
    field[0] = np.clip(field[0], -50, 150)
    draws = int(np.clip(np.ceil(_SAMPLED / size), 1, _MOST_SAMPLES))
    generator = np.random.default_rng(0)
    white = (
        generator.standard_normal((draws, 2, size)),
        generator.standard_normal((draws, 2, graph.first.size)),
    )
    empty = np.empty((2, 0))
    now = Solution(
        field,
        np.empty(0),
        SpatialPrior.weak(graph),
        np.zeros((draws, 2, size)),
        *(empty, np.empty(0), empty, empty),
    )
    averaging, spectrum = graph.averaging(), grid_spectrum(graph.scale, bins=_BINS)
    for iteration in range(_ITERATIONS):
        data, gradient, now.rss = linearise(
            problem.values, problem.scheme, now.field, problem.t1_tissue, problem.offset
        )
        if iteration == 0:
            spare = max(problem.scheme.size - 2, 1)
            now.noise = np.full(size, max(float(np.median(now.rss)) / spare, problem.floor))
        _step(problem, now, data, gradient, white)
        _estimate_noise(problem, now, data, averaging)
        _, left = marginal(now.information, now.degree, *spectrum)
        now.prior.learn(graph, now.field, now.samples, Shares(now.degree, left))
        if iteration + 1 >= _FEWEST and _settled(now):
            break
    return now


def _step(
    problem: Problem, now: Solution, data: Float, gradient: Float, white: tuple[Float, Float]
) -> None:
    """Move the mode by a Gauss-Newton step and the samples with it."""
    graph = problem.graph
    now.information = data / now.noise
    now.information[[0, 2]] += problem.precision
    weight = now.prior.weight(graph)
    now.degree = np.stack([graph.degree(own) for own in weight])
    laplacians = [graph.laplacian(own) for own in weight]
    right = gradient / now.noise - problem.precision * (now.field - problem.centre)
    drawn = root(now.information, white[0])
    for row, laplacian in enumerate(laplacians):
        right[row] -= laplacian @ now.field[row]
        for own, flow in zip(drawn, white[1], strict=True):
            own[row] += graph.spread(np.sqrt(weight[row]) * flow[row])
    found = solve(
        now.information,
        laplacians,
        np.concatenate([right[None], drawn]),
        start=np.concatenate([np.zeros_like(right)[None], now.samples]),
        tolerance=_TOLERANCE,
        steps=_STEPS,
    )
    step, now.samples = found[0], found[1:]
    if now.change.size:
        # A voxel that goes back and forth across a corner of the model takes half a step.
        back = (step[1] * now.change[1] < 0) & (np.abs(step[1]) > _ATT_JITTER)
        step[:, back] *= 0.5
    step[1] = np.clip(step[1], -_ATT_STEP_LIMIT, _ATT_STEP_LIMIT)
    moved = now.field + step
    moved[1] = np.clip(moved[1], *ATT_RANGE)
    now.change, now.field = moved - now.field, moved


def _estimate_noise(
    problem: Problem, now: Solution, data: Float, averaging: sparse.csr_array
) -> None:
    """Noise variance: RSS over the degrees of freedom left, both smoothed over neighbours."""
    x, y = now.samples[:, 0], now.samples[:, 1]
    spent = (data[0] / now.noise) * np.mean(x * x, axis=0)
    spent += 2 * (data[1] / now.noise) * np.mean(x * y, axis=0)
    spent += (data[2] / now.noise) * np.mean(y * y, axis=0)
    both = np.stack([now.rss, problem.scheme.size - spent], axis=1)
    for _ in range(_NOISE_SWEEPS):
        both = averaging @ both
    least = 0.05 * problem.scheme.size
    now.noise = np.maximum(both[:, 0] / np.maximum(both[:, 1], least), problem.floor)


def _settled(now: Solution) -> bool:
    change = np.quantile(np.abs(now.change), _SHARE, axis=1)
    error = np.sqrt(np.mean(now.samples**2, axis=(0, 2)))
    return bool((change < np.maximum(_SETTLED[0] * error, _SETTLED[1])).all())
