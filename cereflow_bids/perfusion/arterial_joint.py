"""Tissue with an arterial component, once it is known which measurements see the arteries."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.perfusion.arterial_response import arterial_response
from cereflow_bids.perfusion.arterial_search import STEP, Passage, Voxels
from cereflow_bids.perfusion.constants import CBF_UNIT
from cereflow_bids.perfusion.kinetics import tissue_response
from cereflow_bids.perfusion.least_squares import ATT_RANGE
from cereflow_bids.perfusion.scheme import LabelingScheme

Float = NDArray[np.float64]
Index = NDArray[np.intp]

_GOLDEN = (np.sqrt(5) - 1) / 2
_DIVISIONS = 12
"""Of the bracket of 0.1 s: ATT is then exact to 0.3 ms."""
_H = 1e-4
CBF_RANGE = (0.0, 200.0)
"""CBF beyond it, mL/100 g/min, no longer shortens T1' further."""


@dataclass(frozen=True)
class Joint:
    """What the joint model says of v voxels; variances in units of that of the noise.

    Attributes
    ----------
    values
        CBF, ATT and aBV (3, v); mL/100 g/min, s, fraction.
    arrival, width
        aBAT and the width of the interval it is the middle of (v,), s.
    signal
        What arteries add, weighted (v, n).
    variance
        Of CBF, ATT and aBV (v, 3); NaN where it is unlimited.
    known
        Of CBF and ATT (v, 2) if aBV were known.
    """

    values: Float
    arrival: Float
    width: Float
    signal: Float
    variance: Float
    known: Float


def fit_joint(
    voxels: Voxels, scheme: LabelingScheme, choices: list[Passage], which: Index, place: Index
) -> tuple[Float, Float]:
    """Refine what a search found.

    Parameters
    ----------
    voxels, scheme
        As for the search.
    choices
        Passages of arterial label that were searched.
    which, place
        Passage and trial ATT that were best (v,).

    Returns
    -------
    values
        CBF, ATT and aBV (3, v); mL/100 g/min, s, fraction.
    rss
        Weighted sum of squares left (v,).
    """
    low = np.array([c.low for c in choices])[which]
    centre = np.array([choices[w].att[p] for w, p in zip(which, place, strict=True)])
    unit = np.stack([c.unit for c in choices])[which]
    earliest = min(scheme.delay) + voxels.offset
    bracket = (
        np.maximum(centre - STEP, np.maximum(low, earliest)),
        np.minimum(centre + STEP, ATT_RANGE[1]),
    )
    if scheme.model == "full":
        # The CBF of tissue alone may be far off: settle that in 1/T1' first.
        for _ in range(3):
            voxels = _with_cbf(voxels, _profile(voxels, scheme, centre, unit)[1])
        voxels = _with_cbf(voxels, _refine(voxels, scheme, bracket, unit)[1])
    att, cbf = _refine(voxels, scheme, bracket, unit)
    artery = _artery(voxels, scheme, _arrival(choices, which, att)[0])
    rest = voxels.y - cbf[:, None] / CBF_UNIT * _tissue(voxels, scheme, att)
    abv = np.maximum(_dot(rest, artery) / _dot(artery, artery), 0)
    rest -= abv[:, None] * artery
    return np.stack([cbf, att, abv]), _dot(rest, rest)


def add_up(
    voxels: Voxels, scheme: LabelingScheme, choices: list[Passage], which: Index, values: Float
) -> Joint:
    """Return what follows from CBF, ATT and aBV (3, v) of voxels whose passage is known."""
    cbf, att, abv = values
    arrival, width = _arrival(choices, which, att)
    voxels = _with_cbf(voxels, cbf)
    artery = _artery(voxels, scheme, arrival)
    curve = _tissue(voxels, scheme, att) / CBF_UNIT
    later, sooner = (_tissue(voxels, scheme, att + h) for h in (_H, -_H))
    slope = cbf[:, None] / CBF_UNIT * (later - sooner) / (2 * _H)
    variance, known = _covariance(np.stack([curve, slope, artery], axis=2), cbf > 0)
    return Joint(values, arrival, width, abv[:, None] * artery, variance, known)


