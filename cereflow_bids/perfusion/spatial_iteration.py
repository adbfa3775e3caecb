"""Iterations of the spatial estimate: mode, noise and strength of the prior in turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cereflow_bids.perfusion.least_squares import ATT_RANGE
from cereflow_bids.perfusion.spatial_graph import Graph, grid_spectrum
from cereflow_bids.perfusion.spatial_model import LinearModel, Problem
from cereflow_bids.perfusion.spatial_posterior import Roughness, marginal, root, solve
from cereflow_bids.perfusion.spatial_prior import SpatialPrior

Float = NDArray[np.float64]
Values = NDArray[np.floating[Any]]

_ITERATIONS = 20
_FEWEST = 5
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
_TOLERANCE, _STEPS = 0.2, 30
"""Of each linear problem: those of the next iterations go on from its solution."""


@dataclass
class Solution:
    """What the iterations change.

    Attributes
    ----------
    field, change
        CBF and ATT and what the last iteration changed, (2, v).
    noise, rss
        Noise variance of one repeat and weighted sum of squares left, (v,).
    prior, rough
        Strength of the spatial prior, and the precision of each field that it makes.
    information
        Of the data and the priors of a voxel (3, v).
    samples
        Draws from the posterior, less its mode (s, 2, v), float32.
    """

    field: Float
    change: Float
    noise: Float
    rss: Float
    prior: SpatialPrior
    rough: list[Roughness]
    information: Values
    samples: Values

    @property
    def degree(self) -> Values:
        """Sums of weights of each field (2, v)."""
        return np.stack([own.degree for own in self.rough])

    def covariance(self, graph: Graph) -> Values:
        """Return the posterior covariance (3, v): that of uniform grids, to the samples' scale."""
        degree = self.degree
        covariance, *_ = marginal(self.information, degree, *grid_spectrum(graph.scale))
        if graph.first.size == 0:
            return covariance
        factor = np.ones_like(degree)
        for row in (0, 1):
            variance = covariance[2 * row]
            drawn = np.mean(self.samples[:, row] ** 2, axis=0)
            order = np.argsort(variance * degree[row])
            for part in np.array_split(order, min(_STRATA, graph.size)):
                factor[row, part] = drawn[part].sum() / variance[part].sum()
        one, two = factor
        return np.asarray(covariance * np.stack([one, np.sqrt(one * two), two]))


def iterate(problem: Problem, field: Float) -> Solution:
    """Return mode and strengths from start values (2, v), NaN where not known."""
    graph = problem.graph
    field = np.where(np.isfinite(field), field, problem.centre)
    field[0] = np.clip(field[0], -50, 150)
    model = LinearModel(problem, field)
    white = _white(graph)
    now = Solution(
        field=field,
        change=np.zeros_like(field),
        noise=np.full(graph.size, _first_noise(problem, model)),
        rss=model.rss,
        prior=SpatialPrior.weak(graph),
        rough=[],
        information=np.empty((3, 0)),
        samples=np.zeros_like(white[0]),
    )
    averaging, spectrum = graph.averaging(), grid_spectrum(graph.scale, bins=_BINS)
    for iteration in range(_ITERATIONS):
        _step(problem, model, now, white)
        model.move(now.field)
        _estimate_noise(problem, model, now, averaging)
        if graph.first.size:
            _, left, free = marginal(now.information, now.degree, *spectrum)
            now.prior.learn(graph, now.field, now.samples, now.rough, left=left, free=free)
        if iteration + 1 >= _FEWEST and _settled(now):
            break
    return now


def _white(graph: Graph) -> tuple[Values, Values, Values]:
    """White noise for samples: of data, pairs and voxels, the same in each iteration."""
    draws = int(np.clip(np.ceil(_SAMPLED / graph.size), 1, _MOST_SAMPLES))
    generator = np.random.default_rng(0)
    data, pairs, voxels = (
        generator.standard_normal((draws, 2, size), dtype=np.float32)
        for size in (graph.size, graph.first.size, graph.size)
    )
    return data, pairs, voxels


def _first_noise(problem: Problem, model: LinearModel) -> float:
    return max(float(np.median(model.rss)) / max(problem.scheme.size - 2, 1), problem.floor)


def _step(
    problem: Problem, model: LinearModel, now: Solution, white: tuple[Values, Values, Values]
) -> None:
    """Move the mode by a Gauss-Newton step and the samples with it."""
    graph = problem.graph
    information = model.information / now.noise
    information[[0, 2]] += problem.precision
    now.information = information.astype(np.float32)
    right = model.gradient / now.noise - problem.precision * (now.field - problem.centre)
    drawn = root(now.information, white[0])
    weights = now.prior.weight(graph)
    now.rough = [Roughness(graph.laplacian(w), graph.degree(w)) for w in weights]
    for row, (weight, rough) in enumerate(zip(weights, now.rough, strict=True)):
        right[row] -= rough.times(now.field[row].astype(np.float32))
        scale = np.sqrt(weight)
        for out, pairs, voxels in zip(drawn, *white[1:], strict=True):
            out[row] += rough.draw(graph.spread(scale * pairs[row]), voxels[row])
    found = solve(
        now.information,
        now.rough,
        np.concatenate([right[None].astype(np.float32), drawn]),
        start=np.concatenate([np.zeros_like(drawn[:1]), now.samples]),
        tolerance=_TOLERANCE,
        steps=_STEPS,
    )
    step, now.samples = found[0].astype(np.float64), found[1:]
    # A voxel that goes back and forth across a corner of the model takes half a step.
    back = (step[1] * now.change[1] < 0) & (np.abs(step[1]) > _ATT_JITTER)
    step[:, back] *= 0.5
    step[1] = np.clip(step[1], -_ATT_STEP_LIMIT, _ATT_STEP_LIMIT)
    moved = now.field + step
    moved[1] = np.clip(moved[1], *ATT_RANGE)
    now.change, now.field = moved - now.field, moved


def _estimate_noise(
    problem: Problem, model: LinearModel, now: Solution, averaging: sparse.csr_array
) -> None:
    """Noise variance: RSS over the degrees of freedom left, both smoothed over neighbours."""
    now.rss = np.maximum(model.rss, 0)
    x, y = now.samples[:, 0], now.samples[:, 1]
    a, b, c = model.information
    spent = a * np.mean(x * x, axis=0) + 2 * b * np.mean(x * y, axis=0)
    spent = (spent + c * np.mean(y * y, axis=0)) / now.noise
    both = np.stack([now.rss, problem.scheme.size - spent], axis=1, dtype=np.float32)
    for _ in range(_NOISE_SWEEPS):
        both = averaging @ both
    least = 0.05 * problem.scheme.size
    now.noise = np.maximum(
        both[:, 0] / np.maximum(both[:, 1], least), problem.floor, dtype=np.float64
    )


def _settled(now: Solution) -> bool:
    change = np.quantile(np.abs(now.change), _SHARE, axis=1)
    error = np.sqrt(np.mean(now.samples**2, axis=(0, 2)))
    return bool((change < np.maximum(_SETTLED[0] * error, _SETTLED[1])).all())
