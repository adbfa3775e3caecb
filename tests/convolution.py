"""The general kinetic model as defined: arterial input times residue, integrated numerically.

It shares nothing with the closed forms of `cereflow_bids.perfusion` but the times of the scheme.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import quad

from cereflow_bids.perfusion.scheme import LabelingScheme


def convolution(
    scheme: LabelingScheme,
    column: int,
    *,
    att: float,
    t1: float,
    cbf: float = 0.0,
    offset: float = 0.0,
) -> float:
    """∫ arterial input(u)·residue(t − u) du, u from the start of labelling; flips kill label."""
    pulsed, tau = scheme.kind == "PASL", scheme.duration[column]
    t1_app = scheme.t1_blood
    if scheme.model == "full":
        t1_app = 1 / (1 / t1 + cbf / 6000 / scheme.partition_coefficient)
    start = offset if pulsed else tau + offset
    end = start + scheme.delay[column]
    flips = []
    if scheme.readout_flip_angle is not None:
        shots = zip(scheme.delay, scheme.duration, strict=True)
        flips = sorted(start + d for d, own in shots if own == tau and d < scheme.delay[column])
    left = np.cos(np.radians(scheme.readout_flip_angle or 0))

    def flux(u: float) -> float:
        age = u if pulsed else att
        shots = sum(u < flip for flip in flips)
        residue = np.exp(-(end - u) / t1_app) * left**shots
        return float(2 * scheme.efficiency * np.exp(-age / scheme.t1_blood) * residue)

    bounds = [att, *(flip for flip in flips if att < flip < min(att + tau, end))]
    bounds.append(min(att + tau, end))
    return sum(quad(flux, a, b)[0] for a, b in pairwise(bounds)) if end > att else 0.0


def curves(
    scheme: LabelingScheme,
    cbf: NDArray[np.float64],
    att: NDArray[np.float64],
    *,
    t1: NDArray[np.float64] | float = 1.3,
    offset: NDArray[np.float64] | float = 0.0,
) -> NDArray[np.float64]:
    """λ·ΔM/M0 (v, n) of voxels with CBF (v,) in mL/100 g/min and ATT (v,) in s."""
    voxels = np.broadcast_arrays(cbf, att, t1, offset)
    rows = [
        [
            f / 6000 * convolution(scheme, k, att=a, t1=own, cbf=f, offset=shift)
            for k in range(scheme.size)
        ]
        for f, a, own, shift in zip(*voxels, strict=True)
    ]
    return np.array(rows)
