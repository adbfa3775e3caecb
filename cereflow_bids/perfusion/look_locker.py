"""What the earlier excitations of a Look-Locker readout leave of the label in tissue."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.perfusion.scheme import LabelingScheme

Float = NDArray[np.floating]


def deplete(response: Float, scheme: LabelingScheme, t1_apparent: Float) -> Float:
    """Return the response of tissue, less what earlier excitations of the same train took.

    Parameters
    ----------
    response
        The response without depletion (v, n).
    scheme
        Its ``readout_flip_angle`` is that of every excitation; its measurements of one duration
        must be all the excitations of one train.
    t1_apparent
        T1' of tissue (v, 1) or (1, 1), s.

    Returns
    -------
    ndarray
        (v, n), per sin(flip angle) of transverse signal, as the undepleted response is.

    Raises
    ------
    ValueError
        If the scheme has no possible flip angle, or two excitations at the same time.

    Notes
    -----
    Label in tissue obeys dS/dt = −S/T1' + inflow, so the part of the undepleted F that came
    between two excitations is Fₙ − EₙFₙ₋₁, with Eₙ = exp(−(tₙ − tₙ₋₁)/T1'), and exactly
    Sₙ = cos(flip)·Eₙ·Sₙ₋₁ + (Fₙ − EₙFₙ₋₁), for any inflow. After Petersen 2006,
    doi:10.1002/mrm.20784, who uses one effective T1 for it. It is assumed that label still in
    arteries was not excited, and that the train was recorded from its first excitation on.
    """
    flip = scheme.readout_flip_angle
    if flip is None or not 0 <= flip < 180:
        raise ValueError(f"readout flip angle must be from 0 to below 180 degrees, got {flip}")
    kept = math.cos(math.radians(flip))
    delay, duration = np.asarray(scheme.delay), np.asarray(scheme.duration)
    left = np.array(response, dtype=np.float64)
    for tau in np.unique(duration):
        train = np.flatnonzero(duration == tau)
        train = train[np.argsort(delay[train])]
        for before, now in pairwise(train):
            pause = delay[now] - delay[before]
            if pause == 0:
                raise ValueError(
                    f"two excitations of one Look-Locker train at {delay[now]} s: "
                    "which of them came first, and so what it left, is unknown"
                )
            decay = np.exp(-pause / t1_apparent[:, 0])
            inflow = response[:, now] - decay * response[:, before]
            left[:, now] = kept * decay * left[:, before] + inflow
    return left
