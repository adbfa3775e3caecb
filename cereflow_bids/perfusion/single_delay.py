"""CBF from one delay. All arguments broadcast against each other; times in seconds."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cereflow_bids.perfusion.constants import CBF_UNIT, PARTITION_COEFFICIENT

Float = NDArray[np.float64]

GE_SATURATION_TIME = 2.0
GE_T1_TISSUE = 1.2
GE_EFFICIENCY = 0.6
GE_T1_BLOOD_3T = 1.6
GE_T1_BLOOD_1_5T = 1.4


def pcasl_cbf(
    deltam: ArrayLike,
    m0: ArrayLike,
    *,
    post_labeling_delay: ArrayLike,
    labeling_duration: ArrayLike,
    labeling_efficiency: float,
    t1_blood: float,
    partition_coefficient: float = PARTITION_COEFFICIENT,
) -> Float:
    """CBF of (P)CASL by the consensus equation (Alsop 2015, eq. 1, doi:10.1002/mrm.25197).

    ``f = 6000·λ·ΔM·exp(PLD/T1b) / (2·α·T1b·M0·(1 − exp(−τ/T1b)))``

    Parameters
    ----------
    deltam
        Control minus label, any shape, in the unit of `m0`.
    m0
        Fully relaxed equilibrium signal of tissue; NaN results where it is not positive.
    post_labeling_delay
        PLD, s; an array that broadcasts, such as (1, 1, z), gives each slice its own delay.
    labeling_duration
        τ, s.
    labeling_efficiency, t1_blood, partition_coefficient
        α, T1b (s), λ (mL/g).

    Returns
    -------
    ndarray
        CBF, mL/100 g/min.

    Examples
    --------
    >>> f = pcasl_cbf(10, 1000, post_labeling_delay=1.8, labeling_duration=1.8,
    ...               labeling_efficiency=0.85, t1_blood=1.65)
    >>> round(float(f), 3)
    86.3
    """
    tau = _positive(labeling_duration, "labeling_duration")
    decay = np.exp(_delay(post_labeling_delay) / t1_blood)
    inflow = t1_blood * (1 - np.exp(-tau / t1_blood))
    scale = CBF_UNIT * partition_coefficient * decay / (2 * labeling_efficiency * inflow)
    return scale * _ratio(deltam, m0)


def pasl_cbf(
    deltam: ArrayLike,
    m0: ArrayLike,
    *,
    inversion_time: ArrayLike,
    bolus_cutoff: float,
    labeling_efficiency: float,
    t1_blood: float,
    partition_coefficient: float = PARTITION_COEFFICIENT,
) -> Float:
    """CBF of PASL with a defined bolus, QUIPSS II or Q2TIPS (Alsop 2015, eq. 2).

    ``f = 6000·λ·ΔM·exp(TI/T1b) / (2·α·TI1·M0)``

    Parameters
    ----------
    deltam, m0, labeling_efficiency, t1_blood, partition_coefficient
        As for `pcasl_cbf`.
    inversion_time
        TI, s: from labelling to readout, BIDS ``PostLabelingDelay``.
    bolus_cutoff
        TI1, s: BIDS ``BolusCutOffDelayTime``, the first value for Q2TIPS.

    Returns
    -------
    ndarray
        CBF, mL/100 g/min.

    Examples
    --------
    >>> f = pasl_cbf(10, 1000, inversion_time=1.8, bolus_cutoff=0.8,
    ...              labeling_efficiency=0.98, t1_blood=1.65)
    >>> round(float(f), 3)
    102.524
    """
    ti1 = _positive(bolus_cutoff, "bolus_cutoff")
    decay = np.exp(_delay(inversion_time) / t1_blood)
    scale = CBF_UNIT * partition_coefficient * decay / (2 * labeling_efficiency * ti1)
    return scale * _ratio(deltam, m0)


def ge_product_cbf(
    deltam: ArrayLike,
    proton_density: ArrayLike,
    *,
    post_labeling_delay: ArrayLike,
    labeling_duration: ArrayLike,
    t1_blood: float = GE_T1_BLOOD_3T,
    partition_coefficient: float = PARTITION_COEFFICIENT,
) -> Float:
    """CBF by the equation of the GE product (3D spiral FSE).

    ``f = 6000·λ·(1 − exp(−ST/T1t))·exp(PLD/T1b) / (2·T1b·(1 − exp(−τ/T1b))·ε) · ΔM/PD`` with ST 2
    s, T1t 1.2 s and ε 0.6. It is the consensus equation with M0 = PD/(1 − exp(−ST/T1t)) and α = ε.

    Parameters
    ----------
    deltam
        PW/(SF·NEX): the perfusion-weighted sum divided by its scale factor (32) and the number of
        excitations.
    proton_density
        PD image, saturation-prepared 2 s before the readout, in the unit of `deltam`.
    post_labeling_delay, labeling_duration
        PLD and τ, s.
    t1_blood
        1.6 s at 3 T, 1.4 s at 1.5 T in the product.
    partition_coefficient
        λ, mL/g.

    Returns
    -------
    ndarray
        CBF, mL/100 g/min.

    Examples
    --------
    >>> f = ge_product_cbf(500 / (32 * 3), 1000, post_labeling_delay=2.025, labeling_duration=1.45)
    >>> round(float(f), 3)
    70.683
    """
    recovery = 1 - np.exp(-GE_SATURATION_TIME / GE_T1_TISSUE)
    return pcasl_cbf(
        deltam,
        np.asarray(proton_density, dtype=np.float64) / recovery,
        post_labeling_delay=post_labeling_delay,
        labeling_duration=labeling_duration,
        labeling_efficiency=GE_EFFICIENCY,
        t1_blood=t1_blood,
        partition_coefficient=partition_coefficient,
    )


def slice_delays(
    post_labeling_delay: float, slice_timing: ArrayLike, axis: int, ndim: int = 3
) -> Float:
    """Return the delay of each slice of a 2D readout, PLD + SliceTiming[k], ready to broadcast.

    Parameters
    ----------
    post_labeling_delay
        PLD of the first readout, s.
    slice_timing
        Time of each slice after the first readout, (n_slices,), s, in the order of the image.
    axis
        Slice axis of the image.
    ndim
        Number of axes of the image.

    Returns
    -------
    ndarray
        Shape with n_slices along `axis` and 1 elsewhere.

    Examples
    --------
    >>> slice_delays(1.8, [0.5, 0], axis=2).ravel().tolist()
    [2.3, 1.8]
    """
    timing = np.asarray(slice_timing, dtype=np.float64)
    if timing.ndim != 1 or not np.all(timing >= 0):
        raise ValueError("slice timing must be a list of times that are 0 or more, in seconds")
    shape = [1] * ndim
    shape[axis] = timing.size
    delays: Float = post_labeling_delay + timing.reshape(shape)
    return delays


def _ratio(deltam: ArrayLike, m0: ArrayLike) -> Float:
    """ΔM/M0, NaN where M0 is not a positive number, so that no Inf and no silent zero arises."""
    numerator, denominator = np.broadcast_arrays(
        np.asarray(deltam, dtype=np.float64), np.asarray(m0, dtype=np.float64)
    )
    ratio: Float = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=ratio, where=denominator > 0)
    return ratio


def _delay(value: ArrayLike) -> Float:
    delay = np.asarray(value, dtype=np.float64)
    if not np.all(delay >= 0):
        raise ValueError(f"delays must be 0 or more, in seconds; got {np.min(delay)}")
    return delay


def _positive(value: ArrayLike, name: str) -> Float:
    number = np.asarray(value, dtype=np.float64)
    if not np.all(number > 0):
        raise ValueError(f"{name} must be positive, in seconds; got {np.min(number)}")
    return number
