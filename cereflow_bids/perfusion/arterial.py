"""Label in the arteries of a voxel, included where the data favour it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cereflow_bids.perfusion.arterial_average import average_over_att
from cereflow_bids.perfusion.arterial_evidence import (
    PARAMETERS,
    evidence,
    isolated,
    needed,
    prior_squares,
)
from cereflow_bids.perfusion.arterial_joint import CBF_RANGE, Joint, add_up, fit_joint
from cereflow_bids.perfusion.arterial_search import Passage, Voxels, passages, search
from cereflow_bids.perfusion.constants import CBF_UNIT
from cereflow_bids.perfusion.estimate import Estimate, Flag
from cereflow_bids.perfusion.scheme import LabelingScheme

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Index = NDArray[np.intp]

FEWEST_MEASUREMENTS = 5
"""Distinct delays and durations below which four parameters cannot be told from noise."""
_RATE_STEP = 0.02
_CHUNK = 8192
_ROUNDING = 1e-7


@dataclass(frozen=True)
class Arterial:
    """The arterial component of each voxel (v,), and what it leaves to tissue.

    Attributes
    ----------
    estimate
        Least squares: of tissue with arteries where they are included, of tissue alone elsewhere.
        There aBV is 0 and its error NaN. The error of aBV contains that of aBAT.
    included
        Where the data favour an arterial component.
    signal
        What arteries add to the signal (v, n); 0 elsewhere.
    arrival
        aBAT, s: the middle of the interval that the measurements leave to it; NaN elsewhere.
    excess
        What not knowing aBV adds to the variances of CBF and ATT (2, v); 0 elsewhere.
    """

    estimate: Estimate
    included: Bool
    signal: Float
    arrival: Float
    excess: Float


def why_not(scheme: LabelingScheme) -> str:
    """Return why arteries cannot be modelled with a scheme, as a sentence; empty if they can."""
    if scheme.readout_flip_angle is not None:
        return (
            "Arteries are not modelled: with a Look-Locker readout it is unknown how often their "
            "blood was excited on its way."
        )
    distinct = len(set(zip(scheme.delay, scheme.duration, strict=True)))
    if distinct < FEWEST_MEASUREMENTS:
        return (
            f"Arteries are not modelled: {distinct} distinct measurements cannot tell them from "
            f"tissue, {FEWEST_MEASUREMENTS} are needed."
        )
    return ""


def find_arterial(
    signal: ArrayLike,
    scheme: LabelingScheme,
    tissue: Estimate,
    *,
    t1_tissue: ArrayLike | None = None,
    offset: ArrayLike = 0.0,
    spread: ArrayLike | None = None,
    mask: ArrayLike | None = None,
) -> Arterial:
    """Decide for each voxel between tissue alone and tissue with arteries, and fit the latter.

    For each ATT, and each set of measurements that can see arterial label, CBF and aBV have a
    closed form (both at least 0). Both are searched on a grid and ATT is refined, with
    aBAT ≤ ATT and at least one measurement before ATT. The model is that of `arterial_response`.

    Parameters
    ----------
    signal
        λ·ΔM/M0 (v, n).
    scheme
        Labelling, times and constants; its `repeats` are the weights.
    tissue
        The least squares fit of the same signal by tissue alone.
    t1_tissue, offset
        As for `fit_least_squares`.
    spread
        Sum over all differences of their squared distance to the mean of their measurement (v,),
        which tells the noise; None if unknown, or without repeats.
    mask
        Where the voxels lie (x, y, z), v of them true: a voxel none of whose neighbours across a
        face has arteries then needs strong evidence. None to treat each on its own.

    Raises
    ------
    ValueError
        If the scheme cannot tell arteries from tissue (see `why_not`).
    """
    if why_not(scheme):
        raise ValueError(why_not(scheme))
    voxels = _voxels(signal, scheme, tissue, t1_tissue, offset)
    rss = np.asarray(tissue.residual, dtype=np.float64) ** 2 * float(np.sum(scheme.repeats))
    power = np.einsum("vn,vn->v", voxels.y, voxels.y)
    # A voxel without any signal tells nothing of the noise either.
    rss[power == 0] = np.nan
    known, extra = prior_squares(rss, scheme, spread)
    squares = np.stack([power, rss, known + _ROUNDING * power])
    good = np.isfinite(squares.sum(axis=0) + voxels.offset) & (tissue.flag != Flag.NO_DATA)
    found = _tissue_alone(tissue, voxels.y.shape)
    gains = np.full(power.shape, -np.inf)
    for chunk, choices in _chunks(scheme, np.flatnonzero(good), voxels):
        here, joint, (left, gain) = _decide(
            voxels[chunk], scheme, choices, squares[:, chunk], extra + scheme.size
        )
        _store(found, chunk[here], joint, scheme)
        found.estimate.residual[chunk[here]] = np.sqrt(left / np.sum(scheme.repeats))
        gains[chunk[here]] = gain
    if mask is not None:
        _take_back(found, isolated(gains, mask), tissue)
    return found


def _take_back(found: Arterial, where: Bool, tissue: Estimate) -> None:
    """Leave tissue alone in some voxels after all."""
    alone = _tissue_alone(tissue, found.signal.shape)
    for field in fields(Estimate):
        values = getattr(found.estimate, field.name)
        if isinstance(values, np.ndarray):
            values[where] = getattr(alone.estimate, field.name)[where]
    found.included[where] = False
    found.signal[where] = 0
    found.arrival[where] = np.nan
    found.excess[:, where] = 0


def _decide(
    voxels: Voxels,
    scheme: LabelingScheme,
    choices: list[Passage],
    squares: Float,
    freedom: float,
) -> tuple[Index, Joint, tuple[Float, Float]]:
    """Return which voxels have arteries, their joint model, what it leaves and the evidence.

    `squares` (3, v) are of the signal, of what tissue alone leaves, and known to be noise.
    """
    power, rss, known = squares
    explained, which, place = search(voxels.y, choices)
    # What the grid finds is refined unless it is clearly worse than tissue alone.
    gain = evidence(rss, power - explained, known, freedom)
    here = np.flatnonzero((gain > -needed(freedom) / 2) & (explained > 0))
    values, left = fit_joint(voxels[here], scheme, choices, which[here], place[here])
    gain = evidence(rss[here], left, known[here], freedom)
    chosen = (gain > 0) & (values[2] > 0)
    here, values, left, gain = here[chosen], values[:, chosen], left[chosen], gain[chosen]
    noise = (known[here] + left) / (freedom - PARAMETERS)
    voxels, which = voxels[here], which[here]
    joint = add_up(voxels, scheme, choices, which, values)
    joint = average_over_att(joint, voxels, scheme, choices, which, noise=noise)
    return here, joint, (left, gain)


def with_arteries(estimate: Estimate, arterial: Arterial) -> Estimate:
    """Complete an estimate of tissue from what arteries leave of the signal.

    Parameters
    ----------
    estimate
        From the signal less `Arterial.signal`.
    arterial
        Of the same voxels.

    Returns
    -------
    Estimate
        With aBV, flagged ``ARTERIAL`` where it was included, and with the standard errors that
        not knowing it exactly makes larger.

    Notes
    -----
    aBV is no further field of the spatial estimate: vessels are thin, and a prior that smooths
    them spreads them into tissue. They are decided voxel by voxel and subtracted, so that CBF and
    ATT there keep the help of their neighbours. What is subtracted is then taken for known;
    therefore the variance that aBV adds in the least squares model, Var(f) − Var(f | aBV), is
    added to that of the estimate. It is an upper limit, as neighbours would help to tell aBV too.
    """
    flag = estimate.flag | np.where(arterial.included, Flag.ARTERIAL, 0).astype(np.uint8)
    return replace(
        estimate,
        cbf_standard_error=np.sqrt(estimate.cbf_standard_error**2 + arterial.excess[0]),
        att_standard_error=np.sqrt(estimate.att_standard_error**2 + arterial.excess[1]),
        abv=arterial.estimate.abv,
        abv_standard_error=arterial.estimate.abv_standard_error,
        flag=flag,
    )


def _voxels(
    signal: ArrayLike,
    scheme: LabelingScheme,
    tissue: Estimate,
    t1_tissue: ArrayLike | None,
    offset: ArrayLike,
) -> Voxels:
    y = np.asarray(signal, dtype=np.float64) * np.sqrt(scheme.repeats)
    t1 = np.asarray(scheme.t1_tissue if t1_tissue is None else t1_tissue, dtype=np.float64)
    return Voxels(
        y,
        np.broadcast_to(t1, y.shape[:1]),
        np.nan_to_num(tissue.cbf).clip(*CBF_RANGE).astype(np.float64),
        np.broadcast_to(np.asarray(offset, dtype=np.float64), y.shape[:1]),
    )


def _chunks(
    scheme: LabelingScheme, good: Index, voxels: Voxels
) -> Iterator[tuple[Index, list[Passage]]]:
    """Voxels that can share trial curves, and these."""
    step = np.zeros(good.size)
    if scheme.model == "full":
        flow = voxels.cbf[good] / CBF_UNIT / scheme.partition_coefficient
        step = np.floor((1 / voxels.t1[good] + flow) / _RATE_STEP)
    keys, which = np.unique(np.stack([step, voxels.offset[good]]), axis=1, return_inverse=True)
    order = np.argsort(which, kind="stable")
    ends = np.cumsum(np.bincount(which, minlength=keys.shape[1]))
    for key, members in zip(keys.T, np.split(order, ends[:-1]), strict=False):
        choices = passages(scheme, 1 / ((key[0] + 0.5) * _RATE_STEP), float(key[1]))
        for start in range(0, members.size if choices else 0, _CHUNK):
            yield good[members[start : start + _CHUNK]], choices


def _tissue_alone(tissue: Estimate, shape: tuple[int, ...]) -> Arterial:
    """Return what holds without arteries, in arrays that can be written to."""
    names = ("cbf", "att", "cbf_standard_error", "att_standard_error", "residual", "flag")
    maps = {name: np.array(getattr(tissue, name)) for name in names}
    unknown = np.full(shape[0], np.nan)
    abv = np.where(tissue.flag & Flag.NO_DATA, np.nan, 0)
    return Arterial(
        Estimate(**maps, abv=abv, abv_standard_error=unknown.copy(), settings=tissue.settings),
        included=np.zeros(shape[0], dtype=bool),
        signal=np.zeros(shape),
        arrival=unknown,
        excess=np.zeros((2, shape[0])),
    )


def _store(found: Arterial, here: Index, joint: Joint, scheme: LabelingScheme) -> None:
    """Write the joint model of the voxels that it was chosen for."""
    cbf, att, abv = joint.values
    variance = joint.variance
    # The height of a boxcar tells aBV·exp(−aBAT/T1b), so that aBV shares the error of aBAT.
    width = 0.0 if scheme.pulsed else joint.width / scheme.t1_blood / np.sqrt(12)
    none = cbf <= 0
    maps = {
        "cbf": cbf,
        "att": np.where(none, np.nan, att),
        "cbf_standard_error": np.sqrt(variance[:, 0]),
        "att_standard_error": np.sqrt(variance[:, 1]),
        "flag": np.where(none, Flag.ARTERIAL | Flag.NO_PERFUSION, Flag.ARTERIAL),
        "abv": abv,
        "abv_standard_error": np.sqrt(variance[:, 2] + (width * abv) ** 2),
    }
    for name, values in maps.items():
        getattr(found.estimate, name)[here] = values
    found.included[here] = True
    found.signal[here] = joint.signal / np.sqrt(scheme.repeats)
    found.arrival[here] = joint.arrival
    found.excess[:, here] = np.maximum(variance[:, :2] - joint.known, 0).T
