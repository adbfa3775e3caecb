"""Which Siemens series are parts of one acquisition, and what the export took from them.

The interoperability export of XA stores every volume as a series of its own; an older research
protocol stores one series per inversion time and kind of inversion; delays may be measured one
after the other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cereflow_bids.intake.headers.dicom_image import Image
from cereflow_bids.intake.headers.series import Series, functional_value
from cereflow_bids.intake.parameters.labeling import Parameter, Part
from cereflow_bids.intake.vendors.siemens_protocol import frame_delay
from cereflow_bids.intake.vendors.siemens_timing import named_several

# The calibration of the same protocol has a TI of its own.
RESEARCH = re.compile(r"(?<![a-z])(ns|ss)[ _-]?TE\d+[ _-]?TI(\d{3,4})(?!\d)", re.IGNORECASE)
_SECONDS_OF_DAY = 86400.0


def research_delay(series: Series) -> float | None:
    """Return the inversion time that the name of a research series holds, s."""
    found = RESEARCH.search(series.description)
    return int(found[2]) / 1000 if found else None


def part_of(
    series: Series, found: Mapping[str, Parameter], protocol: Mapping[str, str]
) -> Part | None:
    """Return which acquisition a series may be a part of.

    Parameters
    ----------
    series
        One ASL series.
    found
        What its header says of the labelling.
    protocol
        Its protocol text.
    """
    place = _geometry(series)
    research = RESEARCH.search(series.description)
    if research:
        role = "first" if research[1].casefold() == "ss" else "second"
        return Part(place, "pair", role)
    kind, duration, cutoff, delay = (
        found[key].value if key in found else None
        for key in (
            "ArterialSpinLabelingType",
            "LabelingDuration",
            "BolusCutOffDelayTime",
            "PostLabelingDelay",
        )
    )
    if is_volume(series):
        return Part(f"{place} {series.protocol_name} {kind} {duration}", "volume")
    # Without a delay in the header the user's may still be one for each series.
    if isinstance(delay, tuple) or (delay is None and named_several(series)):
        return None
    keys = ("tSequenceFileName", "sAsl.ulMode", "sAsl.ulSuppressionMode")
    prepared = " ".join(str(protocol.get(key)) for key in keys)
    return Part(f"{place} {prepared} {kind} {duration} {cutoff}", "delay")


def is_volume(series: Series) -> bool:
    """Tell whether a series is a single volume of the XA interoperability export."""
    images = series.images
    if "XA" not in series.software.upper() or len(images) < 2:
        return False
    places = {image.position for image in images}
    return None not in places and len(places) == len(images)


def _geometry(series: Series) -> str:
    """Return what series of one acquisition share in space: matrix, resolution, place."""
    header, first = series.header, series.images[0]
    values = [
        series.acquisition_type,
        len({image.position for image in series.images}),
        *first.size,
        *(first.orientation or _numbers(functional_value(header, "ImageOrientationPatient"))),
        *(_lowest(series.images) or _numbers(functional_value(header, "ImagePositionPatient"))),
        *_numbers(functional_value(header, "PixelSpacing")),
        functional_value(header, "SliceThickness"),
    ]
    return " ".join(
        f"{round(value, 2) + 0.0:g}" if isinstance(value, float) else str(value)
        for value in values
    )


def _lowest(images: Sequence[Image]) -> tuple[float, ...] | None:
    places = [image.position for image in images if image.position is not None]
    return min(places) if places else None


def _numbers(value: Any) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in value or ())
    except (TypeError, ValueError):
        return ()


# -- what every image tells ----------------------------------------------------------------------

_COMMENTS = {"M0_SCAN": "m0scan", "LABEL": "label", "CONTROL": "control"}
_CONTEXTS = {"M_ZERO_SCAN": "m0scan", "LABEL": "label", "CONTROL": "control"}


def volume_types(series: Series) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """Return what the headers say that each volume is, and what is to be said of that.

    On one software version (XA61) the ASL context comes one volume too late and has no M0, while
    the image comments are right. An odd number of volumes without M0 betrays it where an
    anonymiser took the comments away.
    """
    commented = _commented(series)
    if commented is not None:
        return commented, ()
    types = tuple(_CONTEXTS.get(tag.context.upper(), "n/a") for tag in series.tags) or None
    if types is not None and len(types) > 1 and len(types) % 2 and "m0scan" not in types:
        return None, (_SHIFTED,)
    return types, ()


_SHIFTED = (
    "The header calls an odd number of volumes control or label, and none M0: it may name each "
    "volume by the one after it, so its tags were not used."
)


def _commented(series: Series) -> tuple[str, ...] | None:
    """Return the volume types that the image comments hold, where they hold nothing else."""
    first = _comment(series.header)
    if first not in _COMMENTS:
        return None
    if is_volume(series):
        return (_COMMENTS[first],)
    comments = [_comment(_read(image)) for image in series.images]
    if not {"LABEL", "CONTROL"} <= set(comments) <= set(_COMMENTS):
        return None
    return tuple(_COMMENTS[comment] for comment in comments)


def _comment(header: Any) -> str:
    return str(header.get("ImageComments", "") or "").strip().upper()


def volume_delays(series: Series, types: Sequence[str] | None) -> tuple[float, ...] | None:
    """Return the delay of each volume of an enhanced series, s (0 for M0), if all hold one.

    Parameters
    ----------
    series
        With one file per volume.
    types
        What the header says of each volume, or None.
    """
    delays = [frame_delay(_read(image)) for image in series.images]
    if None in delays or (types is not None and len(types) != len(delays)):
        return None
    kinds = types or ("",) * len(delays)
    return tuple(
        0.0 if kind == "m0scan" or delay is None else delay
        for kind, delay in zip(kinds, delays, strict=True)
    )


def slice_times(series: Series) -> Parameter | None:
    """Return when each slice of a classic axial volume was read, s, the lowest slice first.

    dcm2niix tells this only where it has several volumes to compare.
    """
    timed = []
    for image in series.images:
        moment = _moment(_read(image))
        if moment is None or image.position is None or image.orientation is None:
            return None
        rows, columns = np.reshape(image.orientation, (2, 3))
        normal = np.cross(rows, columns)
        if np.argmax(np.abs(normal)) != 2:
            return None
        timed.append((float(normal @ np.asarray(image.position)), moment))
    moments = [moment for _, moment in sorted(timed)]
    first = min(moments)
    if max(moments) == first:
        return None
    times = [round(moment - first, 6) for moment in moments]
    return Parameter(times, "header (0008,0032) of each slice")


def _moment(header: Any) -> float | None:
    """Return the acquisition time of an image, s since midnight."""
    text = str(header.get("AcquisitionTime", "") or "")
    if not re.fullmatch(r"\d{6}(\.\d+)?", text):
        return None
    moment = int(text[:2]) * 3600 + int(text[2:4]) * 60 + float(text[4:])
    return moment if moment < _SECONDS_OF_DAY else None


def _read(image: Image) -> Any:
    """Read again what sorting did not need: delay, time and comment."""
    from pydicom import dcmread

    wanted: list[Any] = [
        "AcquisitionTime",
        "ImageComments",
        "PerFrameFunctionalGroupsSequence",
        (0x0021, 0x0011),
        (0x0021, 0x1189),
    ]
    return dcmread(image.path, stop_before_pixels=True, specific_tags=wanted)
