"""Which equation a run is quantified by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from numpy.typing import ArrayLike

from cereflow_bids.bids.parameters import COMMAND_LINE, DEFAULT, Parameter
from cereflow_bids.bids.run import AslRun, Labeling
from cereflow_bids.errors import InputError
from cereflow_bids.perfusion import single_delay
from cereflow_bids.perfusion.constants import PARTITION_COEFFICIENT
from cereflow_bids.quantification.science import Science

PARTITION = Parameter("BloodBrainPartitionCoefficient", PARTITION_COEFFICIENT, "mL/g", DEFAULT)


@dataclass(frozen=True)
class Equation:
    """CBF as a function of ΔM and M0, and what the report says of it."""

    cbf: Callable[[ArrayLike, ArrayLike], Any]
    method: str
    reference: str
    parameters: tuple[Parameter, ...]


def choose_equation(run: AslRun, science: Science) -> Equation:
    """Return the equation for a run's labelling, with every constant bound.

    Raises
    ------
    InputError
        If the GE product's equation is asked for on data that is not the GE product's.
    """
    delay = _delay(run.labeling)
    if science.quantification == "ge-product":
        return _ge_product(run, delay)
    return _pasl(run.labeling, delay) if run.labeling.kind == "PASL" else _pcasl(run, delay)


def notes_of_one_delay(science: Science, *, alone: bool) -> tuple[str, ...]:
    """Return what the report says of a run with one delay; `alone` if of one difference only."""
    notes = []
    if alone:
        notes.append("One difference only: the standard error of CBF is unknown.")
    if science.kinetic_model == "full":
        notes.append("The run has one delay, so that --kinetic-model full was not applied.")
    return tuple(notes)


def _delay(labeling: Labeling) -> ArrayLike:
    if labeling.slice_timing is None:
        return float(labeling.post_labeling_delay.value)
    return single_delay.slice_delays(
        labeling.post_labeling_delay.value, labeling.slice_timing, labeling.slice_axis
    )


def _pcasl(run: AslRun, delay: ArrayLike) -> Equation:
    labeling = run.labeling
    cbf = partial(
        single_delay.pcasl_cbf,
        post_labeling_delay=delay,
        labeling_duration=_value(labeling.labeling_duration),
        labeling_efficiency=labeling.efficiency.value,
        t1_blood=labeling.t1_blood.value,
        partition_coefficient=PARTITION.value,
    )
    return Equation(
        cbf,
        f"consensus, single delay, {labeling.kind}",
        "Alsop 2015, doi:10.1002/mrm.25197, eq. 1",
        (*labeling.parameters(), PARTITION),
    )


def _pasl(labeling: Labeling, delay: ArrayLike) -> Equation:
    cbf = partial(
        single_delay.pasl_cbf,
        inversion_time=delay,
        bolus_cutoff=_value(labeling.bolus_cutoff),
        labeling_efficiency=labeling.efficiency.value,
        t1_blood=labeling.t1_blood.value,
        partition_coefficient=PARTITION.value,
    )
    return Equation(
        cbf,
        "consensus, single delay, PASL",
        "Alsop 2015, doi:10.1002/mrm.25197, eq. 2",
        (*labeling.parameters(), PARTITION),
    )


def _ge_product(run: AslRun, delay: ArrayLike) -> Equation:
    measured = run.volumes("deltam") and run.labeling.kind == "PCASL"
    if not measured or run.calibration.source != "included":
        raise InputError(
            "--quantification ge-product needs a GE PCASL series of perfusion-weighted and proton "
            "density volumes.",
            where=run.source,
            fix="use --quantification consensus.",
        )
    labeling = run.labeling
    low_field = run.acquisition.get("MagneticFieldStrength", 3) < 2
    t1_blood = single_delay.GE_T1_BLOOD_1_5T if low_field else single_delay.GE_T1_BLOOD_3T
    cbf = partial(
        single_delay.ge_product_cbf,
        post_labeling_delay=delay,
        labeling_duration=_value(labeling.labeling_duration),
        t1_blood=t1_blood,
    )
    constants = {
        "LabelingEfficiency": (single_delay.GE_EFFICIENCY, ""),
        "T1Blood": (t1_blood, "s"),
        "T1Tissue": (single_delay.GE_T1_TISSUE, "s"),
        "SaturationTime": (single_delay.GE_SATURATION_TIME, "s"),
    }
    kept = [p for p in labeling.parameters() if p.name not in constants]
    product = [Parameter(n, v, u, COMMAND_LINE, "GE product") for n, (v, u) in constants.items()]
    return Equation(cbf, "GE product", "docs/equations.md", (*kept, *product, PARTITION))


def _value(parameter: Parameter | None) -> float:
    if parameter is None:
        raise ValueError("the labelling lacks a duration that its kind needs")
    return float(parameter.value)
