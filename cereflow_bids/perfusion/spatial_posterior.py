"""The Gaussian posterior of CBF and ATT under a spatial prior: its mode and its variances.

Fields are (v, 2): CBF in mL/100 g/min, ATT in s. Information is (v, 3): its elements CBF-CBF,
CBF-ATT and ATT-ATT at each voxel.
"""

from __future__ import annotations

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
    """Return information (v, 3), gradient (v, 2) and RSS (v,), for a noise variance of 1."""
    v = field.shape[0]
    information, gradient, rss = np.empty((v, 3)), np.empty((v, 2)), np.empty(v)
    weight = np.asarray(scheme.repeats, dtype=np.float64)
    for start in range(0, v, _CHUNK):
        part = slice(start, start + _CHUNK)
        cbf, att = field[part].T
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
        rss[part] = np.einsum("vn,vn,n->v", left, left, weight)
        for column, (a, b) in enumerate(((response, response), (response, slope), (slope,) * 2)):
            information[part, column] = np.einsum("vn,vn,n->v", a, b, weight)
        for column, a in enumerate((response, slope)):
            gradient[part, column] = np.einsum("vn,vn,n->v", a, left, weight)
    return information, gradient, rss


def invert(information: Float) -> Float:
    """Inverse of symmetric 2×2 matrices given and returned as (v, 3)."""
    a, b, c = information.T
    return np.asarray(np.stack([c, -b, a], axis=1) / np.maximum(a * c - b * b, 1e-300)[:, None])


def times(matrix: Float, field: Float) -> Float:
    """Product of symmetric 2×2 matrices (v, 3) with a field (v, 2)."""
    a, b, c = matrix.T
    x, y = field.T
    return np.stack([a * x + b * y, b * x + c * y], axis=1)


def solve(
    information: Float,
    laplacian: sparse.csr_array,
    smoothness: Float,
    right: Float,
    *,
    tolerance: float,
    steps: int,
) -> Float:
    """Solve (information + Laplacian ⊗ smoothness)·x = right by conjugate gradients.

    Preconditioned by the 2×2 blocks of the diagonal (Saad 2003, algorithm 9.1).
    """
    block = information.copy()
    block[:, [0, 2]] += laplacian.diagonal()[:, None] * smoothness
    block = invert(block)
    x = np.zeros_like(right)
    residual = right.copy()
    z = times(block, residual)
    p, rho = z, float(np.vdot(residual, z))
    goal = tolerance**2 * rho
    for _ in range(steps):
        if rho <= goal:
            break
        q = times(information, p) + (laplacian @ p) * smoothness
        alpha = rho / float(np.vdot(p, q))
        x += alpha * p
        residual -= alpha * q
        z = times(block, residual)
        rho, last = float(np.vdot(residual, z)), rho
        p = z + (rho / last) * p
    return x


def marginal(
    information: Float, smoothness: Float, degree: Float, spectrum: Float, share: Float
) -> tuple[Float, Float]:
    """Return covariance (v, 3) and the mean of λ·variance (v, 2), each voxel as in a uniform grid.

    In a uniform grid the posterior covariance is the mean, over the eigenvalues λ of its
    Laplacian, of (information + λ·smoothness)⁻¹; here with the information and the degree of
    each voxel.
    """
    covariance, rough = np.zeros_like(information), np.zeros((len(information), 2))
    for value, part in zip(spectrum, share, strict=True):
        own = information.copy()
        eigen = (value * degree)[:, None]
        own[:, [0, 2]] += eigen * smoothness
        own = invert(own)
        covariance += part * own
        rough += part * eigen * own[:, [0, 2]]
    return covariance, rough
