"""The volumes of a perfusion run: scaled, written, and traced to the series they come from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cereflow_bids.intake.nifti import images, merging
from cereflow_bids.intake.nifti.assembly import Assembly
from cereflow_bids.intake.parameters.protocol import Completed


def factors(found: Assembly, done: Completed, gains: Sequence[float]) -> list[float]:
    """Return what each volume is multiplied by: GE's PW to the units of its PD, and its gain."""
    numbers = merging.excitations(found, done.parameters)
    return [
        gains[source.scan]
        / (found.scans[source.scan].known.labeling.divisor * numbers[source.scan])
        if kind == "deltam"
        else gains[source.scan]
        for source, kind in zip(found.sources, found.order.types, strict=True)
    ]


def write(found: Assembly, factors: Sequence[float], target: Path) -> None:
    """Copy a single image bit by bit where nothing is to be done to it, else join volumes."""
    places = [(found.scans[one.scan].files[one.file], one.index) for one in found.sources]
    whole = len({path for path, _ in places}) == 1 and set(factors) == {1.0}
    if whole and [index for _, index in places] == list(range(len(places))):
        images.publish(places[0][0], target)
    else:
        numbers = ", ".join(str(scan.known.number) for scan in found.scans)
        images.join(places, factors, target, f"series {numbers}")


def traces(found: Assembly, done: Completed, gains: Sequence[float]) -> list[dict[str, Any]]:
    """Say of every series which volumes it became, and how they were scaled."""
    numbers = merging.excitations(found, done.parameters)
    result = []
    for number, scan in enumerate(found.scans):
        own = [k for k, source in enumerate(found.sources) if source.scan == number]
        trace: dict[str, Any] = {"SeriesNumber": scan.known.number, "Volumes": own}
        if any(found.order.types[k] == "deltam" for k in own):
            trace["ScalingFactor"] = scan.known.labeling.divisor
            trace["NumberOfExcitations"] = numbers[number]
            trace["GainCorrection"] = round(gains[number], 6)
        slopes = scan.sidecars[0].items()
        trace |= {key: value for key, value in slopes if key.startswith("Philips")}
        result.append(trace)
    return result


def scaling(found: Assembly, done: Completed) -> dict[str, Any]:
    """Say how perfusion-weighted images got the units of M0; lists where series differ."""

    def alike(values: list[Any]) -> Any:
        return values[0] if len(set(values)) == 1 else values

    total = done.parameters.get("TotalAcquiredPairs")
    return {
        "TotalAcquiredPairs": None if total is None else total.value,
        "Description": "deltam = PW / (ScalingFactor x NumberOfExcitations); applied",
        "ScalingFactor": alike([scan.known.labeling.divisor for scan in found.scans]),
        "NumberOfExcitations": alike(merging.excitations(found, done.parameters)),
    }
