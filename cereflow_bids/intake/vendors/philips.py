"""Philips ASL source images: what they are, and the little that their headers tell of labelling.

No header holds the labelling duration, and only multiphase scans tell their delays: (0018,1060)
is the delay there, but the start of the dynamic in all others. A name may hold both.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from cereflow_bids.errors import InputError
from cereflow_bids.intake import heuristic
from cereflow_bids.intake.headers.dicom_image import PHILIPS_SCALE, number
from cereflow_bids.intake.headers.series import Series, functional_value
from cereflow_bids.intake.parameters.labeling import Labeling, Parameter, Part
from cereflow_bids.intake.vendors.philips_volumes import Volume, own_item, volumes

DYNAMIC_BEGIN = (0x2005, 0x10A0)
NUMBER_OF_PHASES = (0x2001, 0x1017)
_STANDARD_TYPES = {"PSEUDOCONTINUOUS": "PCASL", "CONTINUOUS": "CASL", "PULSED": "PASL"}
_NAMED_TYPES = (
    ("PCASL", r"p(?:seudo)?[_ -]?casl"),
    ("PASL", r"pasl|pulsed|quasar|(?:^|[^a-z])(?:epi)?star(?![a-z])"),
    ("CASL", r"casl"),
)
_TRIGGER = "TriggerDelayTime"
_DISPLAY = (
    "The header lacks Philips' scale slope (2005,100E): the values are those for display, which "
    "can be compared within the series alone, not with a separate M0 or another delay."
)
_ONE_DYNAMIC = (
    "The header does not tell the time from one labelling to the next: RepetitionTimePreparation "
    "is the time between two phases."
)
FROM_NAME = "inferred from the series' name"
# A number, perhaps with a unit, that is not the first of several.
_TIME = r"[_ =-]*(\d+(?:[.,p]\d+)?)[_ -]?(ms|s)?(?![a-z0-9])(?![\s,/_-]*\d{3,4})"
_DELAY_NAME = re.compile(rf"(?<![a-z])(?:pld|ti|delay){_TIME}", re.IGNORECASE)
_DURATION_NAME = re.compile(rf"(?<![a-z])(?:ld|tau|labdur){_TIME}", re.IGNORECASE)
_MILLISECONDS = re.compile(r"(?<![0-9.,])(\d{3,4})[_ -]?(ms)(?![a-z0-9])", re.IGNORECASE)
# Where a name has these, milliseconds that nothing names may be theirs.
_OTHER_TIMES = re.compile(r"(?<![a-z])(?:tr|te|label\w*|bolus|dur\w*)[_ =:-]*\d", re.IGNORECASE)
# Below, a whole number without a unit counts delays; above, no delay is that long.
_LEAST_MS, _LONGEST = 100.0, 10.0


def read(series: Series) -> Labeling:
    """Read type, delays and order of one series.

    Raises
    ------
    InputError
        If its images are scaled differently, which dcm2niix gets wrong, or if nothing tells which
        volume is which.
    """
    _refuse_mixed_scaling(series)
    found = volumes(series)
    if not found:
        _refuse_unknown_order(series)
    several = len({volume.phase for volume in found}) > 1
    parameters = _named(series) | _type(series)
    delays: tuple[float, ...] | None = None
    if several:
        parameters |= _multiphase(series, found)
        delays = _delays(found, series.number)
        parameters["PostLabelingDelay"] = Parameter(
            tuple(sorted(set(delays))), "header (0018,1060), first slice of each phase"
        )
    precise = any(scale is not None for _, scale in _scales(series))
    notes: tuple[str, ...] = () if precise else (_DISPLAY,)
    if several and "RepetitionTimePreparation" not in parameters:
        notes += (_ONE_DYNAMIC,)
    return Labeling(
        parameters,
        tuple(volume.kind for volume in found) or None,
        delays,
        part=None if several or not precise else Part(_alike(series), "delay"),
        notes=notes,
    )


def arrange(
    labeling: Labeling, sidecars: Sequence[Mapping[str, Any]], counts: Sequence[int]
) -> list[tuple[int, int]]:
    """Put the files of a series without private elements in the order of acquisition.

    dcm2niix then takes the start of a dynamic for a trigger, and makes one file of each dynamic.

    Parameters
    ----------
    labeling
        What `read` returned.
    sidecars, counts
        dcm2niix's sidecar and the number of volumes of each file.

    Returns
    -------
    list of tuple
        File and volume of each volume.
    """
    del labeling
    order = sorted(range(len(counts)), key=lambda n: float(sidecars[n].get(_TRIGGER) or 0))
    return [(number, volume) for number in order for volume in range(counts[number])]


def _type(series: Series) -> dict[str, Parameter]:
    stated = functional_value(series.header, "ArterialSpinLabelingContrast")
    if kind := _STANDARD_TYPES.get(str(stated)):
        return {"ArterialSpinLabelingType": Parameter(kind, "header (0018,9250)")}
    name = f"{series.description} {series.protocol_name}"
    for kind, pattern in _NAMED_TYPES:
        if re.search(pattern, name, re.IGNORECASE):
            return {"ArterialSpinLabelingType": Parameter(kind, FROM_NAME)}
    return {}


# -- names ---------------------------------------------------------------------------------------


def _named(series: Series) -> dict[str, Parameter]:
    """Read delay and duration from the name, where it has them unmistakably."""
    name = series.description or series.protocol_name
    found: dict[str, Parameter] = {}
    duration = _seconds(_DURATION_NAME.findall(name))
    delay = _seconds(_DELAY_NAME.findall(name))
    if delay is None and duration is None and not _OTHER_TIMES.search(name):
        delay = _seconds(_MILLISECONDS.findall(name))
    if delay is not None:
        found["PostLabelingDelay"] = Parameter(delay, FROM_NAME)
    if duration is not None:
        found["LabelingDuration"] = Parameter(duration, FROM_NAME)
    return found


def _seconds(matches: Sequence[tuple[str, str]]) -> float | None:
    """Return the one time that a name holds, s, or None if there is none, or a choice."""
    times = set()
    for digits, unit in matches:
        value = float(re.sub("[,p]", ".", digits.casefold()))
        if unit.casefold() == "ms" or (not unit and value >= _LEAST_MS):
            times.add(value / 1000)
        elif unit or "." in re.sub("[,p]", ".", digits.casefold()):
            times.add(value)
    likely = {time for time in times if 0 < time <= _LONGEST}
    return likely.pop() if len(likely) == 1 and len(times) == 1 else None


def _alike(series: Series) -> str:
    """Return what the series of several delays share: geometry, sequence, name but for numbers.

    The repetition time is not among it: it often is as short as the delay allows.
    """
    header = series.header
    places = sorted(
        tuple(round(part) for part in image.position) for image in series.images if image.position
    )
    name = re.sub(r"[\d.,]+", "#", series.description or series.protocol_name).casefold()
    parts: list[Any] = [
        series.model,
        series.acquisition_type,
        series.images[0].size,
        [round(float(n), 2) for n in functional_value(header, "ImageOrientationPatient") or ()],
        places[:1] or functional_value(header, "ImagePositionPatient"),
        places[-1:],
        functional_value(header, "EchoTime") or functional_value(header, "EffectiveEchoTime"),
        functional_value(header, "FlipAngle"),
        name,
    ]
    return " ".join(str(part) for part in parts)


# -- multiphase ----------------------------------------------------------------------------------


def _delays(found: Sequence[Volume], number: int) -> tuple[float, ...]:
    """Return the delay of each volume, s: that of its phase's first slice, in the controls.

    Raises
    ------
    InputError
        If the header lacks them: nothing else tells which volume has which delay.
    """
    of_phase: dict[int, float] = {}
    for volume in found:
        if volume.kind == "control" and volume.triggers:
            earliest = min(volume.triggers.values())
            of_phase[volume.phase] = min(of_phase.get(volume.phase, earliest), earliest)
    if any(not of_phase.get(volume.phase) for volume in found):
        raise InputError(
            "The series has several phases after one labelling, but not the trigger time "
            "(0018,1060) that tells their delays.",
            where=f"series {number}",
            fix="export it from the scanner again, without removing (0018,1060).",
        )
    return tuple(round(of_phase[volume.phase] / 1000, 6) for volume in found)


def _multiphase(series: Series, found: Sequence[Volume]) -> dict[str, Parameter]:
    """Read what is special of several readouts after one labelling."""
    phases = max(volume.phase for volume in found)
    result = {"LookLocker": Parameter(True, f"header ({phases} phases after one labelling)")}
    angle = functional_value(series.header, "FlipAngle")
    if angle not in (None, ""):
        result["FlipAngle"] = Parameter(float(angle), "header (0018,1314)")
    if cycle := _cycle(series):
        result["RepetitionTimePreparation"] = Parameter(
            cycle, "header (2005,10A0): half the time between two dynamics"
        )
    if series.acquisition_type.upper() == "2D" and (timing := _slice_timing(found)):
        result["SliceTiming"] = Parameter(timing, "header (0018,1060), per slice")
    return result


def _cycle(series: Series) -> float | None:
    """Return the time from one labelling to the next, s; (0018,0080) is that between phases."""
    begins = sorted(_dynamics(series))
    if len(begins) < 2:
        return None
    (first, start), (last, end) = begins[0], begins[-1]
    return round((end - start) / (last - first) / 2, 4) if last > first and end > start else None


def _dynamics(series: Series) -> set[tuple[int, float]]:
    """Return number and start, s, of the first and the last dynamic."""
    from pydicom import dcmread

    header = series.header
    if "PerFrameFunctionalGroupsSequence" in header:
        items = [own_item(group) for group in header.PerFrameFunctionalGroupsSequence]
    else:
        last = max(series.images, key=lambda image: max((t.repeat for t in image.tags), default=0))
        items = [header, dcmread(last.path, stop_before_pixels=True)]
    found = set()
    for item in items:
        place, begin = number(item, "TemporalPositionIdentifier"), number(item, DYNAMIC_BEGIN)
        if place is not None and begin is not None:
            found.add((int(place), begin))
    return found


def _slice_timing(found: Sequence[Volume]) -> list[float] | None:
    """Return when each slice is read after the first one, s, in the order of the NIfTI file."""
    first = next((one for one in found if one.kind == "control" and one.phase == 1), None)
    if first is None or len(set(first.triggers.values())) < 2:
        return None
    start = min(first.triggers.values())
    return [round((first.triggers[k] - start) / 1000, 6) for k in sorted(first.triggers)]


# -- scaling -------------------------------------------------------------------------------------


def _refuse_mixed_scaling(series: Series) -> None:
    """Refuse a series whose images have different scales: dcm2niix knows one per series."""
    if len(_scales(series)) > 1:
        raise InputError(
            "The images of the series are scaled differently (rescale and scale slope), which "
            "the conversion cannot follow.",
            where=f"series {series.number}",
            fix="export the series from the scanner again, as classic DICOM and without a change "
            "of its scaling.",
        )


def _refuse_unknown_order(series: Series) -> None:
    """Refuse source images without label tags whose order the converter cannot keep either."""
    if heuristic.role(series).kind != heuristic.rules().ASL:
        return
    frames = "PerFrameFunctionalGroupsSequence" in series.header
    times: dict[Any, set[float | None]] = defaultdict(set)
    for image in series.images:
        times[image.position].add(image.trigger_time)
    phases = len({frozenset(found) for found in times.values()}) > 1
    if frames or phases or (number(series.header, NUMBER_OF_PHASES) or 1) > 1:
        raise InputError(
            "The header does not tell controls from labels, or not in which order the images are: "
            "(2005,1429) was removed, or the frames' dimension indices do not tell them apart.",
            where=f"series {series.number}",
            fix="export the series as classic DICOM, with its private elements.",
        )


def _scales(series: Series) -> set[tuple[float | None, float | None]]:
    """Return the different scalings (rescale slope, scale slope) of the images of a series."""
    scales = {image.scaling for image in series.images}
    for group in series.header.get("PerFrameFunctionalGroupsSequence") or ():
        public = (group.get("PixelValueTransformationSequence") or [{}])[0]
        scales.add((number(public, "RescaleSlope"), number(own_item(group), PHILIPS_SCALE)))
    return scales - {(None, None)}
