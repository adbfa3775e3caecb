"""The labelling of one acquisition: what its series say, the user's answers, and BIDS arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cereflow_bids.intake.nifti import volumes
from cereflow_bids.intake.nifti.assembly import Assembly, repeated
from cereflow_bids.intake.parameters import acquisitions
from cereflow_bids.intake.parameters.answers import PROTOCOL_FILE, Answer, Answers
from cereflow_bids.intake.parameters.labeling import Known, Parameter, Parameters
from cereflow_bids.intake.parameters.protocol import Completed, complete, shown, supplied
from cereflow_bids.intake.vendors import ge

DELAY, DURATION, REPEATS, NEX = (
    "PostLabelingDelay",
    "LabelingDuration",
    "RepeatsPerDelay",
    "NumberOfExcitations",
)
SUPPRESSION = "BackgroundSuppression"
_BRIGHTNESS = "inferred (brightness of M0 against control)"
# Needed by every ASL run; dcm2niix reads them, unless somebody stripped the header.
_GENERAL = ("MagneticFieldStrength", "MRAcquisitionType", "EchoTime", "RepetitionTimePreparation")
# What leads to BIDS keys, but is none.
OURS = frozenset({REPEATS, NEX})


def stated(members: Sequence[Known], answers: Answers) -> dict[str, Parameter]:
    """Return what the headers of an acquisition's series say, several delays as a tuple.

    Parameters
    ----------
    members
        Its series, in acquired order.
    answers
        Where a protocol file gives each series a delay of its own, these are merged as well.
    """
    merged = dict(members[0].labeling.parameters)
    part = members[0].labeling.part
    if len(members) == 1 or part is None or part.by == "volume":
        own = [known.labeling.volume_delays or () for known in members]
        different = dict.fromkeys(value for values in own for value in values if value > 0)
        if different and all(own):
            origin = merged[DELAY].origin if DELAY in merged else "header"
            merged[DELAY] = Parameter(_single(tuple(different)), origin)
        return merged
    levels = acquisitions.delays(members, answers)
    if levels is not None:
        several = tuple(dict.fromkeys(levels)) if part.by == "pair" else tuple(levels)
        origin = merged[DELAY].origin if DELAY in merged else PROTOCOL_FILE
        if DELAY in merged or not _gives_list(members[0], answers):
            merged[DELAY] = Parameter(_single(several), origin)
    durations = [known.labeling.parameters.get(DURATION) for known in members]
    if None not in durations and part.by == "delay":
        values = tuple(parameter.value for parameter in durations if parameter is not None)
        merged[DURATION] = replace(merged[DURATION], value=_alike(values))
    return merged


def offered(members: Sequence[Known], answers: Answers, merged: Parameters) -> tuple[Answer, ...]:
    """Return the answers that concern an acquisition as a whole.

    A delay that the protocol file gives each series is in `merged` already.
    """
    said = answers.of(members[0])
    if DELAY in merged and merged[DELAY].origin == PROTOCOL_FILE:
        return tuple(
            Answer(one.origin, {key: v for key, v in one.values.items() if key != DELAY})
            for one in said
        )
    return said


def _gives_list(known: Known, answers: Answers) -> bool:
    return any(isinstance(one.values.get(DELAY), tuple) for one in answers.of(known))


def _single(values: Sequence[Any]) -> Any:
    return values[0] if len(values) == 1 else tuple(values)


def _alike(values: Sequence[Any]) -> Any:
    return values[0] if len(set(values)) == 1 else tuple(values)


# -- with the images -----------------------------------------------------------------------------


def completed(
    found: Assembly, base: Mapping[str, Any], answers: Answers, has_m0: bool
) -> Completed:
    """Return every BIDS value of an acquisition, arrays as BIDS wants them, and what is missing.

    Parameters
    ----------
    found
        The acquisition, its volumes told apart.
    base
        Publishable fields of its sidecars.
    answers
        What the user says.
    has_m0
        Whether a separate M0 is for it.
    """
    members = [scan.known for scan in found.scans]
    merged = stated(members, answers)
    # What the vendor's reader knows better than dcm2niix stands.
    merged = {**_general(found, base), **merged, **_measured(found, has_m0)}
    several = found.delay_index is None and _may_have_several(merged, members, answers)
    done = complete(merged, offered(members, answers, merged), _needed(merged, found.order.types))
    return _arrays(done, found, several)


def _needed(merged: Parameters, types: Sequence[str]) -> tuple[str, ...]:
    """Return what BIDS asks of this acquisition beside what it asks of every labelling."""
    needed = list(_GENERAL)
    acquisition = merged.get("MRAcquisitionType")
    if acquisition is not None and acquisition.value == "2D":
        needed.append("SliceTiming")
    if "deltam" in types:
        needed.append(NEX)
    if "LookLocker" in merged and merged["LookLocker"].value:
        needed.append("FlipAngle")
    return tuple(needed)


def _may_have_several(merged: Parameters, members: Sequence[Known], answers: Answers) -> bool:
    value = merged[DELAY].value if DELAY in merged else None
    return isinstance(value, tuple) or _gives_list(members[0], answers)


def _general(found: Assembly, base: Mapping[str, Any]) -> dict[str, Parameter]:
    """Return what dcm2niix read and BIDS requires, so that the user can supply what it did not."""
    keys = ("MagneticFieldStrength", "MRAcquisitionType", "EchoTime", "SliceTiming", "FlipAngle")
    general = {key: Parameter(base[key], "header (dcm2niix)") for key in keys if key in base}
    times = [scan.known.repetition_time for scan in found.scans]
    if None not in times:
        general["RepetitionTimePreparation"] = _repetition(found, [t or 0.0 for t in times])
    return general


def _repetition(found: Assembly, times: Sequence[float]) -> Parameter:
    origin = "header (0018,0080)"
    per_volume = [times[source.scan] for source in found.sources]
    if "deltam" in found.order.types:
        origin += "; 2 s of saturation recovery before the GE PD image"
        per_volume = [
            ge.SATURATION_RECOVERY if kind == "m0scan" else seconds
            for kind, seconds in zip(found.order.types, per_volume, strict=True)
        ]
    return Parameter(per_volume[0] if len(set(per_volume)) == 1 else per_volume, origin)


def _measured(found: Assembly, has_m0: bool) -> dict[str, Parameter]:
    """Return what the images say, rather than the labelling's tags."""
    measured: dict[str, Parameter] = {}
    types = found.order.types
    if "m0scan" in types:
        measured["M0Type"] = Parameter("Included", found.order.origin)
    elif has_m0:
        measured["M0Type"] = Parameter("Separate", "header (an M0 series of the same study)")
    else:
        measured["M0Type"] = Parameter("Absent", "no M0 volume, and no M0 series is for this run")
    if "deltam" not in types:
        measured["TotalAcquiredPairs"] = Parameter(found.order.pairs, "counted in the series")
    dark = volumes.suppressed(found.signal, types)
    if dark is not None:
        measured[SUPPRESSION] = Parameter(dark, _BRIGHTNESS)
    return measured


