"""The acquisition and assumptions table: every constant, its unit and where it came from."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from cereflow_bids.report.runs import RunRecord

LABELS = {
    "PostLabelingDelay": "Post-labelling delay",
    "LabelingDuration": "Labelling duration",
    "BolusCutOffDelayTime": "Bolus cut-off delay (TI1)",
    "LabelingEfficiency": "Labelling efficiency α",
    "BloodT1": "T1 of arterial blood",
    "T1Blood": "T1 of arterial blood",
    "TissueT1": "T1 of tissue",
    "T1Tissue": "T1 of tissue",
    "ArterialComponent": "Label in arteries",
    "ArterialBayesFactor": "Evidence for arteries needed",
    "ArterialBayesFactorAlone": "The same in a lone voxel",
    "PartitionCoefficient": "Blood-brain partition coefficient λ",
    "BloodBrainPartitionCoefficient": "Blood-brain partition coefficient λ",
    "RepetitionTimePreparation": "Repetition time of the preparation",
    "EchoTime": "Echo time",
    "M0Type": "Source of M0",
    "BackgroundSuppression": "Background suppression",
    "BackgroundSuppressionNumberPulses": "Background suppression pulses",
    "ArterialSpinLabelingType": "Labelling",
    "MRAcquisitionType": "Readout",
    "MagneticFieldStrength": "Field strength",
    "Manufacturer": "Manufacturer",
    "ManufacturersModelName": "Scanner model",
    "VoxelSize": "Voxel size",
    "NumberOfPairs": "Control-label pairs",
    "PulseSequenceType": "Pulse sequence",
    "TotalAcquiredPairs": "Acquired pairs",
    "M0Source": "Source of M0",
}
UNITS = {
    "MagneticFieldStrength": "T",
    "VoxelSize": "mm",
    "EchoTime": "s",
    "RepetitionTimePreparation": "s",
}
ASSUMED = "default"
CONSTANTS = {
    *("LabelingEfficiency", "T1Blood", "BloodT1", "T1Tissue", "TissueT1", "T2StarTissue"),
    *("PartitionCoefficient", "BloodBrainPartitionCoefficient", "ReferencePartitionCoefficient"),
    *("T1Reference", "T2Reference", "T2Blood"),
}
"""What the body or the labelling has, and could be measured; other defaults are choices."""


def label_of(name: str) -> str:
    """Return a parameter's name in plain words; unknown names are split at their capitals.

    Examples
    --------
    >>> label_of("EchoTime"), label_of("SliceTimingOffset")
    ('Echo time', 'Slice timing offset')
    """
    if name in LABELS:
        return LABELS[name]
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name.replace("_", " "))
    return words[:1].upper() + re.sub(r"\b[A-Z](?=[a-z])", lambda m: m[0].lower(), words[1:])


def value_of(value: Any) -> str:
    """Return a value as text; long lists become their number and range.

    Examples
    --------
    >>> value_of(1.8), value_of(True), value_of([2.5, 2.5, 4.0]), value_of(None)
    ('1.8', 'yes', '2.5, 2.5, 4', 'n/a')
    >>> value_of([0.05 * k for k in range(40)])
    '40 values, 0 to 1.95'
    """
    if value is None or value == "":
        return "n/a"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:.6g}"
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {value_of(item)}" for key, item in value.items())
    if not isinstance(value, Sequence):
        return str(value)
    numeric = all(isinstance(item, int | float) for item in value)
    if numeric and len(value) > 6:
        low, high = min(value), max(value)
        if low == high:
            return f"{len(value)} values, all {value_of(low)}"
        return f"{len(value)} values, {value_of(low)} to {value_of(high)}"
    return ", ".join(value_of(item) for item in value)


def acquisition_rows(record: RunRecord) -> list[tuple[str, str]]:
    """Return (what, value with unit) pairs of how the run was acquired."""
    rows = []
    for name, value in record.acquisition.items():
        text = value_of(value)
        if name == "VoxelSize" and not isinstance(value, str):
            text = " × ".join(f"{float(side):.3g}" for side in value)
        unit = UNITS.get(name, "")
        rows.append((label_of(name), f"{text} {unit}".strip() if text != "n/a" else text))
    return rows


def parameter_rows(record: RunRecord) -> list[dict[str, Any]]:
    """Return one row per parameter: label, BIDS name, value, unit, origin, note.

    ``assumed`` is true of a constant that nobody gave; not of a choice left at its default.
    """
    return [
        {
            "label": label_of(parameter["name"]),
            "name": parameter["name"],
            "value": value_of(parameter["value"]),
            "unit": "" if parameter.get("unit") in (None, "1") else parameter["unit"],
            "origin": parameter["origin"],
            "assumed": parameter["name"] in CONSTANTS
            and str(parameter["origin"]).startswith(ASSUMED),
            "note": parameter.get("note") or "",
        }
        for parameter in record.sidecar.get("Parameters", [])
    ]
