"""What a labelled bolus does to the signal, over time: the general kinetic model of ASL.

All responses are S per unit of f, where S = λ·ΔM/M0 (M0 of tissue) and f is CBF in mL/g/s
(f/6000 of a CBF in mL/100 g/min). They have one row per voxel and one column per measurement.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cereflow_bids.perfusion.constants import CBF_UNIT
from cereflow_bids.perfusion.look_locker import deplete
from cereflow_bids.perfusion.scheme import LabelingScheme

Float = NDArray[np.floating]


def tissue_response(
    scheme: LabelingScheme,
    att: ArrayLike,
    *,
    t1_tissue: ArrayLike | None = None,
    cbf: ArrayLike = 0.0,
    offset: ArrayLike = 0.0,
) -> Float:
    """Return the response of tissue to labelling, per unit of f.

    Parameters
    ----------
    scheme
        Labelling, times and constants.
    att
        Arterial transit time (v,), s.
    t1_tissue
        T1t (v,), s, of the full model; that of the scheme if not given.
    cbf
        CBF (v,), mL/100 g/min, as it enters 1/T1' = 1/T1t + f/λ of the full model.
    offset
        What the slice of each voxel adds to the delays (v,), s.

    Returns
    -------
    ndarray
        (v, n).

    Raises
    ------
    ValueError
        If the train of a Look-Locker readout cannot be followed (see `look_locker.deplete`).

    Notes
    -----
    Buxton 1998, doi:10.1002/mrm.1910400308; consensus form Woods 2024, doi:10.1002/mrm.30091.
    """
    arrival = np.atleast_1d(np.asarray(att, dtype=np.float64))[:, None]
    delay = np.asarray(scheme.delay) + np.atleast_1d(np.asarray(offset, dtype=np.float64))[:, None]
    tau = np.asarray(scheme.duration)
    t1_app = _apparent_t1(scheme, t1_tissue, cbf)
    course = _pulsed if scheme.pulsed else _continuous
    response = course(scheme, delay, tau, arrival, t1_app)
    if scheme.readout_flip_angle is None:
        return response
    return deplete(response, scheme, t1_app)


def _apparent_t1(scheme: LabelingScheme, t1_tissue: ArrayLike | None, cbf: ArrayLike) -> Float:
    """T1' as a column; that of blood in the consensus form."""
    if scheme.model == "consensus":
        return np.full((1, 1), scheme.t1_blood)
    t1 = scheme.t1_tissue if t1_tissue is None else t1_tissue
    flow = np.asarray(cbf, dtype=np.float64) / CBF_UNIT / scheme.partition_coefficient
    return np.atleast_1d(1 / (1 / np.asarray(t1, dtype=np.float64) + flow))[:, None]


def _continuous(
    scheme: LabelingScheme, delay: Float, tau: Float, arrival: Float, t1_app: Float
) -> Float:
    age = delay + tau - arrival
    inflow = np.clip(age, 0, tau)
    gone = np.maximum(delay - arrival, 0)
    scale = 2 * scheme.efficiency * t1_app * np.exp(-arrival / scheme.t1_blood)
    return np.asarray(scale * np.exp(-gone / t1_app) * -np.expm1(-inflow / t1_app))


def _pulsed(
    scheme: LabelingScheme, delay: Float, tau: Float, arrival: Float, t1_app: Float
) -> Float:
    inflow = np.clip(delay - arrival, 0, tau)
    # ∫ over the arrival time u of exp(−u/T1b)·exp(−(TI − u)/T1'), from ATT to ATT + inflow.
    rate = 1 / scheme.t1_blood - 1 / t1_app
    x = rate * inflow
    mean = np.where(np.abs(x) < 1e-6, 1 - x / 2, -np.expm1(-x) / np.where(x == 0, 1, x))
    decay = np.exp(-arrival / scheme.t1_blood - np.maximum(delay - arrival, 0) / t1_app)
    return np.asarray(2 * scheme.efficiency * decay * inflow * mean)
