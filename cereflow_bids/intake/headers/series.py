"""The header index: which series an input holds, read once, without pixels.

Every file is read for the few elements that sort it; one file per series is read in full.
"""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cereflow_bids.errors import InputError
from cereflow_bids.intake.headers.completeness import flaw, sparse
from cereflow_bids.intake.headers.dicom_image import Image, Tag, functional_value, read_image

__all__ = ["Image", "Patient", "Series", "Tag", "functional_value", "index"]


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


@dataclass(frozen=True, eq=False)
class Series:
    """One series: what selects, names and completes it.

    Attributes
    ----------
    images
        Its files, in the order of their instance numbers.
    header
        The first image's data set, without pixels.
    copies
        Number of files left out because the same image is there already.
    """

    uid: str
    study_uid: str
    study_date: str
    patient: Patient
    number: int
    description: str
    protocol_name: str
    manufacturer: str
    model: str
    software: str
    acquisition_type: str
    repetition_time: float | None
    images: tuple[Image, ...]
    header: Any
    copies: int = 0

    def __repr__(self) -> str:
        return f"Series(number={self.number}, images={len(self.images)})"

    def joined(self, other: Series) -> Series:
        """Return the series with the images of another part of it, each once."""
        unique = {image.uid: image for image in self.images}
        for image in other.images:
            _keep(unique, image, f"series {self.number}")
        images = sorted(unique.values(), key=lambda image: (image.instance, image.path))
        return replace(self, images=tuple(images))

    @property
    def flaw(self) -> InputError | None:
        """What makes the series unfit for conversion, or None."""
        found = flaw(self.number, self.images)
        return found or sparse(self.number, self.images, self.header)

    @property
    def place(self) -> tuple[int, str, str]:
        """What orders the series of a study: number, then time where numbers are equal."""
        time = str(self.header.get("AcquisitionTime", "") or "")
        return self.number, time, self.uid

    @property
    def tags(self) -> tuple[Tag, ...]:
        """What the header says of each volume, in acquired order; empty where it says nothing."""
        seen = dict.fromkeys(tag for image in self.images for tag in image.tags)
        return tuple(seen)


def _numbered(number: int, _path: Path) -> str:
    return f"file {number}"


def index(files: Iterable[Path], called: Callable[[int, Path], str] = _numbered) -> list[Series]:
    """Read the headers of `files` and group the MR images among them into series.

    Files that are not DICOM images are passed over; a file given twice counts once.
    The result is ordered by study date and time, then by series number, then by time: exports
    of one volume per series can give all of them one number.

    Parameters
    ----------
    files
        Any files.
    called
        Gives what messages call a file by, from its number (from 1) and path.

    Raises
    ------
    InputError
        If a DICOM file cannot be read. What is wrong with one series is told by `Series.flaw`.
    """
    grouped: dict[str, dict[str, Image]] = defaultdict(dict)
    copies: Counter[str] = Counter()
    # Values are parsed when they are asked for, and pydicom's warnings quote odd ones.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, path in enumerate(files, start=1):
            image = read_image(path, called(number, path))
            if image is not None:
                new = _keep(grouped[image.series_uid], image, called(number, path))
                copies[image.series_uid] += not new
        found = [
            replace(_series(list(group.values())), copies=copies[uid])
            for uid, group in grouped.items()
        ]
    return sorted(found, key=lambda one: (one.study_date, one.study_uid, *one.place))


def _keep(group: dict[str, Image], image: Image, where: str) -> bool:
    """Add an image to its series; return False if it is there already."""
    earlier = group.setdefault(image.uid, image)
    if earlier is not image and earlier.path.read_bytes() != image.path.read_bytes():
        flaw = InputError(
            "Two different images have one and the same SOP instance UID.",
            where=where,
            fix="export the study again from the scanner or the archive: one of the two has been "
            "altered.",
        )
        group[image.uid] = replace(earlier, flaw=flaw)
    return earlier is image


def _series(images: Sequence[Image]) -> Series:
    from pydicom import dcmread

    images = sorted(images, key=lambda image: (image.instance, image.path))
    first = dcmread(images[0].path, stop_before_pixels=True)
    return Series(
        uid=images[0].series_uid,
        study_uid=images[0].study_uid,
        study_date=f"{first.get('StudyDate', '')}{first.get('StudyTime', '')}",
        patient=_patient(first),
        number=int(first.get("SeriesNumber") or 0),
        description=str(first.get("SeriesDescription", "")),
        protocol_name=str(first.get("ProtocolName", "")),
        manufacturer=str(first.get("Manufacturer", "")),
        model=str(first.get("ManufacturerModelName", "")),
        software=_joined(first.get("SoftwareVersions", "")),
        acquisition_type=str(functional_value(first, "MRAcquisitionType") or ""),
        repetition_time=_repetition_time(first),
        images=tuple(images),
        header=first,
    )


def _joined(value: Any) -> str:
    return str(value) if isinstance(value, str) else " ".join(str(part) for part in value or ())


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