def disagreements(found: Assembly, done: Completed, answers: Answers) -> tuple[str, ...]:
    """Say so where headers and brightness disagree about background suppression."""
    said = stated([scan.known for scan in found.scans], answers).get(SUPPRESSION)
    used = done.parameters.get(SUPPRESSION)
    if said is None or used is None or used.origin != _BRIGHTNESS or said.value == used.value:
        return ()
    source = said.origin.partition("(")[2].rstrip(")") or said.origin
    seen = "far brighter than" if used.value else "about as bright as"
    return (
        f"{SUPPRESSION}: {shown(said.value)} by the header ({source}), but M0 is {seen} the "
        f"controls. The images were followed ({shown(used.value)}), because they show what was "
        "measured: check it.",
    )


def calibrated(known: Known, base: Mapping[str, Any], answers: Answers) -> Completed:
    """Return what BIDS asks of a separate M0, from its header or a protocol file."""
    keys = ("EchoTime", "RepetitionTimePreparation")
    found = {key: Parameter(base[key], "header (dcm2niix)") for key in keys if key in base}
    if known.repetition_time is not None:
        origin = "header (0018,0080)"
        found["RepetitionTimePreparation"] = Parameter(known.repetition_time, origin)
    said = [
        Answer(one.origin, {key: value for key, value in one.values.items() if key in keys})
        for one in answers.of(known)
    ]
    return supplied(found, said, keys)


