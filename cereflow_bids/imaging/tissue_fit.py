"""Registration by fitting the tissues of a template to ASL images, by least squares.

What M0 and perfusion show is grey matter, white matter and fluid, each in its own brightness,
under a bias that varies smoothly. Of every contrast y at a place x therefore

    y(x) = sum_j c_j f_j(A x) + q(x)

with the template's fractions f_j, brightnesses c_j that are unknown, a quadratic q for the bias,
and the affine A that is sought. All are estimated at once by Gauss-Newton steps, with weights
that limit what vessels and other outliers do. The outline of the brain is a further contrast.
Friston 1995 (doi:10.1002/hbm.460030303) normalised images by combining templates so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.imaging.point_map import transform
from cereflow_bids.imaging.tissue_samples import Samples, Tissues

Float = NDArray[np.floating]
Freedom = Literal["rigid", "similarity", "affine"]

_ITERATIONS = 15
_LARGEST_STEP_MM = 8.0
_SMALLEST_STEP_MM = 0.03
_SCALE_MM = 60.0  # coordinates are divided by it, so that all parameters move points alike
_HUBER = 2.0  # residuals beyond that many standard deviations count less
_TINY = 1e-12
_LEAST_TISSUE = 0.5  # of a template voxel, from which on contrasts count there


@dataclass(frozen=True, eq=False)
class Fit:
    """Where the template's tissues came to lie.

    Attributes
    ----------
    matrix
        Points of the ASL image to points of the template (4, 4), RAS+ mm.
    agreement
        What starts are compared by, larger is better: overlap of the outlines (Dice of fuzzy
        sets), plus for each contrast the share of its variance that tissues explain beyond the
        bias, times the part of the points that lies in both brains.
    """

    matrix: Float
    agreement: float


def fit_tissues(
    samples: Samples,
    tissues: Tissues,
    matrix: Float,
    *,
    freedom: Freedom,
    weights: Sequence[float],
) -> Fit:
    """Move the template's tissues until they explain the samples best.

    Parameters
    ----------
    samples, tissues
        Of one resolution.
    matrix
        Where to start: points of the ASL image to points of the template (4, 4), RAS+ mm.
    freedom
        Of the steps: rigid, with one zoom, or affine.
    weights
        Of the outline, then of each contrast.
    """
    world = np.array(matrix, dtype=np.float64)
    centre = samples.points.mean(axis=1, keepdims=True)
    place = (samples.points - centre) / _SCALE_MM
    bias = _quadratics(place)
    monomials = np.concatenate([place, np.ones_like(place[:1])])
    for _ in range(_ITERATIONS):
        found = tissues.with_slopes(transform(world, samples.points))
        agreement, normal, pull = _all_equations(samples, found, (bias, monomials), weights)
        step = _step(normal, pull, _directions(world, freedom))
        world[:3, :3] += step[:3].T / _SCALE_MM
        world[:3, 3] += step[3] - step[:3].T @ centre[:, 0] / _SCALE_MM
        if np.abs(step).max() < _SMALLEST_STEP_MM:
            break
    return Fit(world, agreement)


def _all_equations(
    samples: Samples,
    found: tuple[Float, Float],
    functions: tuple[Float, Float],
    weights: Sequence[float],
) -> tuple[float, Float, Float]:
    """Return the agreement, and the normal equations of outline and contrasts together."""
    bias, monomials = functions
    agreement, normal, pull = _outline_equations(samples, *found, monomials)
    normal, pull = weights[0] * normal, weights[0] * pull
    shown = _within_tissue(samples, *found)
    for values, weight in zip(samples.contrasts, weights[1:], strict=True):
        explained, more, further = _equations(values, shown, bias, monomials)
        agreement += explained
        normal, pull = normal + weight * more, pull + weight * further
    return agreement, normal, pull


def _within_tissue(
    samples: Samples, fractions: Float, slopes: Float
) -> tuple[Float, Float, Float]:
    """Return shares of the tissue that is there, their slopes, and how much points count."""
    brain = fractions.sum(axis=0)
    safe = np.maximum(brain, 0.1)
    shares = fractions / safe
    of_shares = (slopes - shares[:, None] * slopes.sum(axis=0)) / safe
    return shares, of_shares, samples.weights * np.clip((brain - _LEAST_TISSUE) * 4, 0, 1)


def _outline_equations(
    samples: Samples, fractions: Float, slopes: Float, monomials: Float
) -> tuple[float, Float, Float]:
    brain = fractions.sum(axis=0)
    residual = samples.outline - brain
    moves = _moves(slopes.sum(axis=0), monomials)
    even = np.ones_like(residual)
    weights, variance = _robust(residual, even)
    overlap = 2 * np.minimum(samples.outline, brain).sum() / (samples.outline + brain).sum()
    weighted = moves * weights / max(variance * residual.size, _TINY)
    return float(overlap), weighted @ moves.T, weighted @ residual


def _equations(
    values: Float, shown: tuple[Float, Float, Float], bias: Float, monomials: Float
) -> tuple[float, Float, Float]:
    """Return the explained share, and normal equations from which brightness is eliminated."""
    shares, slopes, counted = shown
    columns = np.concatenate([shares, bias[1:]])  # the shares add up to the constant
    brightness = _solve(columns, values, counted)
    residual = values - brightness @ columns
    smooth = values - _solve(bias, values, counted) @ bias
    explained = 1 - counted @ residual**2 / max(counted @ smooth**2, _TINY)
    explained *= counted.mean()
    weights, variance = _robust(residual, counted)
    moves = _moves(np.einsum("t,tvn->vn", brightness[: len(shares)], slopes), monomials)
    weighted, columned = moves * weights, columns * weights
    inner, across = _regular(columned @ columns.T), moves @ columned.T
    normal = weighted @ moves.T - across @ np.linalg.solve(inner, across.T)
    pull = weighted @ residual - across @ np.linalg.solve(inner, columned @ residual)
    scale = max(variance * float(counted.sum()), _TINY)
    return float(explained), normal / scale, pull / scale


def _robust(residual: Float, counted: Float) -> tuple[Float, float]:
    """Return Huber's weights times what points count, and the residual's variance."""
    variance = float(counted @ residual**2 / max(counted.sum(), _TINY))
    limit = _HUBER * np.sqrt(variance)
    return counted * limit / np.maximum(np.abs(residual), max(limit, _TINY)), variance


def _moves(slopes: Float, monomials: Float) -> Float:
    """Return how values change with the twelve parameters of an affine (12, n)."""
    return (monomials[:, None] * slopes[None]).reshape(12, -1)


def _solve(columns: Float, values: Float, weights: Float) -> Float:
    weighted = columns * weights
    return np.asarray(np.linalg.solve(_regular(weighted @ columns.T), weighted @ values))


def _regular(normal: Float) -> Float:
    """Add what keeps a matrix from being singular where a tissue is out of view."""
    return np.asarray(normal + (1e-9 * np.trace(normal) + _TINY) * np.eye(len(normal)))


def _quadratics(place: Float) -> Float:
    """Return 1 and the polynomials of first and second order of x, y and z (10, n)."""
    x, y, z = place
    return np.stack([np.ones_like(x), x, y, z, x * x, y * y, z * z, x * y, x * z, y * z])


def _directions(world: Float, freedom: Freedom) -> Float:
    """Return the parameters' changes that are allowed (12, k)."""
    if freedom == "affine":
        return np.eye(12)
    linear = _SCALE_MM * world[:3, :3]
    allowed = [np.eye(3)] if freedom == "similarity" else []
    for i, j in ((0, 1), (0, 2), (1, 2)):
        turn = np.zeros((3, 3))
        turn[i, j], turn[j, i] = 1, -1
        allowed.append(turn)
    turns = [np.concatenate([(one @ linear).T.ravel(), np.zeros(3)]) for one in allowed]
    return np.column_stack([*turns, *np.eye(12)[9:]])


def _step(normal: Float, pull: Float, directions: Float) -> Float:
    """Return the Gauss-Newton step in these directions, of bounded length (4, 3)."""
    inner = directions.T @ normal @ directions
    ridge = (1e-6 * np.trace(inner) + _TINY) * np.eye(len(inner))
    step = directions @ np.linalg.solve(inner + ridge, directions.T @ pull)
    longest = float(np.abs(step).max())
    return np.asarray((step * min(1.0, _LARGEST_STEP_MM / max(longest, _TINY))).reshape(4, 3))
