"""What a reactivity map says of its making."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cereflow_bids.bids.parameters import DEFAULT, Parameter
from cereflow_bids.bids.reactivity_pairs import Pair
from cereflow_bids.imaging.alignment import GOOD_OVERLAP, Alignment
from cereflow_bids.perfusion.reactivity import MINIMUM_BASELINE

METHOD = "cerebrovascular reactivity: 100 x (stimulus - baseline) / baseline"
ESTIMATED = "estimated from the data"

Record = Mapping[str, Any]


def sidecar(pair: Pair, records: Sequence[Record], alignment: Alignment) -> dict[str, Any]:
    """Return the metadata that the maps of a pair share.

    Parameters
    ----------
    pair
        The runs.
    records
        Sidecars of their CBF maps: baseline, stimulus.
    alignment
        Of the stimulus run to the baseline run.
    """
    minimum = Parameter(
        "MinimumBaselineCBF",
        MINIMUM_BASELINE,
        "mL/100 g/min",
        DEFAULT,
        "Where the baseline is lower, a percentage of it says nothing and the map has no value.",
    )
    runs = zip((pair.baseline, pair.stimulus), pair.marks, records, strict=True)
    baseline, stimulus = (_run(run, mark, record) for run, mark, record in runs)
    return {
        "Sources": [*_maps(pair), *(s for one in records for s in one.get("Sources", []))],
        "Quantification": METHOD,
        "Parameters": [minimum.as_json()],
        "Baseline": baseline,
        "Stimulus": stimulus,
        "Alignment": {
            "Shift": round(alignment.shift, 3),
            "ShiftUnits": "mm",
            "Angle": round(alignment.angle, 3),
            "AngleUnits": "degrees",
            "MaskOverlap": round(alignment.overlap, 4),
        },
        "Notes": [*_alignment_notes(alignment), *differences(pair, records), *_WARNINGS],
    }


def notes_on_values(undefined: float, error: float | None) -> list[str]:
    """Return sentences on voxels without a value and on the standard error.

    Parameters
    ----------
    undefined
        Fraction of the brain voxels of both runs where the baseline is too low.
    error
        Median standard error of the voxels, %; None where one of the runs has none.
    """
    notes = [
        f"{100 * undefined:.1f} % of the brain voxels of both runs have no reactivity, because "
        f"their baseline CBF is below {MINIMUM_BASELINE:g} mL/100 g/min."
    ]
    if error is None:
        notes.append(
            "There is no standard error, because one of the runs has none: it takes at least two "
            "pairs in each."
        )
    else:
        notes.append(
            f"Half of the voxels have a standard error above {error:.0f} % (in percent of the "
            "baseline, as the reactivity is): in a single voxel a change below twice its own "
            "standard error cannot be told from noise."
        )
    return notes


def differences(pair: Pair, records: Sequence[Record]) -> list[str]:
    """Return one sentence for each constant or method that the two runs do not share."""
    baseline, stimulus = records
    notes = []
    methods = [str(one.get("Quantification", "unknown")) for one in records]
    if methods[0] != methods[1]:
        notes.append(
            f"The runs were quantified differently ({pair.baseline}: {methods[0]}; "
            f"{pair.stimulus}: {methods[1]}): part of the change may come from that."
        )
    before, after = (_constants(one) for one in (baseline, stimulus))
    for name in [*before, *(name for name in after if name not in before)]:
        values = before.get(name), after.get(name)
        if values[0] != values[1]:
            notes.append(
                f"{name} differs between the runs (baseline {_told(values[0])}, stimulus "
                f"{_told(values[1])}): part of the change may come from that."
            )
    return notes


_WARNINGS = (
    "CVR needs both scans quantified with the same constants. An error of a constant that both "
    "share cancels; T1 of blood and labelling efficiency change with a gas challenge or a faster "
    "flow, and that is not modelled.",
    "The stimulus run was interpolated once to the grid of the baseline run, and is a little "
    "smoother than it by that. Its standard error was brought over as a map; that interpolation "
    "averages noise is not taken off.",
)


def _run(run: str, mark: str, record: Record) -> dict[str, Any]:
    kept = {key: record[key] for key in ("Quantification", "Parameters") if key in record}
    return {"Run": run, "MarkedBy": mark} | kept


def _maps(pair: Pair) -> list[str]:
    """Return BIDS URIs of the CBF maps, which lie in the same dataset as the result."""
    folder = "/".join(pair.group.split("_"))
    return [f"bids::{folder}/perf/{run}_cbf.nii.gz" for run in (pair.baseline, pair.stimulus)]


def _alignment_notes(alignment: Alignment) -> list[str]:
    notes = [
        "The stimulus run was registered rigidly to the baseline run: the head had moved by "
        f"{alignment.shift:.1f} mm and turned by {alignment.angle:.1f} degrees."
    ]
    if alignment.overlap < GOOD_OVERLAP:
        notes.append(
            f"After that the brain masks overlap by {100 * alignment.overlap:.0f} % only: look at "
            "the picture of the registration before using the map."
        )
    return notes


def _constants(record: Record) -> dict[str, tuple[Any, str]]:
    """Return value and unit of what was chosen or measured, not of what was fitted."""
    return {
        one["name"]: (one["value"], one.get("unit", ""))
        for one in record.get("Parameters", [])
        if not str(one.get("note", "")).lower().startswith(ESTIMATED)
    }


def _told(value: tuple[Any, str] | None) -> str:
    return "none" if value is None else f"{value[0]} {value[1]}".strip()
