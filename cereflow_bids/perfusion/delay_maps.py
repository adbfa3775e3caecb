"""CBF of each delay for itself, as if the whole bolus had arrived, and the mean over delays."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cereflow_bids.perfusion.constants import CBF_UNIT
from cereflow_bids.perfusion.scheme import LabelingScheme

Float = NDArray[np.float64]


def delay_cbf(signal: ArrayLike, scheme: LabelingScheme, *, offset: ArrayLike = 0.0) -> Float:
    """Return the single-delay CBF of each measurement (Alsop 2015, doi:10.1002/mrm.25197).

    It is too low at delays before the bolus has arrived.

    Parameters
    ----------
    signal
        λ·ΔM/M0 (v, n).
    scheme
        Labelling, times and constants; the consensus equation is used whatever its model.
    offset
        What the slice of each voxel adds to the delays, (v,) or one value, s.

    Returns
    -------
    ndarray
        (v, n), mL/100 g/min.
    """
    shift = np.atleast_1d(np.asarray(offset, dtype=np.float64))[:, None]
    decay = np.exp((np.asarray(scheme.delay) + shift) / scheme.t1_blood)
    tau = np.asarray(scheme.duration)
    bolus = tau if scheme.pulsed else -scheme.t1_blood * np.expm1(-tau / scheme.t1_blood)
    return np.asarray(CBF_UNIT * np.asarray(signal) * decay / (2 * scheme.efficiency * bolus))


def mean_delay_cbf(signal: ArrayLike, scheme: LabelingScheme, *, offset: ArrayLike = 0.0) -> Float:
    """Return the mean of `delay_cbf` over all differences (v,), mL/100 g/min."""
    maps = delay_cbf(signal, scheme, offset=offset)
    return np.asarray(np.average(maps, axis=1, weights=scheme.repeats))
