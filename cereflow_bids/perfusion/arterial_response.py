"""What label that is still in the arteries of a voxel does to the signal."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cereflow_bids.perfusion.scheme import LabelingScheme


def arterial_response(
    scheme: LabelingScheme, arterial_arrival: ArrayLike, *, offset: ArrayLike = 0.0
) -> NDArray[np.floating]:
    """Return the response of arterial blood to labelling, per unit of its volume fraction.

    Parameters
    ----------
    scheme
        Labelling, times and constants.
    arterial_arrival
        When label reaches the arteries of the voxel, aBAT (v,), s.
    offset
        What the slice of each voxel adds to the delays (v,), s.

    Returns
    -------
    ndarray
        S = λ·ΔM/M0 per unit of aBV, (v, n). ΔM = 2α·aBV·M0a·exp(−aBAT/T1b), and M0a = M0/λ, so
        λ is in S already and not in this response.

    Raises
    ------
    ValueError
        For a Look-Locker readout.

    Notes
    -----
    Chappell 2010, doi:10.1002/mrm.22320: a bolus without dispersion, present from aBAT until
    aBAT + τ. Continuous label has aged by aBAT whenever it is seen, pulsed label by TI.
    """
    if scheme.readout_flip_angle is not None:
        raise ValueError(
            "no arterial component with a Look-Locker readout: how often blood that passes "
            "through the voxel was excited on its way is unknown"
        )
    arrival = np.atleast_1d(np.asarray(arterial_arrival, dtype=np.float64))[:, None]
    delay = np.asarray(scheme.delay) + np.atleast_1d(np.asarray(offset, dtype=np.float64))[:, None]
    tau = np.asarray(scheme.duration)
    time = delay if scheme.pulsed else delay + tau
    age = time if scheme.pulsed else arrival
    present = (arrival <= time) & (time < arrival + tau)
    return np.where(present, 2 * scheme.efficiency * np.exp(-age / scheme.t1_blood), 0.0)
