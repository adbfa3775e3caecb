"""The search for anything that names a person: what to look for, and where it could hide."""

from __future__ import annotations

import base64
import gzip
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pydicom

# Texts: shorter ones ("M", "R", "JES") stand in compressed or numeric data by chance.
SHORTEST_TEXT = 5
UID = re.compile(r"[0-9]+(\.[0-9]+){8,}")
UID_HEAD = 20
TEXTS = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "InstitutionName",
    "InstitutionAddress",
    "InstitutionalDepartmentName",
    "DeviceSerialNumber",
    "StationName",
    "StudyDate",
    "StudyDescription",
    "PerformedProcedureStepDescription",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "FrameOfReferenceUID",
    "SeriesDescription",
    "ProtocolName",
    "AcquisitionTime",
    "StudyTime",
)
_PDF_STREAM = re.compile(rb"stream\r?\n(.*?)\r?\nendstream", re.DOTALL)
_DATA_URI = re.compile(rb"base64,([A-Za-z0-9+/=]+)")


def identifying_texts(archive: Path) -> set[bytes]:
    """Return what names patient, study, place or machine in the headers of a real ZIP."""
    found: set[str] = set()
    with zipfile.ZipFile(archive) as source:
        for member in source.namelist():
            if member.endswith("/"):
                continue
            found.update(part for part in Path(member).parts if len(part) > 8)
            with source.open(member) as handle:
                header = pydicom.dcmread(handle, stop_before_pixels=True)
            found.update(str(header.get(key, "")) for key in TEXTS)
    # The head of a UID names maker and machine: seeking it is stricter, and quick.
    heads = {text[:UID_HEAD] if UID.fullmatch(text) else text.strip() for text in found}
    texts = {text for text in heads if len(text) >= SHORTEST_TEXT}
    assert len(texts) > 10
    return {text.encode() for text in texts}


def contents(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield each file's name, its bytes as they are, and what is compressed or encoded in it."""
    for path in folder.rglob("*"):
        yield path, path.relative_to(folder).as_posix().encode()
        if path.is_file():
            raw = path.read_bytes()
            yield path, raw
            for inner in _unpacked(path, raw):
                yield path, inner


def _unpacked(path: Path, raw: bytes) -> Iterator[bytes]:
    if path.suffix == ".gz":
        yield gzip.decompress(raw)
    if path.suffix == ".html":
        yield from (base64.b64decode(found) for found in _DATA_URI.findall(raw))
    if path.suffix == ".pdf":
        # A stream with another filter than Flate is searched as it is, with the raw bytes.
        for stream in _PDF_STREAM.findall(raw):
            inflate = zlib.decompressobj()
            if stream[:1] == b"\x78":
                yield inflate.decompress(stream)


def leaks(folder: Path, secrets: set[bytes]) -> list[str]:
    """Return one line for each file that holds an identifying text."""
    return [
        f"{path.name}: {text!r}"
        for path, content in contents(folder)
        for text in secrets
        if text in content
    ]
