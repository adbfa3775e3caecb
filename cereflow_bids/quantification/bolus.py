"""The bolus of pulsed labelling that no pulse cuts off."""

from __future__ import annotations

from dataclasses import replace

from cereflow_bids.bids.parameters import COMMAND_LINE, Parameter
from cereflow_bids.bids.run import AslRun
from cereflow_bids.quantification.science import Science


def with_bolus(run: AslRun, science: Science) -> AslRun:
    """Return the run with the bolus duration that the user knows, where the sequence sets none.

    Parameters
    ----------
    run
        Validated metadata.
    science
        The user's choices; a bolus that is cut off keeps its own duration.
    """
    if science.bolus_duration is None:
        return run
    if not _unknown(run):
        return replace(run, notes=(*run.notes, _HAS_ITS_OWN)) if _is_pulsed(run) else run
    note = "of a bolus that is not cut off; how long it is depends on the flow in the neck"
    bolus = Parameter("BolusDuration", science.bolus_duration, "s", COMMAND_LINE, note)
    return replace(run, labeling=replace(run.labeling, bolus_cutoff=bolus))


def bolus_refusal(run: AslRun) -> str:
    """Return why there is no absolute CBF without the duration of the bolus; empty if known."""
    if not _unknown(run):
        return ""
    return (
        "PASL without a bolus cut-off (BolusCutOffFlag is not true): how much blood was labelled "
        "is unknown. Supply BolusCutOffFlag and BolusCutOffDelayTime if the sequence has one, or "
        "--bolus-duration if you know how long the bolus is."
    )


_HAS_ITS_OWN = (
    "--bolus-duration was not applied: the sequence cuts the bolus off, and its own duration "
    "counts."
)


def _is_pulsed(run: AslRun) -> bool:
    return run.labeling.kind == "PASL"


def _unknown(run: AslRun) -> bool:
    return _is_pulsed(run) and run.labeling.bolus_cutoff is None
