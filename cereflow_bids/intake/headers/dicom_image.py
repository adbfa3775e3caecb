"""One DICOM file: what sorts it into a series and a volume, read without its pixels."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cereflow_bids.errors import InputError
from cereflow_bids.intake.headers.compression import DEFLATED, PLAIN, refuse_bomb

ASL_CONTEXT = (0x0018, 0x9257)
PHILIPS_LABEL = (0x2005, 0x1429)
PHILIPS_SCALE = (0x2005, 0x100E)
_PHILIPS_FRAME = (0x2005, 0x140F)
_ASL_SEQUENCE = (0x0018, 0x9251)
_FLOAT_BYTES = 4
# All that sorting needs: most of the time of reading a header goes into its other elements.
_SORTING: list[Any] = [
    "BitsAllocated",
    "Columns",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "ImageType",
    "InstanceNumber",
    "IssuerOfPatientID",
    "Modality",
    "NumberOfFrames",
    "PatientBirthDate",
    "PatientID",
    "PatientName",
    "PerFrameFunctionalGroupsSequence",
    "RescaleSlope",
    "Rows",
    "SOPInstanceUID",
    "SamplesPerPixel",
    "SeriesInstanceUID",
    "SharedFunctionalGroupsSequence",
    "SpecificCharacterSet",
    "StudyInstanceUID",
    "TemporalPositionIdentifier",
    "TriggerTime",
    PHILIPS_LABEL,
    PHILIPS_SCALE,
]


class Tag(NamedTuple):
    """What the header says of one volume: repeat number and ASL context, as written there."""

    repeat: int
    context: str


@dataclass(frozen=True)
class Image:
    """One DICOM file of a series.

    Attributes
    ----------
    instance
        Instance number.
    image_type
        (0008,0008), in capitals.
    tags
        ASL context of each volume that the file holds a part of.
    position, orientation
        Of its first pixel and its rows and columns, mm and direction cosines; None if unknown or
        if the file holds many frames.
    size
        Rows and columns.
    trigger_time
        (0018,1060), ms, or None.
    scaling
        Rescale slope and Philips' own scale slope, None where there is none.
    flaw
        What makes it unfit for conversion, or None.
    """

    path: Path
    uid: str
    series_uid: str
    study_uid: str
    patient_key: str
    instance: int
    image_type: tuple[str, ...]
    tags: tuple[Tag, ...]
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    size: tuple[int, int]
    trigger_time: float | None
    scaling: tuple[float | None, float | None] = (None, None)
    flaw: InputError | None = None

    def __repr__(self) -> str:
        return f"Image(instance={self.instance})"


def read_image(path: Path, where: str) -> Image | None:
    """Return what sorts the file `path`, or None if it is no MR image in DICOM format.

    Parameters
    ----------
    path
        Any file.
    where
        What messages call it by.

    Raises
    ------
    InputError
        If the file is DICOM, but its header cannot be read.
    """
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        with path.open("rb") as source:
            refuse_bomb(source, where)
            header = dcmread(source, stop_before_pixels=True, specific_tags=_SORTING)
            end = source.tell()
        if not _is_image(header):
            return None
        return _image(path, header, _missing_pixels(header, path.stat().st_size - end, where))
    except (InvalidDicomError, EOFError):
        return None
    except InputError:
        raise
    except OSError as error:
        raise InputError(
            f"A file cannot be read: {error.strerror or 'system error'}.",
            where=where,
            fix="check the permissions and the disk.",
        ) from error
    except Exception as error:
        # What it says can quote a header.
        raise InputError(
            f"A file cannot be read ({type(error).__name__}): its DICOM header is malformed.",
            where=where,
            fix="export the study again.",
        ) from error


def _is_image(header: Any) -> bool:
    named = all(key in header for key in ("SeriesInstanceUID", "SOPInstanceUID"))
    return named and str(header.get("Modality", "")) == "MR" and "Rows" in header


def _missing_pixels(header: Any, left: int, where: str) -> InputError | None:
    """Compare the bytes behind the header with those that the image needs."""
    syntax = getattr(header.file_meta, "TransferSyntaxUID", None)
    if syntax is None or syntax == DEFLATED:
        return None
    pixels = (
        int(header.Rows or 0)
        * int(header.get("Columns") or 0)
        * int(header.get("SamplesPerPixel") or 1)
        * int(header.get("NumberOfFrames") or 1)
    )
    needed = pixels * int(header.get("BitsAllocated") or 0) // 8
    if left <= 0 or not needed:
        what = "The DICOM image has no pixels."
    elif syntax in PLAIN and left < needed:
        what = f"The DICOM image is cut short: {left} of {needed} bytes of its pixels are there."
    else:
        return None
    fix = "export the study again, and check that it is whole."
    return InputError(what, where=where, fix=fix)


def _image(path: Path, header: Any, flaw: InputError | None) -> Image:
    from cereflow_bids.intake.privacy import patient_key

    time = header.get("TriggerTime")
    return Image(
        path=path,
        uid=str(header.SOPInstanceUID),
        series_uid=str(header.SeriesInstanceUID),
        study_uid=str(header.get("StudyInstanceUID", "")),
        patient_key=patient_key(header),
        instance=int(header.get("InstanceNumber") or 0),
        image_type=tuple(str(part).upper() for part in header.get("ImageType") or ()),
        tags=tuple(dict.fromkeys(_tags(header))),
        position=_numbers(header, "ImagePositionPatient", 3),
        orientation=_numbers(header, "ImageOrientationPatient", 6),
        size=(int(header.Rows or 0), int(header.get("Columns") or 0)),
        trigger_time=float(time) if time not in (None, "") else None,
        scaling=(number(header, "RescaleSlope"), number(header, PHILIPS_SCALE)),
        flaw=flaw,
    )


def _numbers(header: Any, keyword: str, count: int) -> tuple[float, ...] | None:
    """Return the `count` finite numbers of an element; anything else is as good as none."""
    value = header.get(keyword)
    try:
        numbers = tuple(float(part) for part in value or ())
    except (TypeError, ValueError):
        return None
    usable = len(numbers) == count and all(math.isfinite(part) for part in numbers)
    return numbers if usable else None


def _tags(header: Any) -> Iterator[Tag]:
    """Yield repeat and ASL context of every frame that has them."""
    shared = (header.get("SharedFunctionalGroupsSequence") or [None])[0]
    for frame in header.get("PerFrameFunctionalGroupsSequence") or ():
        context = _context(frame) or (_context(shared) if shared is not None else "")
        content = (frame.get("FrameContentSequence") or [{}])[0]
        if context:
            yield Tag(int(content.get("TemporalPositionIndex") or 0), context)
    if PHILIPS_LABEL in header and (context := text(header[PHILIPS_LABEL].value)):
        yield Tag(int(header.get("TemporalPositionIdentifier") or 0), context)


def text(value: Any) -> str:
    """Return a value as text; where the type of private elements is not written, it is bytes."""
    plain = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    return plain.strip(" \0")


def number(header: Any, tag: Any) -> float | None:
    """Return the value of an element as a number, or None if it has none.

    Parameters
    ----------
    header
        A data set.
    tag
        Keyword or tag; a private element of unknown type is taken for a 32-bit float (FL) if it
        is four bytes long, and else for text.
    """
    value = header[tag].value if tag in header else None
    if isinstance(value, bytes) and len(value) == _FLOAT_BYTES:
        return float(struct.unpack("<f", value)[0])
    try:
        return None if value is None else float(text(value))
    except ValueError:
        return None


def _context(group: Any) -> str:
    """Return the ASL context that one functional group holds, or an empty text."""
    for sequence, key in ((_ASL_SEQUENCE, ASL_CONTEXT), (_PHILIPS_FRAME, PHILIPS_LABEL)):
        if sequence in group:
            for item in group[sequence].value:
                if key in item:
                    return text(item[key].value)
    return ""


def functional_value(header: Any, keyword: str) -> Any:
    """Return the first value of `keyword` at the top or in any functional group, else None."""
    if keyword in header:
        return header[keyword].value
    for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in (header.get(name) or ())[:1]:
            for element in group:
                if element.VR != "SQ":
                    continue
                for item in element.value:
                    if keyword in item:
                        return item[keyword].value
    return None
