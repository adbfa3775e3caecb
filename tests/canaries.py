"""A text of its own in every element of a DICOM file that could name somebody.

No list of identifying elements is kept: the whole dictionary of DICOM is gone through, and all
that holds text, a date, a time, a UID or a person gets a canary, unless the image needs it.
"""

import gzip
import io
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom._private_dict import private_dictionaries
from pydicom.datadict import DicomDictionary
from pydicom.dataelem import DataElement
from pydicom.sequence import Sequence
from pydicom.tag import Tag

# Groups of command, file header, directory and trailing padding.
_STRUCTURAL = {0x0000, 0x0002, 0x0004, 0x0022, 0x5400, 0x7FE0, 0xFFFA, 0xFFFC, 0xFFFE}
_TEXTS = {"LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT", "AE"}
_TIMES = {"DA", "TM", "DT"}
# Without these there is no image, no vendor, or no ASL; what names a person in them is planted
# by `_NAMED`.
_NEEDED = {
    "SpecificCharacterSet",
    "ImageType",
    "Manufacturer",
    "ManufacturerModelName",
    "Modality",
    "SOPClassUID",
    "PatientAge",
    "PatientSex",
    "SeriesDescription",
    "ProtocolName",
    "SoftwareVersions",
    "TimezoneOffsetFromUTC",
}
# Technical texts that a sidecar may publish: here they are named after the patient.
_NAMED = ("SequenceName", "PulseSequenceName", "ReceiveCoilName")
_NUMBERS = ("71.317", "1.7713", "+0937")
_SEQUENCES = {0x0008, 0x0010, 0x0032, 0x0038, 0x0040, 0x0088, 0x0400}
_LABELLED = {0x00080005, 0x00080016}
# The dimensions of an overlay or curve, and not its comments, need an image.
_REPEATED = {0x60000022: "LO", 0x60001500: "LO", 0x60004000: "LT", 0x50002500: "LO"}
_MAKERS = {
    "ge": ("GEMS_",),
    "philips": ("Philips ", "SPI", "PHILIPS "),
    "siemens": ("SIEMENS ",),
}


def canary(tag: int, inside: int = 0) -> str:
    """Return the text for an element, in capitals and short enough for every kind of text."""
    return f"ZQ{tag:08X}K{inside or ''}"


def plant(folder: Path, maker: str) -> set[bytes]:
    """Plant canaries in every file below `folder`; return what to search for.

    Parameters
    ----------
    folder
        DICOM files of one study.
    maker
        ``"ge"``, ``"philips"`` or ``"siemens"``: whose private elements are planted as well.
    """
    planted: set[str] = set()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        image = dcmread(path)
        planted |= _plant_public(image)
        planted |= _plant_sequences(image)
        planted |= _plant_private(image, maker)
        planted |= _plant_frames(image)
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.save_as(path, enforce_file_format=True)
    assert len(planted) > 1000
    return {text.encode() for text in planted}


def _plant_public(image: Dataset) -> set[str]:
    planted: set[str] = set()
    for tag, (kind, _count, _name, _retired, keyword) in DicomDictionary.items():
        if tag >> 16 in _STRUCTURAL or tag in _LABELLED or keyword in _NEEDED:
            continue
        if kind in _TEXTS:
            planted |= _put(image, tag, kind, canary(tag))
        elif kind in _TIMES:
            planted |= _moment(image, tag, kind)
        elif kind == "UI" and keyword and "Class" not in keyword:
            planted |= _uid(image, tag, keyword)
    for tag, kind in _REPEATED.items():
        planted |= _put(image, tag, kind, canary(tag))
    for keyword in _NAMED:
        setattr(image, keyword, canary(0x00100010))
    for keyword in ("SeriesDescription", "ProtocolName"):
        own = canary(Tag(keyword))
        setattr(image, keyword, f"{image.get(keyword, '')} {own} {canary(0x00100010)}")
        planted.add(own)
    numbers = {
        "PatientWeight": "71.317",
        "PatientSize": "1.7713",
        "TimezoneOffsetFromUTC": "+0937",
    }
    for keyword, number in numbers.items():
        setattr(image, keyword, number)
    return planted | set(numbers.values())


def _put(image: Dataset, tag: int, kind: str, text: str) -> set[str]:
    image[tag] = DataElement(tag, kind, text)
    return {text}


