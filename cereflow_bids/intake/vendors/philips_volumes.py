"""Philips: what each volume of a series is, in the order in which dcm2niix stacks them.

A classic series comes out in the order of acquisition: in each repeat the control, then the
label, each with all of its phases. Enhanced files come out as their dimension indices say (all
controls, then all labels), from release 11 on by repeat, fourth dimension, and label. A test
holds each of these against dcm2niix.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cereflow_bids.intake.headers.dicom_image import PHILIPS_LABEL, number, text
from cereflow_bids.intake.headers.series import Series, functional_value

TYPES = {"LABEL": "label", "CONTROL": "control", "M_ZERO_SCAN": "m0scan"}
_OWN = (0x2005, 0x140F)
_PHASE_NUMBER = (0x2001, 0x1008)
_STACK = (0x00209056, 0x00209057)
_FIRST_OF_OWN_ORDER = 11


class Volume(NamedTuple):
    """One volume: its repeat, BIDS type, phase (from 1) and trigger time per slice place, ms.

    The keys of ``triggers`` are places along the slice normal, mm, upwards as in the NIfTI file.
    """

    repeat: int
    kind: str
    phase: int
    triggers: Mapping[float, float]


class _Frame(NamedTuple):
    """One slice of one volume, as a classic file or an enhanced frame tells it."""

    repeat: int
    context: str
    place: float
    trigger: float | None
    phase: int = 0
    dimensions: tuple[int, ...] = ()


def volumes(series: Series) -> list[Volume]:
    """Return what the header says of each volume, in dcm2niix's order; empty if nothing."""
    if "PerFrameFunctionalGroupsSequence" in series.header:
        return _enhanced(series.header, series.software)
    return _classic(series)


def _classic(series: Series) -> list[Volume]:
    stacks: dict[tuple[int, str], list[_Frame]] = defaultdict(list)
    for image in series.images:
        for tag in image.tags:
            place = _place(image.orientation, image.position)
            frame = _Frame(tag.repeat, tag.context.upper(), place, image.trigger_time)
            stacks[frame.repeat, frame.context].append(frame)
    found = [volume for frames in stacks.values() for volume in _phases(frames)]
    return sorted(found, key=lambda one: (one.repeat, one.kind == "label", one.phase))


def _phases(frames: Sequence[_Frame]) -> Iterator[Volume]:
    """Part what one labelling gave into phases: the images of each slice in order of time."""
    slices: dict[float, list[_Frame]] = defaultdict(list)
    for frame in frames:
        slices[frame.place].append(frame)
    for of_slice in slices.values():
        of_slice.sort(key=lambda one: one.trigger or 0.0)
    for phase in range(max(len(of_slice) for of_slice in slices.values())):
        members = [of_slice[phase] for of_slice in slices.values() if phase < len(of_slice)]
        yield _volume(members, phase + 1)


def _volume(members: Sequence[_Frame], phase: int) -> Volume:
    triggers = {one.place: one.trigger for one in members if one.trigger is not None}
    kind = TYPES.get(members[0].context, "n/a")
    return Volume(members[0].repeat, kind, phase, triggers)


# -- enhanced ------------------------------------------------------------------------------------


def _enhanced(header: Any, software: str) -> list[Volume]:
    """Group the frames by what dcm2niix sorts them by.

    Nothing is returned where that leaves open which frame is which: it mixes slices then.
    """
    pointers = [
        int(item.get("DimensionIndexPointer") or 0)
        for item in header.get("DimensionIndexSequence") or ()
    ]
    frames = list(_frames(header))
    if not frames or not pointers or any(len(f.dimensions) < len(pointers) for f in frames):
        return []
    kept = [number for number, pointer in enumerate(pointers) if pointer not in _STACK]
    release = re.match(r"\d+", software.strip())
    own_order = release is not None and int(release[0]) >= _FIRST_OF_OWN_ORDER
    stacks: dict[tuple[int, ...], list[_Frame]] = defaultdict(list)
    for frame in frames:
        # The last dimension changes most slowly.
        indices = tuple(frame.dimensions[number] for number in reversed(kept))
        stacks[_own_rank(frame) if own_order else indices].append(frame)
    if not all(_is_volume(found) for found in stacks.values()):
        return []
    return _numbered([stacks[rank] for rank in sorted(stacks)])


def _own_rank(frame: _Frame) -> tuple[int, ...]:
    fourth = frame.dimensions[3] if len(frame.dimensions) > 3 else 0
    return (frame.repeat, fourth, int(frame.context == "LABEL"), frame.phase)


def _is_volume(frames: Sequence[_Frame]) -> bool:
    """Tell whether frames are the slices of one volume."""
    places = {frame.place for frame in frames}
    same = len({(frame.repeat, frame.context) for frame in frames}) == 1
    return same and len(places) == len(frames)


def _numbered(stacks: Sequence[Sequence[_Frame]]) -> list[Volume]:
    """Give the volumes of each labelling their phases, by their trigger times."""
    labelings: dict[tuple[int, str], list[float]] = defaultdict(list)
    for frames in stacks:
        labelings[frames[0].repeat, frames[0].context].append(_first(frames))
    result = []
    for frames in stacks:
        times = sorted(labelings[frames[0].repeat, frames[0].context])
        result.append(_volume(frames, times.index(_first(frames)) + 1))
    return result


def _first(frames: Sequence[_Frame]) -> float:
    return min((one.trigger for one in frames if one.trigger is not None), default=0.0)


def _frames(header: Any) -> Iterator[_Frame]:
    orientation = functional_value(header, "ImageOrientationPatient")
    for group in header.PerFrameFunctionalGroupsSequence:
        own = own_item(group)
        content = (group.get("FrameContentSequence") or [{}])[0]
        position = (group.get("PlanePositionSequence") or [{}])[0].get("ImagePositionPatient")
        context = text(own[PHILIPS_LABEL].value).upper() if PHILIPS_LABEL in own else ""
        if not context:
            return
        repeat = own.get("TemporalPositionIdentifier") or content.get("TemporalPositionIndex")
        dimensions = content.get("DimensionIndexValues") or ()
        dimensions = [dimensions] if isinstance(dimensions, int) else dimensions
        yield _Frame(
            int(repeat or 0),
            context,
            _place(orientation, position),
            _trigger(group, own),
            int(number(own, _PHASE_NUMBER) or 0),
            tuple(int(n) for n in dimensions),
        )


def own_item(group: Any) -> Any:
    """Return what the scanner says of a frame in its own sequence; empty if there is none."""
    return group[_OWN].value[0] if _OWN in group and group[_OWN].value else {}


def _trigger(group: Any, own: Any) -> float | None:
    nominal = (group.get("CardiacSynchronizationSequence") or [{}])[0]
    stated = number(own, "TriggerTime")
    return number(nominal, "NominalCardiacTriggerDelayTime") if stated is None else stated


def _place(orientation: Any, position: Any) -> float:
    """Return how far along the slice normal a slice lies, mm; 0 where that is unknown."""
    if not orientation or not position:
        return 0.0
    rows, columns = np.reshape([float(part) for part in orientation], (2, 3))
    return round(float(np.cross(rows, columns) @ [float(part) for part in position]), 2) + 0.0
