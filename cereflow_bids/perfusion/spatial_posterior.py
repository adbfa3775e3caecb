"""The Gaussian posterior of CBF and ATT under a spatial prior: mode, samples and variances.

Fields are (2, v), several of them (s, 2, v): CBF in mL/100 g/min, ATT in s. Information is
(3, v): its elements CBF-CBF, CBF-ATT and ATT-ATT at each voxel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Values = NDArray[np.floating[Any]]

CURVATURE = 1.0
"""Weight c of the second term of `Roughness` (our choice)."""
_LEAST = float(np.finfo(np.float32).tiny)


def invert(information: Values) -> Values:
    """Inverse of symmetric 2×2 matrices given and returned as (3, v)."""
    a, b, c = information
    return np.asarray(np.stack([c, -b, a]) / np.maximum(a * c - b * b, _LEAST))


def times(matrix: Values, field: Values) -> Values:
    """Product of symmetric 2×2 matrices (3, v) with fields (s, 2, v)."""
    a, b, c = matrix
    out = np.empty_like(field)
    out[:, 0] = a * field[:, 0] + b * field[:, 1]
    out[:, 1] = b * field[:, 0] + c * field[:, 1]
    return out


def root(information: Values, white: Values) -> Values:
    """Return fields (s, 2, v) whose covariance is the information, from white noise."""
    a, b, c = information
    first = np.sqrt(a)
    mixed = b / np.maximum(first, _LEAST)
    out = np.empty_like(white)
    out[:, 0] = first * white[:, 0]
    out[:, 1] = mixed * white[:, 0] + np.sqrt(np.maximum(c - mixed**2, 0)) * white[:, 1]
    return out


@dataclass(frozen=True)
class Roughness:
    """Precision of the spatial prior of one field: L + c·L·D⁻¹·L, of the Laplacian L.

    The first term is of the squared differences between neighbours, the second of those between
    a voxel and the weighted mean of its neighbours: fields are smoother than a random walk.

    Attributes
    ----------
    laplacian
        L (v, v).
    degree
        D, its diagonal (v,).
    """

    laplacian: sparse.csr_array
    degree: Values

    @cached_property
    def share(self) -> Values:
        """c·D⁻¹ (v,)."""
        return np.asarray(CURVATURE / np.maximum(self.degree, _LEAST))

    def times(self, field: Values) -> Values:
        """Product with a field (v,)."""
        slope = self.laplacian @ field
        return np.asarray(slope + self.laplacian @ (self.share * slope))

    def energy(self, field: Values) -> float:
        """Return the product of a field (v,) with the precision and the field."""
        return float(np.vdot(field, self.times(field)))

    def draw(self, pairs: Values, voxels: Values) -> Values:
        """Return a field (v,) whose covariance is the precision.

        `pairs` (v,) is one with that of the Laplacian, `voxels` (v,) is white noise.
        """
        return np.asarray(pairs + self.laplacian @ (np.sqrt(self.share) * voxels))

    @property
    def diagonal(self) -> Values:
        """Of the precision (v,), as in a uniform grid in three directions."""
        return np.asarray((1 + CURVATURE * 7 / 6) * self.degree)


def solve(
    information: Values,
    prior: Sequence[Roughness],
    right: Values,
    *,
    start: Values,
    tolerance: float,
    steps: int,
) -> Values:
    """Solve (information + roughness of each field)·x = right by conjugate gradients.

    Several right sides (s, 2, v) at once, preconditioned by the 2×2 blocks of the diagonal
    (Saad 2003, algorithm 9.1).
    """

    def product(y: Values) -> Values:
        out = times(information, y)
        for own, field in zip(out, y, strict=True):
            for row, rough in enumerate(prior):
                own[row] += rough.times(field[row])
        return out

    block = information.copy()
    for row, rough in enumerate(prior):
        block[2 * row] += rough.diagonal
    block = invert(block)
    x = start.copy()
    residual = right - product(x)
    goal = tolerance**2 * _dot(right, times(block, right))
    z = times(block, residual)
    p, rho = z, _dot(residual, z)
    for _ in range(steps):
        if (rho <= goal).all():
            break
        q = product(p)
        alpha = rho / np.maximum(_dot(p, q), _LEAST)
        x += alpha * p
        residual -= alpha * q
        z = times(block, residual)
        rho, last = _dot(residual, z), rho
        p = z + (rho / np.maximum(last, _LEAST)) * p
    return x


def _dot(a: Values, b: Values) -> Values:
    """Scalar products (s, 1, 1) of fields (s, 2, v)."""
    products = [np.vdot(x, y) for x, y in zip(a, b, strict=True)]
    return np.asarray(products, dtype=a.dtype)[:, None, None]


def marginal(
    information: Values, degree: Values, spectrum: Values, share: Values
) -> tuple[Values, Values, float]:
    """Return variances as in uniform grids: covariance (3, v) and those of differences.

    In a uniform grid the posterior covariance is the mean, over the eigenvalues λ of the
    Laplacian, of (information + λ + c·λ²)⁻¹; here with the information and the degree (2, v) of
    each voxel. Of differences to neighbours: half the variance by the weighted sum over
    neighbours (2, v), and the same without data.
    """
    covariance, left = np.zeros_like(information), np.zeros_like(degree)
    for value, part in zip(spectrum, share, strict=True):
        own = information.copy()
        own[[0, 2]] += value * (1 + CURVATURE * value) * degree
        own = part.astype(own.dtype) * invert(own)
        covariance += own
        left += value.astype(own.dtype) * degree * own[[0, 2]]
    return covariance, left, float(np.sum(share / (1 + CURVATURE * spectrum)))
