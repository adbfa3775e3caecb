"""The Gaussian posterior of CBF and ATT under a spatial prior: its mode, samples and variances.

Fields are (2, v): CBF in mL/100 g/min, ATT in s. Information is (3, v): its elements CBF-CBF,
CBF-ATT and ATT-ATT at each voxel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cereflow_bids.perfusion.constants import CBF_UNIT
from cereflow_bids.perfusion.kinetics import tissue_response
from cereflow_bids.perfusion.scheme import LabelingScheme

Float = NDArray[np.float64]

_CHUNK = 8192
_ATT_STEP = 0.02
"""Half-width, s, of the difference that is the slope in ATT: it rounds the model's corners."""


def linearise(
    signal: NDArray[np.floating],
    scheme: LabelingScheme,
    field: Float,
    t1_tissue: Float | None,
    offset: Float | None,
) -> tuple[Float, Float, Float]:
    """Return information (3, v), gradient (2, v) and RSS (v,), for a noise variance of 1."""
    v = field.shape[1]
    information, gradient, rss = np.empty((3, v)), np.empty((2, v)), np.empty(v)
    weight = np.asarray(scheme.repeats, dtype=np.float64)
    for start in range(0, v, _CHUNK):
        part = slice(start, start + _CHUNK)
        cbf, att = field[:, part]
        own = {
            "t1_tissue": None if t1_tissue is None else t1_tissue[part],
            "offset": 0.0 if offset is None else offset[part],
            "cbf": np.clip(cbf, 0, 200),
        }
        low = tissue_response(scheme, np.maximum(att - _ATT_STEP, 0), **own)
        high = tissue_response(scheme, att + _ATT_STEP, **own)
        width = att + _ATT_STEP - np.maximum(att - _ATT_STEP, 0)
        response = tissue_response(scheme, att, **own) / CBF_UNIT
        slope = (high - low) * (np.maximum(cbf, 0) / CBF_UNIT / width)[:, None]
        left = signal[part] - cbf[:, None] * response
        rss[part] = (left * left) @ weight
        for row, (a, b) in enumerate(((response, response), (response, slope), (slope, slope))):
            information[row, part] = (a * b) @ weight
        for row, a in enumerate((response, slope)):
            gradient[row, part] = (a * left) @ weight
    return information, gradient, rss


def invert(information: Float) -> Float:
    """Inverse of symmetric 2×2 matrices given and returned as (3, v)."""
    a, b, c = information
    return np.asarray(np.stack([c, -b, a]) / np.maximum(a * c - b * b, 1e-300))


def times(matrix: Float, field: Float) -> Float:
    """Product of symmetric 2×2 matrices (3, v) with fields (s, 2, v)."""
    a, b, c = matrix
    out = np.empty_like(field)
    out[:, 0] = a * field[:, 0] + b * field[:, 1]
    out[:, 1] = b * field[:, 0] + c * field[:, 1]
    return out


def root(information: Float, white: Float) -> Float:
    """Return fields (s, 2, v) whose covariance is the information, from white noise."""
    a, b, c = information
    first = np.sqrt(a)
    mixed = b / np.maximum(first, 1e-300)
    second = np.sqrt(np.maximum(c - mixed**2, 0))
    out = mixed * white[:, [0, 0]]
    out[:, 0] = first * white[:, 0]
    out[:, 1] += second * white[:, 1]
    return np.asarray(out)


def solve(
    information: Float,
    laplacians: Sequence[sparse.csr_array],
    right: Float,
    *,
    start: Float,
    tolerance: float,
    steps: int,
) -> Float:
    """Solve (information + Laplacian of each field)·x = right by conjugate gradients.

    Several right sides (s, 2, v) at once, preconditioned by the 2×2 blocks of the diagonal
    (Saad 2003, algorithm 9.1).
    """

    def product(y: Float) -> Float:
        out = times(information, y)
        for own, field in zip(out, y, strict=True):
            for row, laplacian in enumerate(laplacians):
                own[row] += laplacian @ field[row]
        return out

    block = information.copy()
    for row, laplacian in enumerate(laplacians):
        block[2 * row] += laplacian.diagonal()
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
        alpha = rho / np.maximum(_dot(p, q), 1e-300)
        x += alpha * p
        residual -= alpha * q
        z = times(block, residual)
        rho, last = _dot(residual, z), rho
        p = z + (rho / np.maximum(last, 1e-300)) * p
    return x


def _dot(a: Float, b: Float) -> Float:
    """Scalar products (s, 1, 1) of fields (s, 2, v)."""
    return np.asarray([np.vdot(x, y) for x, y in zip(a, b, strict=True)])[:, None, None]


def marginal(
    information: Float, degree: Float, spectrum: Float, share: Float
) -> tuple[Float, Float]:
    """Return the covariance (3, v) and the prior's share of it (2, v), as in uniform grids.

    In a uniform grid the posterior covariance is the mean, over the eigenvalues λ of its
    Laplacian, of (information + λ)⁻¹; here with the information and the degree (2, v) of each
    voxel. The share is the mean of λ·variance: 1 where the data say nothing.
    """
    covariance, left = np.zeros(information.shape), np.zeros(degree.shape)
    for value, part in zip(spectrum, share, strict=True):
        own = information.copy()
        own[[0, 2]] += value * degree
        own = part * invert(own)
        covariance += own
        left += value * degree * own[[0, 2]]
    return covariance, left
