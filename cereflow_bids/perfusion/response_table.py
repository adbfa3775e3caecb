"""Responses of tissue as piecewise polynomials of ATT, so that a fit need not call exp."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.perfusion.kinetics import tissue_response
from cereflow_bids.perfusion.scheme import LabelingScheme

Float = NDArray[np.float64]

STEP = 0.05
"""Longest piece, s: degree 4 is then exact to about 1e-11 (our choice)."""
_NODES = np.cos(np.pi * (np.arange(5) + 0.5) / 5)
_TO_COEFFICIENTS = np.linalg.inv(np.vander(_NODES, increasing=True))


@dataclass(frozen=True)
class ResponseTable:
    """Weighted unit responses u(ATT) = √W·R/‖√W·R‖ on i pieces of ATT, at j rates 1/T1'.

    Coefficients (d = 5) are those of powers of x, which runs from −1 to 1 on each piece.

    Attributes
    ----------
    edges
        (i + 1,), s.
    rates
        (j,) 1/T1', 1/s.
    unit
        (i, j, d, n), coefficients of u.
    norm, slope
        (i, j, d), those of ‖√W·R‖ (s) and of ‖du/dATT‖² (1/s²).
    middle
        (i, n), u in the middle of each piece, float32.
    identifiable
        Whether two measurements differ enough for ATT to be estimated at all.
    """

    edges: Float
    rates: Float
    unit: Float
    norm: Float
    slope: Float
    middle: NDArray[np.float32]
    identifiable: bool


def response_table(
    scheme: LabelingScheme, rates: Float, offset: float, att_range: tuple[float, float]
) -> ResponseTable:
    """Tabulate the responses of a scheme.

    Parameters
    ----------
    scheme
        Labelling, times, constants and repeats (the weights W).
    rates
        (j,) 1/T1' of the full model, 1/s; one value, not used, for the consensus form.
    offset
        What the slice adds to the delays, s.
    att_range
        Range of ATT, s. It is narrowed: below the first delay the shape of the curve no longer
        depends on ATT, and above the last but one end of the bolus only one measurement is left.
    """
    edges, identifiable = _edges(scheme, offset, att_range)
    half, centre = np.diff(edges) / 2, (edges[1:] + edges[:-1]) / 2
    att = centre[:, None] + half[:, None] * np.append(_NODES, 0.0)
    shape = (att.shape[0], rates.size, att.shape[1], scheme.size)
    att = np.broadcast_to(att[:, None, :], shape[:3])
    t1 = np.broadcast_to(1 / rates[:, None], shape[:3])
    response = tissue_response(scheme, att.ravel(), t1_tissue=t1.ravel(), offset=offset)
    response = response.reshape(shape) * np.sqrt(scheme.repeats)
    norm = np.linalg.norm(response, axis=-1)
    unit = response / np.maximum(norm, np.finfo(float).tiny)[..., None]
    coefficients = _TO_COEFFICIENTS @ unit[:, :, :-1]
    powers = np.vander(_NODES, increasing=True)[:, :-1] * np.arange(1, _NODES.size)
    derivative = powers @ coefficients[:, :, 1:] / half[:, None, None, None]
    return ResponseTable(
        edges,
        rates,
        coefficients,
        norm[:, :, :-1] @ _TO_COEFFICIENTS.T,
        (derivative**2).sum(axis=-1) @ _TO_COEFFICIENTS.T,
        unit[:, rates.size // 2, -1].astype(np.float32),
        identifiable,
    )


def _edges(
    scheme: LabelingScheme, offset: float, att_range: tuple[float, float]
) -> tuple[Float, bool]:
    """Borders of the pieces: at most a step apart, and wherever a curve has a kink."""
    delay, tau = np.asarray(scheme.delay) + offset, np.asarray(scheme.duration)
    first = delay - tau if scheme.pulsed else delay
    last = delay if scheme.pulsed else delay + tau
    lower = max(att_range[0], float(first.min()))
    ends = np.unique(np.stack([last, tau]), axis=1)[0]
    # Short of the end itself, where one of the two measurements would be exactly 0.
    upper = min(att_range[1], float(np.sort(ends)[-2]) - 1e-3) if ends.size > 1 else lower
    if upper - lower < 1e-6:
        return np.array([lower, lower + 1e-6]), False
    kinks = np.concatenate([first, last])
    kinks = kinks[(kinks > lower + 1e-6) & (kinks < upper - 1e-6)]
    corners = np.unique(np.concatenate([[lower, upper], kinks]).round(9))
    pieces = [
        np.linspace(a, b, max(1, int(np.ceil((b - a) / STEP - 1e-9))), endpoint=False)
        for a, b in pairwise(corners)
    ]
    return np.append(np.concatenate(pieces), corners[-1]), True