def _arrival(choices: list[Passage], which: Index, att: Float) -> tuple[Float, Float]:
    """Return the middle and the width of the interval of aBAT (v,), s."""
    low, high = np.array([[c.low, c.high] for c in choices])[which].T
    last = np.minimum(high, att)
    return (low + last) / 2, last - low


def _refine(
    voxels: Voxels, scheme: LabelingScheme, bracket: tuple[Float, Float], unit: Float
) -> tuple[Float, Float]:
    """Return ATT by golden section and CBF, for arteries known but for their size."""

    def fit(att: Float) -> tuple[Float, Float]:
        return _profile(voxels, scheme, att, unit)

    low, high = bracket
    inner, outer = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_inner, at_outer = fit(inner)[0], fit(outer)[0]
    for _ in range(_DIVISIONS):
        left = at_inner > at_outer
        low, high = np.where(left, low, inner), np.where(left, outer, high)
        new = np.where(left, high - _GOLDEN * (high - low), low + _GOLDEN * (high - low))
        value = fit(new)[0]
        inner, outer = np.where(left, new, outer), np.where(left, inner, new)
        at_inner, at_outer = np.where(left, value, at_outer), np.where(left, at_inner, value)
    att = np.where(at_inner > at_outer, inner, outer)
    return att, fit(att)[1]


def _profile(
    voxels: Voxels, scheme: LabelingScheme, att: Float, unit: Float
) -> tuple[Float, Float]:
    """Return what CBF explains beside the arteries, and CBF."""
    curve = _tissue(voxels, scheme, att)
    curve -= _dot(curve, unit)[:, None] * unit
    squared = np.maximum(_dot(curve, curve), np.finfo(float).tiny)
    along = np.maximum(_dot(curve, voxels.y), 0)
    return along**2 / squared, CBF_UNIT * along / squared


def _with_cbf(voxels: Voxels, cbf: Float) -> Voxels:
    return replace(voxels, cbf=cbf.clip(*CBF_RANGE))


def _covariance(jacobian: Float, free: NDArray[np.bool_]) -> tuple[Float, Float]:
    """Return variances of CBF, ATT and aBV (v, 3), and of the first two if aBV is known."""
    information = jacobian.transpose(0, 2, 1) @ jacobian
    scale = np.sqrt(np.maximum(np.diagonal(information, axis1=1, axis2=2), 1e-300))
    correlation = information / scale[:, :, None] / scale[:, None, :]
    # Nothing of ATT is known where CBF is 0.
    correlation[~free, 1, :] = correlation[~free, :, 1] = 0
    correlation[~free, 1, 1] = 1
    known = _inverse_diagonal(correlation[:, :2, :2]) / scale[:, :2] ** 2
    variance = _inverse_diagonal(correlation) / scale**2
    known[~free, 1] = variance[~free, 1] = np.nan
    return variance, known


def _inverse_diagonal(matrix: Float) -> Float:
    """Return the diagonal of the inverse (v, k); NaN where there is none."""
    regular = np.linalg.det(matrix) > 1e-9
    inverse = np.linalg.inv(np.where(regular[:, None, None], matrix, np.eye(matrix.shape[1])))
    diagonal = np.diagonal(inverse, axis1=1, axis2=2)
    return np.where(regular[:, None], diagonal, np.nan)


def _artery(voxels: Voxels, scheme: LabelingScheme, arrival: Float) -> Float:
    response = arterial_response(scheme, arrival, offset=voxels.offset)
    return np.asarray(np.sqrt(scheme.repeats) * response)


def _tissue(voxels: Voxels, scheme: LabelingScheme, att: Float) -> Float:
    response = tissue_response(
        scheme, att, t1_tissue=voxels.t1, cbf=voxels.cbf, offset=voxels.offset
    )
    return np.asarray(np.sqrt(scheme.repeats) * response)


def _dot(a: Float, b: Float) -> Float:
    return np.asarray(np.einsum("vn,vn->v", a, b))
