"""Tissue with arteries averaged over arrival times, where the data do not tell ATT."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.perfusion.arterial_joint import Joint, add_up
from cereflow_bids.perfusion.arterial_search import STEP, Passage, Voxels
from cereflow_bids.perfusion.constants import CBF_UNIT
from cereflow_bids.perfusion.scheme import LabelingScheme
from cereflow_bids.perfusion.spatial import ATT_PRIOR

Float = NDArray[np.float64]
Index = NDArray[np.intp]


def average_over_att(
    joint: Joint,
    voxels: Voxels,
    scheme: LabelingScheme,
    choices: list[Passage],
    which: Index,
    *,
    noise: Float,
) -> Joint:
    """Replace what the best ATT gives by an average, where ATT is not told to within a step.

    Where no measurement lies between aBAT and ATT, a later ATT and a larger aBV fit as well as
    an earlier ATT and a smaller aBV: the rise of the tissue curve differs from the arterial
    boxcar by ATT in its height only. One best value then is arbitrary, and a derivative there
    tells no error.

    Parameters
    ----------
    joint
        The best fit.
    voxels, scheme, choices, which
        As for `fit_joint`.
    noise
        Variance of a single difference (v,).

    Returns
    -------
    Joint
        With absolute variances; in those voxels with averages, whose weights are exp(−RSS/2σ²)
        times the prior of ATT (`ATT_PRIOR`).
    """
    variance, known = (noise[:, None] * v for v in (joint.variance, joint.known))
    joint = replace(joint, variance=variance, known=known)
    vague = ~(variance[:, 1] < STEP**2) & (joint.values[0] > 0)
    for number in np.unique(which[vague]):
        own = np.flatnonzero(vague & (which == number))
        mean, variance[own] = _average(voxels.y[own], choices[number], noise[own], scheme)
        again = add_up(voxels[own], scheme, choices, which[own], mean.T)
        joint.values[:, own], joint.signal[own] = mean.T, again.signal
        joint.arrival[own], joint.width[own] = again.arrival, again.width
        known[own] = noise[own, None] * again.known
    return joint


def _average(
    y: Float, passage: Passage, noise: Float, scheme: LabelingScheme
) -> tuple[Float, Float]:
    """Return means and variances (v, 3) over the trial values of ATT."""
    along, rest = y @ passage.unit, y @ passage.tissue.T.astype(np.float64)
    height = passage.height(scheme)
    values = np.stack(
        [
            CBF_UNIT * rest / passage.norm,
            np.broadcast_to(passage.att, rest.shape),
            (along[:, None] - rest * passage.lean) / height,
        ]
    )
    centre, width = ATT_PRIOR[scheme.kind]
    weight = rest**2 / (2 * noise[:, None]) - ((passage.att - centre) / width) ** 2 / 2
    weight[(rest <= 0) | (values[2] < 0)] = -np.inf
    top = weight.max(axis=1, keepdims=True)
    weight = np.where(np.isfinite(top), np.exp(weight - np.where(np.isfinite(top), top, 0)), 1)
    weight /= weight.sum(axis=1, keepdims=True)
    mean = np.einsum("vg,kvg->vk", weight, values)
    between = np.einsum("vg,kvg->vk", weight, (values - mean.T[:, :, None]) ** 2)
    # The variances for one ATT, in units of that of the noise.
    within = np.stack(
        [
            (CBF_UNIT / passage.norm) ** 2,
            np.zeros_like(height),
            (1 + passage.lean.astype(np.float64) ** 2) / height**2,
        ]
    )
    return mean, between + noise[:, None] * (weight @ within.T) + [0, STEP**2 / 12, 0]
