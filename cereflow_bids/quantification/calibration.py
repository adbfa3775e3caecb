"""Which M0 a run is divided by, and the constants that made it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cereflow_bids.bids.parameters import COMMAND_LINE, DEFAULT, DERIVED, SIDECAR, Parameter
from cereflow_bids.bids.run import AslRun
from cereflow_bids.errors import InputError
from cereflow_bids.perfusion import constants
from cereflow_bids.perfusion.calibration import (
    echo_time_factor,
    flip_angle_factor,
    recovery_fraction,
    smooth_m0,
)
from cereflow_bids.quantification.science import Science

Float = NDArray[np.floating]

_NOTES = {
    "separate": "the M0 image that goes with the run",
    "included": "mean of the M0 volumes of the series",
    "control": "mean of the unsuppressed control images",
}


def calibrate(
    run: AslRun,
    m0: Float | None,
    mask: NDArray[np.bool_],
    voxel_size: Sequence[float],
    science: Science,
) -> tuple[ArrayLike, list[Parameter], Float | None]:
    """Return what ΔM is divided by (as an M0 of tissue), the constants, and the M0 map.

    Parameters as for `quantification.quantify`.

    Raises
    ------
    InputError
        If M0 is not positive anywhere in the brain.
    """
    calibration = run.calibration
    if calibration.source == "estimate" and calibration.estimate is not None:
        value = calibration.estimate.value * constants.PARTITION_COEFFICIENT
        return value, [calibration.estimate], None
    if m0 is None:
        raise ValueError(f"{run.stem}: no M0 image was handed over")
    factor, used = _m0_factor(run, science)
    try:
        smooth = smooth_m0(m0 * factor, mask, voxel_size, science.m0_smoothing)
    except ValueError as error:
        raise InputError(
            f"{error}.", where=run.source, fix="check the M0 image, or set M0Type to Absent."
        ) from error
    origin = DEFAULT if science.m0_smoothing == constants.M0_SMOOTHING_FWHM else COMMAND_LINE
    used.append(Parameter("M0SmoothingFWHM", science.m0_smoothing, "mm", origin))
    return smooth, used, smooth * mask


def _m0_factor(run: AslRun, science: Science) -> tuple[float, list[Parameter]]:
    calibration = run.calibration
    source = Parameter("M0Source", calibration.source, "", SIDECAR, _NOTES[calibration.source])
    tr = calibration.repetition_time
    if tr is None:
        raise ValueError(f"{run.stem}: M0 images without a repetition time")
    used = [source, tr]
    if science.quantification == "ge-product":
        return 1.0, used
    flips = calibration.flip_angles
    recovery = recovery_fraction(tr.value, science.t1_tissue, 90.0 if flips is None else flips[0])
    if recovery < 1:
        origin = DEFAULT if science.t1_tissue == constants.T1_TISSUE else COMMAND_LINE
        used.append(Parameter("T1Tissue", science.t1_tissue, "s", origin))
    used.append(
        Parameter("M0RecoveryFraction", round(recovery, 4), "", DERIVED, "M0 was divided by it")
    )
    factor = 1.0
    if calibration.echo_times is not None:
        factor = echo_time_factor(*calibration.echo_times, constants.T2_STAR_TISSUE)
        note = "M0 was multiplied by it"
        used += [
            Parameter("T2StarTissue", constants.T2_STAR_TISSUE, "s", DEFAULT),
            Parameter("M0EchoTimeFactor", round(factor, 4), "", DERIVED, note),
        ]
    if flips is not None:
        ratio = flip_angle_factor(*flips)
        factor *= ratio
        note = "M0 was multiplied by it, to the flip angle of the Look-Locker readout"
        used += [
            Parameter("M0FlipAngle", flips[0], "degrees", SIDECAR),
            Parameter("M0FlipAngleFactor", round(ratio, 4), "", DERIVED, note),
        ]
    return factor / recovery, used
