"""The search for anything that names a person: what to look for, and where it could hide."""

from __future__ import annotations

import base64
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pydicom
from pypdf import PdfReader

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
    "OperatorsName",
    "ReferringPhysicianName",
    "PerformingPhysicianName",
    "RequestingPhysician",
    "PhysiciansOfRecord",
    "OtherPatientNames",
    "OtherPatientIDs",
    "IssuerOfPatientID",
    "PatientAddress",
    "PatientTelephoneNumbers",
    "PatientComments",
    "PatientMotherBirthName",
    "AdditionalPatientHistory",
    "AccessionNumber",
    "StudyID",
    "PerformedProcedureStepID",
    "ImageComments",
)
# Of these each part is a name too; those of protocols and places are made of ordinary words.
PERSONS = (
    "PatientName",
    "OtherPatientNames",
    "PatientMotherBirthName",
    "OperatorsName",
    "ReferringPhysicianName",
    "PerformingPhysicianName",
    "RequestingPhysician",
    "PhysiciansOfRecord",
)
_PNG = b"\x89PNG\r\n\x1a\n"
# Bytes long: longer ones are rarer, shorter ones fewer.
_HEAD = 6
_GZIP = b"\x1f\x8b"
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
            for key in TEXTS:
                text = str(header.get(key, ""))
                found.add(text)
                if key in PERSONS:
                    found.update(re.split(r"[\^\s]+", text))
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
            for inner in _unpacked(raw):
                yield path, inner


def _unpacked(raw: bytes) -> Iterator[bytes]:
    """Yield what is hidden in `raw`, told by its first bytes: a name can be wrong."""
    if raw.startswith(_GZIP):
        yield gzip.decompress(raw)
    elif raw.startswith(_PNG):
        yield from _png_texts(raw)
    elif raw.startswith(b"%PDF"):
        # A stream with another filter than Flate is searched as it is, with the raw bytes.
        for stream in _PDF_STREAM.findall(raw):
            inflate = zlib.decompressobj()
            if stream[:1] == b"\x78":
                yield inflate.decompress(stream)
        # Subset fonts number their glyphs: what is written on the pages is read as a reader would.
        for page in PdfReader(io.BytesIO(raw)).pages:
            yield page.extract_text().encode()
    else:
        for found in _DATA_URI.findall(raw):
            inner = base64.b64decode(found)
            yield inner
            yield from _unpacked(inner)


def _png_texts(raw: bytes) -> Iterator[bytes]:
    """Yield the compressed texts of a PNG; those that are not, stand in its bytes."""
    place = len(_PNG)
    while place < len(raw):
        length = int.from_bytes(raw[place : place + 4], "big")
        kind, data = raw[place + 4 : place + 8], raw[place + 8 : place + 8 + length]
        place += length + 12
        if kind == b"zTXt":
            yield zlib.decompress(data.partition(b"\0")[2][1:])
        elif kind == b"iTXt" and data.partition(b"\0")[2][:1] == b"\1":
            # Flag and method, then language and translated keyword, each with a zero behind it.
            yield zlib.decompress(data.partition(b"\0")[2][2:].split(b"\0", 2)[2])


def named(content: bytes, secrets: set[bytes]) -> list[bytes]:
    """Return the identifying texts that `content` holds, in whatever case."""
    lower = content.lower()
    # Hundreds of numbered file names begin alike: one look for the beginning spares the rest.
    heads = {head for head in {_head(text) for text in secrets} if head in lower}
    return sorted(t for t in secrets if _head(t) in heads and t.lower() in lower)


def _head(text: bytes) -> bytes:
    return text.lower()[:_HEAD]


def leaks(folder: Path, secrets: set[bytes]) -> list[str]:
    """Return one line for each file that holds an identifying text."""
    return [
        f"{path.name}: {text!r}"
        for path, content in contents(folder)
        for text in named(content, secrets)
    ]