def _moment(image: Dataset, tag: int, kind: str) -> set[str]:
    """Plant a moment that no other element has, and return it as DICOM and as JSON write it."""
    number = tag % 9973
    day = (f"19{3 + number % 7:02d}", f"{1 + number % 12:02d}", f"{11 + number % 17:02d}")
    time = (f"{13 + number % 10:02d}", f"{11 + number % 47:02d}", f"{13 + number % 43:02d}")
    written = {"DA": "".join(day), "TM": "".join(time) + ".5"}
    written["DT"] = written["DA"] + written["TM"]
    image[tag] = DataElement(tag, kind, written[kind])
    if kind == "TM":
        return {":".join(time)}
    return {"".join(day), "-".join(day)}


def _uid(image: Dataset, tag: int, keyword: str) -> set[str]:
    """Plant a UID; those that group files into series and studies stay as the writer made them."""
    if keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        return {str(image[tag].value)}
    if keyword.endswith("SyntaxUID"):
        return set()
    text = f"2.25.{987654321 * 10**10 + tag}"
    return _put(image, tag, "UI", text)


def _plant_sequences(image: Dataset) -> set[str]:
    """Plant items in sequences of patient, study, request, procedure and original attributes."""
    planted: set[str] = set()
    for tag, (kind, *_rest) in DicomDictionary.items():
        if kind != "SQ" or tag >> 16 not in _SEQUENCES or tag in image:
            continue
        item = Dataset()
        item.CodeMeaning, item.PersonName = canary(tag, 1), canary(tag, 2)
        item.PatientName, item.TextValue = canary(tag, 3), canary(tag, 4)
        item.ReferencedSOPInstanceUID = f"2.25.{tag}{tag}"
        image[tag] = DataElement(tag, "SQ", Sequence([item]))
        planted |= {canary(tag, number) for number in range(1, 5)} | {f"2.25.{tag}{tag}"}
    return planted


def _plant_frames(image: Dataset) -> set[str]:
    """Plant comments and labels in the frames of an enhanced image."""
    planted: set[str] = set()
    for number, frame in enumerate(image.get("PerFrameFunctionalGroupsSequence", ()), start=1):
        (content,) = frame.FrameContentSequence
        content.FrameComments = canary(0x00209158, number)
        content.FrameLabel = canary(0x00209453, number)
        planted |= {content.FrameComments, content.FrameLabel}
    return planted


def _plant_private(image: Dataset, maker: str) -> set[str]:
    planted: set[str] = set()
    for creator, elements in private_dictionaries.items():
        if not creator.startswith(_MAKERS[maker]):
            continue
        for pattern, (kind, *_rest) in elements.items():
            # "0019xx9C": the block is that of the creator; some groups are patterns as well.
            if kind not in _TEXTS | {"OB", "UN"} or "x" in pattern[:4] + pattern[-2:]:
                continue
            group, offset = int(pattern[:4], 16), int(pattern[-2:], 16)
            block = image.private_block(group, creator, create=True)
            text = canary(group << 16 | offset, len(creator))
            if offset not in block and block.block_start >> 8 < 0xFF:
                packed = text.encode() + b"\0" * (len(text) % 2)
                block.add_new(offset, kind, text if kind in _TEXTS else packed)
                planted.add(text)
    if maker == "ge":
        planted |= _plant_protocol_block(image)
    return planted


def _plant_protocol_block(image: Dataset) -> set[str]:
    """Plant GE's compressed copy of the protocol: (0025,101B), a length and then gzip."""
    text = canary(0x0025101B)
    lines = f'set PATNAME "{text}"\nset SERIESDESC "{text}"\nset IOPT "{text}"\n'.encode()
    packed = gzip.compress(lines, mtime=0)
    content = struct.pack("<I", len(packed)) + packed
    block = image.private_block(0x0025, "GEMS_SERS_01", create=True)
    block.add_new(0x1B, "OB", content + b"\0" * (len(content) % 2))
    return {text}


def zip_with_canaries(folder: Path, archive: Path) -> set[bytes]:
    """Pack `folder` with canaries for names, comments and extra fields; return these."""
    names = [canary(0xFFFF0000, number) for number in range(1, 6)]
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        target.comment = names[0].encode()
        files = (p for p in folder.rglob("*") if p.is_file())
        for number, path in enumerate(sorted(files)):
            entry = zipfile.ZipInfo(f"{names[1]}/{names[2]}^{number}/{names[2]}-{number}.dcm")
            entry.comment = names[3].encode()
            entry.extra = struct.pack("<HH", 0x7075, len(names[4])) + names[4].encode()
            target.writestr(entry, path.read_bytes())
    content = archive.read_bytes()
    assert all(name.encode() in content for name in names)
    return {name.encode() for name in names}


def leaked(texts: Iterable[str], planted: set[bytes]) -> set[bytes]:
    """Return the canaries that were printed."""
    said = io.StringIO("".join(texts)).read().casefold().encode()
    return {text for text in planted if text.lower() in said}
