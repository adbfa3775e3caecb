"""Which M0 a run is divided by, and the constants that made it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cereflow_bids.bids.parameters import COMMAND_LINE, DEFAULT, DERIVED, SIDECAR, Parameter
from cereflow_bids.bids.run import AslRun
from cereflow_bids.errors import InputError
from cereflow_bids.perfusion import constants
from cereflow_bids.perfusion.calibration import (
    echo_time_factor,
    flip_angle_factor,
    has_m0,
    recovery_fraction,
    smooth_m0,
)
from cereflow_bids.quantification.m0_reference import find_blood_m0
from cereflow_bids.quantification.science import Science
from cereflow_bids.quantification.tissues import Tissues

Float = NDArray[np.floating]

_NOTES = {
    "separate": "the M0 image that goes with the run",
    "included": "mean of the M0 volumes of the series",
    "control": "mean of the unsuppressed control images",
}


@dataclass(frozen=True)
class Calibrated:
    """What ΔM is divided by.

    Attributes
    ----------
    scale
        As an M0 of tissue: (x, y, z), or one number where it is λ times an M0 of blood.
    parameters
        The constants that made it.
    image
        The map of `scale`, (x, y, z), 0 outside the mask; None for a number of the dataset's.
    of_blood
        Whether M0 is that of blood, so that λ cancels.
    notes
        Sentences for the report.
    acquired
        The M0 image as acquired (x, y, z), whose contrast tells tissues apart; None without one.
    """

    scale: ArrayLike
    parameters: tuple[Parameter, ...]
    image: Float | None = None
    of_blood: bool = False
    notes: tuple[str, ...] = ()
    acquired: Float | None = None


def calibrate(
    run: AslRun,
    m0: Float | None,
    mask: NDArray[np.bool_],
    *,
    voxel_size: Sequence[float],
    science: Science,
    tissues: Tissues | None = None,
) -> Calibrated:
    """Return what ΔM is divided by.

    Parameters as for `quantification.quantify`.

    Raises
    ------
    InputError
        If M0 is not positive anywhere in the brain, or the reference tissue cannot serve.
    """
    estimate = run.calibration.estimate
    if estimate is not None:
        notes = (_GIVEN,) if science.m0_reference != "voxelwise" else ()
        scale = estimate.value * constants.PARTITION_COEFFICIENT
        return Calibrated(scale, (estimate,), of_blood=True, notes=notes)
    if m0 is None:
        raise ValueError(f"{run.stem}: no M0 image was handed over")
    if science.m0_reference == "voxelwise":
        return _voxelwise(run, m0, mask, voxel_size, science)
    value, used = find_blood_m0(
        run, m0, mask, voxel_size=voxel_size, science=science, tissues=tissues
    )
    scale = value * constants.PARTITION_COEFFICIENT
    image = np.where(mask, scale, 0.0)
    return Calibrated(scale, (_source(run), *used), image, of_blood=True, notes=(_UNIFORM,))


_GIVEN = "M0 of blood is given in the dataset, so that --m0-reference was not applied."
_UNIFORM = (
    "M0 is one number for the whole brain: unlike a map it does not correct for the sensitivity "
    "of the receiver coils."
)


def _voxelwise(
    run: AslRun,
    m0: Float,
    mask: NDArray[np.bool_],
    voxel_size: Sequence[float],
    science: Science,
) -> Calibrated:
    factor, used = _m0_factor(run, science)
    try:
        smooth = smooth_m0(m0 * factor, mask, voxel_size, science.m0_smoothing)
    except ValueError as error:
        raise InputError(
            f"{error}.", where=run.source, fix="check the M0 image, or set M0Type to Absent."
        ) from error
    origin = DEFAULT if science.m0_smoothing == constants.M0_SMOOTHING_FWHM else COMMAND_LINE
    used.append(Parameter("M0SmoothingFWHM", science.m0_smoothing, "mm", origin))
    missing = int(np.count_nonzero(mask & ~has_m0(m0, mask)))
    share = f"{missing} of {np.count_nonzero(mask)} voxels of the brain"
    least = f"{100 * constants.LEAST_M0:.0f} % of its median"
    notes = (f"M0 is less than {least} in {share}: there the M0 of their neighbours was taken.",)
    return Calibrated(smooth, tuple(used), smooth * mask, notes=notes if missing else ())


def _source(run: AslRun) -> Parameter:
    source = run.calibration.source
    return Parameter("M0Source", source, "", SIDECAR, _NOTES[source])


def _m0_factor(run: AslRun, science: Science) -> tuple[float, list[Parameter]]:
    calibration = run.calibration
    tr = calibration.repetition_time
    if tr is None:
        raise ValueError(f"{run.stem}: M0 images without a repetition time")
    used = [_source(run), tr]
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
            Parameter("M0EchoTime", calibration.echo_times[0], "s", SIDECAR),
            Parameter("EchoTime", calibration.echo_times[1], "s", SIDECAR, "of the ASL images"),
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
