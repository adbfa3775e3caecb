"""M0 of blood from cerebrospinal fluid or white matter, one number for the whole brain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cereflow_bids.bids.parameters import COMMAND_LINE, DEFAULT, DERIVED, SIDECAR, Parameter
from cereflow_bids.bids.run import AslRun
from cereflow_bids.errors import InputError
from cereflow_bids.perfusion import reference_region as reference
from cereflow_bids.perfusion.reference_region import BloodM0, ReferenceTissue, blood_m0
from cereflow_bids.quantification.science import Science
from cereflow_bids.quantification.tissues import Tissues

Float = NDArray[np.floating]
Bool = NDArray[np.bool_]

VENTRICLE_DEPTH = 15.0
"""Least distance of a CSF voxel from the edge of the brain mask, mm (our choice): nearer to it,
fluid shares its voxels with cortex, skull and vessels, and the template's fissures do not fit."""

_TISSUES = {"csf": reference.CSF, "wm": reference.WHITE_MATTER}


def find_blood_m0(
    run: AslRun,
    m0: Float,
    mask: Bool,
    *,
    voxel_size: Sequence[float],
    science: Science,
    tissues: Tissues | None,
) -> tuple[float, list[Parameter]]:
    """Return the M0 of blood at the echo time of the ASL images, with what made it.

    Parameters as for `quantification.quantify`; ``science.m0_reference`` names the tissue.

    Raises
    ------
    InputError
        If the run cannot be calibrated in this way.
    """
    tissue = _TISSUES[science.m0_reference]
    tr = run.calibration.repetition_time
    if tr is None or tissues is None:
        raise ValueError(f"{run.stem}: a reference region needs tissue fractions and a TR")
    _check(run, science)
    echoes = _echo_times(run)
    fraction = tissues.wm if science.m0_reference == "wm" else tissues.csf
    region = mask & (fraction >= reference.PURE_FRACTION)
    if science.m0_reference == "csf" and not mask.all():
        region &= ndimage.distance_transform_edt(mask, sampling=voxel_size) > VENTRICLE_DEPTH
    try:
        found = blood_m0(
            m0,
            region,
            tissue,
            repetition_time=tr.value,
            m0_echo_time=echoes[0],
            asl_echo_time=echoes[1],
        )
    except ValueError as error:
        raise InputError(
            f"--m0-reference {science.m0_reference} cannot be applied: {error}.",
            where=run.source,
            fix="use --m0-reference voxelwise, or another reference tissue, for this run.",
        ) from error
    return found.value, [tr, *_record(science, tissue, echoes, found)]


def _check(run: AslRun, science: Science) -> None:
    """Refuse what the equation of the reference tissue does not hold for."""
    why = ""
    if run.calibration.flip_angles is not None:
        why = "the readout is Look-Locker, and M0 has another flip angle"
    elif science.quantification == "ge-product":
        why = "--quantification ge-product divides by the proton density of each voxel"
    if why:
        raise InputError(
            f"--m0-reference {science.m0_reference} cannot be applied: {why}.",
            where=run.source,
            fix="use --m0-reference voxelwise.",
        )


def _echo_times(run: AslRun) -> tuple[float, float]:
    """Return the echo times of M0 and of the ASL images."""
    if run.calibration.echo_times is not None:
        return run.calibration.echo_times
    both = run.acquisition.get("EchoTime")
    if isinstance(both, bool) or not isinstance(both, int | float):
        raise InputError(
            f"EchoTime is {both}; M0 of blood from a reference tissue depends on it.",
            where=run.source,
            fix="give EchoTime, in seconds, as one number, or use --m0-reference voxelwise.",
        )
    return float(both), float(both)


def _record(
    science: Science, tissue: ReferenceTissue, echoes: tuple[float, float], found: BloodM0
) -> list[Parameter]:
    spread = 100 * found.spread / found.value
    return [
        Parameter("M0Reference", science.m0_reference, "", COMMAND_LINE, tissue.name),
        Parameter("M0ReferenceVoxels", found.voxels, "", DERIVED, "in which M0 was taken"),
        Parameter("M0ReferenceSpread", round(spread, 1), "%", DERIVED, "robust SD over median"),
        Parameter("T1Reference", tissue.t1, "s", DEFAULT),
        Parameter("T2Reference", tissue.t2, "s", DEFAULT),
        Parameter("T2Blood", reference.T2_BLOOD, "s", DEFAULT, "arterial blood at 3 T"),
        Parameter(
            "ReferencePartitionCoefficient",
            tissue.partition_coefficient,
            "mL/g",
            DEFAULT,
            "of the reference tissue against blood",
        ),
        Parameter("M0EchoTime", echoes[0], "s", SIDECAR),
        Parameter("EchoTime", echoes[1], "s", SIDECAR, "of the ASL images"),
        Parameter(
            "M0Blood",
            float(f"{found.value:.5g}"),
            "",
            DERIVED,
            "M0 of blood, one number for the whole brain; λ is not applied",
        ),
    ]
