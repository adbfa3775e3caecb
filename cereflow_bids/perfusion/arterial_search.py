"""Search of both arrival times of tissue with an arterial component, on a grid."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.perfusion.arterial_response import arterial_response
from cereflow_bids.perfusion.kinetics import tissue_response
from cereflow_bids.perfusion.least_squares import ATT_RANGE
from cereflow_bids.perfusion.scheme import LabelingScheme

Float = NDArray[np.float64]
Index = NDArray[np.intp]

STEP = 0.05
"""Between trial values of ATT, s."""
_COLLINEAR = 1e-3
"""Share of the tissue curve that must be left beside the arterial one."""


@dataclass(frozen=True)
class Passage:
    """Arrival times aBAT for which the same measurements see arterial label.

    Attributes
    ----------
    low, high
        aBAT is above the one and at most the other, s.
    unit
        Weighted arterial response over its norm (n,).
    att
        Trial values of ATT (g,), s: not before `low`, and after the first measurement.
    tissue
        Weighted tissue responses without their part along `unit`, over their norm (g, n).
    norm, lean
        That norm, and their part along `unit` over it (g,).
    size
        Norm of the weighted arterial response to an arrival in the middle of the interval.
    """

    low: float
    high: float
    unit: Float
    att: Float
    tissue: NDArray[np.float32]
    norm: Float
    lean: NDArray[np.float32]
    size: float

    def arrival(self, att: Float) -> Float:
        """Return the middle of what is left to aBAT below ATT (same shape), s."""
        return np.asarray((self.low + np.minimum(self.high, att)) / 2)

    def height(self, scheme: LabelingScheme) -> Float:
        """Return the norm of the weighted arterial response beside each trial ATT (g,)."""
        if scheme.pulsed:
            return np.full(self.att.shape, self.size)
        earlier = (self.low + self.high) / 2 - self.arrival(self.att)
        return np.asarray(self.size * np.exp(earlier / scheme.t1_blood))


@dataclass(frozen=True)
class Voxels:
    """Weighted signal (v, n), T1t and what the slice adds to the delays (v,), s.

    CBF (v,), mL/100 g/min, is that in 1/T1' = 1/T1t + f/λ of the full model.
    """

    y: Float
    t1: Float
    cbf: Float
    offset: Float

    def __getitem__(self, which: Index | NDArray[np.bool_]) -> Voxels:
        return Voxels(self.y[which], self.t1[which], self.cbf[which], self.offset[which])


def passages(scheme: LabelingScheme, t1: float, offset: float) -> list[Passage]:
    """List what can be told apart of aBAT, with the tissue curves to try beside each.

    Parameters
    ----------
    scheme
        Labelling, times, constants and repeats (the weights).
    t1
        T1' of the trial curves, s; not used in the consensus form.
    offset
        What the slice adds to the delays, s.
    """
    weight = np.sqrt(scheme.repeats)
    delay, tau = np.asarray(scheme.delay) + offset, np.asarray(scheme.duration)
    last = delay if scheme.pulsed else delay + tau
    # A bolus is told from a plateau only while it is arriving at two measurements.
    trial = np.arange(delay.min() + STEP, ATT_RANGE[1] + STEP / 2, STEP)
    trial = trial[trial < np.sort(last)[-2] - 1e-6]
    response = weight * tissue_response(
        scheme, trial, t1_tissue=np.full(trial.size, t1), offset=offset
    )
    borders = np.unique(np.concatenate([[0.0], last, last - tau]).round(9))
    found = []
    for low, high in pairwise(borders[borders >= 0]):
        seen = weight * arterial_response(scheme, (low + high) / 2, offset=offset)[0]
        late = trial > low
        if not seen.any() or not late.any():
            continue
        unit = seen / np.linalg.norm(seen)
        along = response[late] @ unit
        rest = response[late] - along[:, None] * unit
        norm = np.linalg.norm(rest, axis=1)
        apart = norm > _COLLINEAR * np.linalg.norm(response[late], axis=1)
        norm, rest, along = norm[apart], rest[apart], along[apart]
        if norm.size:
            found.append(
                Passage(
                    float(low),
                    float(high),
                    unit,
                    trial[late][apart],
                    (rest / norm[:, None]).astype(np.float32),
                    norm,
                    (along / norm).astype(np.float32),
                    float(np.linalg.norm(seen)),
                )
            )
    return found


def search(y: Float, choices: list[Passage]) -> tuple[Float, Index, Index]:
    """Return the sum of squares that the best model explains, its passage and trial ATT.

    Parameters
    ----------
    y
        Weighted signal (v, n).
    choices
        From `passages`.
    """
    single = y.astype(np.float32)
    best = np.zeros(y.shape[0])
    which = np.zeros(y.shape[0], dtype=np.intp)
    place = np.zeros(y.shape[0], dtype=np.intp)
    for number, passage in enumerate(choices):
        arterial = y @ passage.unit
        flow = single @ passage.tissue.T
        # CBF is `flow` and aBV what is left of `arterial`; where aBV < 0 there is tissue alone.
        flow[flow * passage.lean >= arterial[:, None].astype(np.float32)] = 0
        own = np.argmax(flow, axis=1)
        top = np.maximum(np.take_along_axis(flow, own[:, None], axis=1)[:, 0], 0)
        explained = np.where(arterial > 0, arterial**2 + top.astype(np.float64) ** 2, 0)
        better = explained > best
        best[better], which[better], place[better] = explained[better], number, own[better]
    return best, which, place
