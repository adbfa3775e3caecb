"""From acquired M0 images to the M0 that CBF is divided by. Arrays (x, y, z); s and mm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from cereflow_bids.perfusion.constants import (
    FULL_RECOVERY_TR,
    LEAST_M0,
    M0_SMOOTHING_FWHM,
    T1_TISSUE,
)

Float = NDArray[np.float64]

_FWHM_TO_SIGMA = 1 / np.sqrt(8 * np.log(2))


def recovery_fraction(
    repetition_time: float, t1_tissue: float = T1_TISSUE, flip_angle: float = 90.0
) -> float:
    """Return the fraction of M0 that has recovered at the excitation.

    1 for TR ≥ 5 s, else (1 − E)/(1 − E·cos(flip angle)) with E = exp(−TR/T1t), which at 90° is
    the 1 − exp(−TR/T1t) of Alsop 2015.

    Parameters
    ----------
    repetition_time
        ``RepetitionTimePreparation`` of the M0 image, s, positive.
    t1_tissue
        T1 of tissue, s.
    flip_angle
        Degrees; what it leaves along the field need not recover.

    Examples
    --------
    >>> recovery_fraction(10), round(recovery_fraction(2.0, 1.2), 4)
    (1.0, 0.8111)
    """
    if not repetition_time > 0:
        raise ValueError(f"repetition time must be positive, in seconds; got {repetition_time}")
    if repetition_time >= FULL_RECOVERY_TR:
        return 1.0
    decay = np.exp(-repetition_time / t1_tissue)
    left = 0.0 if flip_angle == 90 else np.cos(np.radians(flip_angle))
    return float((1 - decay) / (1 - decay * left))


def flip_angle_factor(m0_flip_angle: float, asl_flip_angle: float) -> float:
    """Return sin(flip of ASL)/sin(flip of M0), which brings M0 to the excitation of ASL.

    Parameters
    ----------
    m0_flip_angle, asl_flip_angle
        Degrees, above 0 and below 180.

    Examples
    --------
    >>> round(flip_angle_factor(90, 30), 3)
    0.5
    """
    for name, angle in (("M0", m0_flip_angle), ("ASL", asl_flip_angle)):
        if not 0 < angle < 180:
            raise ValueError(f"flip angle of {name} must be from above 0 to 180, got {angle}")
    return float(np.sin(np.radians(asl_flip_angle)) / np.sin(np.radians(m0_flip_angle)))


def echo_time_factor(m0_echo_time: float, asl_echo_time: float, t2_star: float) -> float:
    """Return exp((TE_M0 − TE_ASL)/T2*), which brings M0 to the echo time of the ASL images.

    Parameters
    ----------
    m0_echo_time, asl_echo_time
        Echo times, s.
    t2_star
        T2* of tissue (T2 for spin echoes), s.
    """
    return float(np.exp((m0_echo_time - asl_echo_time) / t2_star))


def has_m0(m0: ArrayLike, mask: ArrayLike) -> NDArray[np.bool_]:
    """Tell where in the mask M0 is finite and at least a tenth of its median there (x, y, z)."""
    values, inside = np.asarray(m0, dtype=np.float64), np.asarray(mask, dtype=bool)
    positive = inside & np.isfinite(values) & (values > 0)
    if not positive.any():
        return np.asarray(positive)
    return np.asarray(positive & (values >= LEAST_M0 * np.median(values[positive])))


def smooth_m0(
    m0: ArrayLike,
    mask: ArrayLike,
    voxel_size: Sequence[float],
    fwhm: float = M0_SMOOTHING_FWHM,
) -> Float:
    """Smooth M0 inside the eroded mask and extrapolate it outwards.

    A Gaussian of brain voxels only (normalised convolution), so that neither CSF and scalp at the
    rim bleed in nor the background darkens it; beyond the reach of the kernel each voxel takes the
    nearest value.

    Parameters
    ----------
    m0
        M0 image (x, y, z); what `has_m0` says no to counts as missing.
    mask
        Brain mask (x, y, z).
    voxel_size
        Voxel edges, mm.
    fwhm
        Full width at half maximum of the Gaussian, mm; with 0 the values in the mask stay as they
        are.

    Returns
    -------
    ndarray
        Positive everywhere.

    Raises
    ------
    ValueError
        If no voxel of the mask has a positive M0.
    """
    values = np.asarray(m0, dtype=np.float64)
    valid = has_m0(values, mask)
    if not valid.any():
        raise ValueError("M0 is not positive anywhere in the brain mask")
    core = ndimage.binary_erosion(valid, border_value=1) if fwhm > 0 else valid
    weights = core if core.any() else valid
    sigma = fwhm * _FWHM_TO_SIGMA / np.asarray(voxel_size, dtype=np.float64)
    blur = ndimage.gaussian_filter(np.where(weights, values, 0.0), sigma, mode="constant")
    norm = ndimage.gaussian_filter(weights.astype(np.float64), sigma, mode="constant")
    reached = norm > 1e-3
    smooth = np.divide(blur, norm, out=np.zeros_like(blur), where=reached)
    nearest = ndimage.distance_transform_edt(
        ~reached, sampling=voxel_size, return_distances=False, return_indices=True
    )
    return np.asarray(smooth[tuple(nearest)], dtype=np.float64)