def _arrays(done: Completed, found: Assembly, several: bool) -> Completed:
    """Expand values per delay to values per volume, as BIDS wants them; drop what is only ours."""
    parameters = dict(done.parameters)
    conflicts, missing = list(done.conflicts), list(done.missing)
    index = found.delay_index
    if several and DELAY in parameters and isinstance(parameters[DELAY].value, tuple):
        index, problem = _repeats(parameters, found)
        conflicts += [problem] if problem else []
        missing += [REPEATS] if index is None and not _has_one_delay(found) else []
    conflicts += _gaps(parameters, found)
    for key in (DELAY, DURATION):
        value = parameters[key].value if key in parameters else None
        if isinstance(value, tuple):
            array = _spread(value, index)
            if array is None:
                del parameters[key]
                missing += [key] if REPEATS not in missing else []
            else:
                parameters[key] = replace(parameters[key], value=array)
    if "deltam" in found.order.types and NEX in parameters:
        numbers = excitations(found, done.parameters)
        total = sum(
            numbers[source.scan]
            for source, kind in zip(found.sources, found.order.types, strict=True)
            if kind == "deltam"
        )
        parameters["TotalAcquiredPairs"] = replace(parameters[NEX], value=total)
    return Completed(parameters, tuple(conflicts), tuple(dict.fromkeys(missing)))


def excitations(found: Assembly, parameters: Parameters) -> list[int]:
    """Return the number of excitations of each series; 1 where nobody knows it."""
    stated_or_given = parameters.get(NEX)
    fallback = int(stated_or_given.value) if stated_or_given is not None else 1
    own = [scan.known.labeling.parameters.get(NEX) for scan in found.scans]
    # An inferred number has given way to the user's.
    return [int(one.value) if one is not None and one.from_header else fallback for one in own]


def _repeats(parameters: Parameters, found: Assembly) -> tuple[tuple[int, ...] | None, str]:
    """Tell which volume has which of several delays in one series, and what speaks against it."""
    delays, units = parameters[DELAY].value, found.units
    if _has_one_delay(found):
        return None, (
            f"{DELAY}: {len(delays)} values do not fit a series of one delay; give one value per "
            "series of the acquisition, in the order of their numbers"
        )
    given = parameters.get(REPEATS)
    if given is None:
        if len(delays) == units:
            return repeated(found.order.types, [1] * units), ""
        return None, ""
    counts = given.value if isinstance(given.value, tuple) else (given.value,)
    counts = counts * len(delays) if len(counts) == 1 else counts
    if len(counts) != len(delays) or sum(counts) != units:
        listed = " ".join(str(count) for count in counts)
        return None, (
            f"{REPEATS}: {listed} do not fit {len(delays)} delays and {units} pairs in the series"
        )
    return repeated(found.order.types, counts), ""


def _has_one_delay(found: Assembly) -> bool:
    """Tell whether the series cannot hold several delays; where it does, its header tells them."""
    known, part = found.scans[0].known, found.scans[0].known.labeling.part
    by_series = part is not None and part.by == "delay"
    return len(found.scans) == 1 and (
        known.vendor == "philips" or (known.vendor == "ge" and by_series)
    )


def _gaps(parameters: Parameters, found: Assembly) -> list[str]:
    """Say where delays and durations of one time-encoded labelling do not follow each other."""
    values = [parameters[key].value for key in (DELAY, DURATION) if key in parameters]
    several = len(values) == 2 and all(isinstance(value, tuple) for value in values)
    one_labelling = len(found.scans) == 1 and found.scans[0].known.vendor == "ge"
    return list(ge.gaps(*values)) if several and one_labelling else []


def _spread(values: tuple[float, ...], index: tuple[int, ...] | None) -> list[float] | None:
    if index is None or max(index) >= len(values):
        return None
    return [0.0 if place < 0 else float(values[place]) for place in index]
