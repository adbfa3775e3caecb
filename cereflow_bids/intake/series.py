"""The header index: which series an input holds, read once, without pixels."""

import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

ASL_CONTEXT = (0x0018, 0x9257)
PHILIPS_LABEL = (0x2005, 0x1429)
_PHILIPS_FRAME = (0x2005, 0x140F)
_ASL_SEQUENCE = (0x0018, 0x9251)


@dataclass(frozen=True)
class Patient:
    """Whom a header names. Never printed: ``repr`` is empty on purpose.

    Attributes
    ----------
    key
        What tells patients apart: patient ID, its issuer and birth date, else name and birth date.
    age
        Years, as in DICOM (0010,1010) or counted from the birth date; None if unknown.
    sex
        ``"M"``, ``"F"``, ``"O"`` or None.
    identifiers
        Every text of the header that could identify a person, a place or a machine.
    """

    key: str
    age: int | None
    sex: str | None
    identifiers: frozenset[str]

    def __repr__(self) -> str:
        return "Patient()"


class Tag(NamedTuple):
    """What the header says of one volume: repeat number and ASL context, as written there."""

    repeat: int
    context: str


@dataclass(frozen=True)
class Image:
    """One DICOM file of a series."""

    path: Path
    instance: int
    image_type: tuple[str, ...]
    tags: tuple[Tag, ...]


@dataclass(frozen=True, eq=False)
class Series:
    """One series: what selects, names and completes it.

    Attributes
    ----------
    images
        Its files, in the order of their instance numbers.
    header
        The first image's data set, without pixels.
    """

    uid: str
    study_uid: str
    study_date: str
    patient: Patient
    number: int
    description: str
    protocol_name: str
    manufacturer: str
    acquisition_type: str
    repetition_time: float | None
    images: tuple[Image, ...]
    header: Any

    def __repr__(self) -> str:
        return f"Series(number={self.number}, images={len(self.images)})"

    @property
    def tags(self) -> tuple[Tag, ...]:
        """What the header says of each volume, in acquired order; empty where it says nothing."""
        seen = dict.fromkeys(tag for image in self.images for tag in image.tags)
        return tuple(seen)


def index(files: Iterable[Path]) -> list[Series]:
    """Read the headers of `files` and group the MR images among them into series.

    Files that are not DICOM images are passed over; a file given twice counts once.
    The result is ordered by study date and time, then by series number.
    """
    grouped: dict[str, dict[str, tuple[Path, Any]]] = defaultdict(dict)
    # Values are parsed when they are asked for, and pydicom's warnings quote odd ones.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in files:
            header = _read(path)
            if header is not None:
                grouped[str(header.SeriesInstanceUID)].setdefault(
                    str(header.SOPInstanceUID), (path, header)
                )
        found = [_series(list(group.values())) for group in grouped.values()]
    return sorted(found, key=lambda one: (one.study_date, one.study_uid, one.number, one.uid))


def _read(path: Path) -> Any:
    """Return the header of a DICOM image with rows, None for anything else."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        header = dcmread(path, stop_before_pixels=True)
    except (InvalidDicomError, EOFError, OSError):
        return None
    if str(header.get("Modality", "")) != "MR" or "Rows" not in header:
        return None
    has_names = all(key in header for key in ("SeriesInstanceUID", "SOPInstanceUID"))
    return header if has_names else None


def _series(members: list[tuple[Path, Any]]) -> Series:
    members.sort(key=lambda member: (int(member[1].get("InstanceNumber") or 0), member[0]))
    first = members[0][1]
    return Series(
        uid=str(first.SeriesInstanceUID),
        study_uid=str(first.get("StudyInstanceUID", "")),
        study_date=f"{first.get('StudyDate', '')}{first.get('StudyTime', '')}",
        patient=_patient(first),
        number=int(first.get("SeriesNumber") or 0),
        description=str(first.get("SeriesDescription", "")),
        protocol_name=str(first.get("ProtocolName", "")),
        manufacturer=str(first.get("Manufacturer", "")),
        acquisition_type=str(first.get("MRAcquisitionType", "")),
        repetition_time=_repetition_time(first),
        images=tuple(_image(path, header) for path, header in members),
        header=first,
    )


def _image(path: Path, header: Any) -> Image:
    return Image(
        path=path,
        instance=int(header.get("InstanceNumber") or 0),
        image_type=tuple(str(part) for part in header.get("ImageType", ())),
        tags=tuple(dict.fromkeys(_tags(header))),
    )


def _tags(header: Any) -> Iterator[Tag]:
    """Yield repeat and ASL context of every frame that has them."""
    shared = header.get("SharedFunctionalGroupsSequence", [None])[0]
    for frame in header.get("PerFrameFunctionalGroupsSequence", ()):
        context = _context(frame) or (_context(shared) if shared is not None else "")
        content = frame.get("FrameContentSequence", [{}])[0]
        if context:
            yield Tag(int(content.get("TemporalPositionIndex") or 0), context)
    if PHILIPS_LABEL in header and (context := str(header[PHILIPS_LABEL].value).strip()):
        yield Tag(int(header.get("TemporalPositionIdentifier") or 0), context)


def _context(group: Any) -> str:
    """Return the ASL context that one functional group holds, or an empty text."""
    for sequence, key in ((_ASL_SEQUENCE, ASL_CONTEXT), (_PHILIPS_FRAME, PHILIPS_LABEL)):
        if sequence in group:
            for item in group[sequence].value:
                if key in item:
                    return str(item[key].value).strip()
    return ""


def functional_value(header: Any, keyword: str) -> Any:
    """Return the first value of `keyword` at the top or in any functional group, else None."""
    if keyword in header:
        return header[keyword].value
    for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in header.get(name, ())[:1]:
            for element in group:
                if element.VR != "SQ":
                    continue
                for item in element.value:
                    if keyword in item:
                        return item[keyword].value
    return None


def _repetition_time(header: Any) -> float | None:
    """Return the repetition time in seconds; DICOM holds milliseconds."""
    value = functional_value(header, "RepetitionTime")
    return round(float(value) / 1000, 6) if value not in (None, "") and float(value) > 0 else None


def _patient(header: Any) -> Patient:
    from cereflow_bids.intake.privacy import age_in_years, identifiers, patient_key

    sex = str(header.get("PatientSex", "")).strip().upper()
    return Patient(
        key=patient_key(header),
        age=age_in_years(header),
        sex=sex if sex in {"M", "F", "O"} else None,
        identifiers=identifiers(header),
    )
