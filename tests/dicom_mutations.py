"""DICOM files made wrong, byte by byte: tags, representations, lengths, values and pixels.

All files are explicit little endian, as the project's writers make them.
"""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable
from typing import NamedTuple

from pydicom import dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement

CANARY = b"CANARYHIDDEN"
# In what a series is called: its owner may see it again among the series that wait.
DESCRIBED = b"CANARYDESCRIBED"
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT"}
_UNDEFINED = 0xFFFFFFFF
_PIXELS = 0x7FE00010


class Element(NamedTuple):
    """Where an element stands in its file: header, value, and the byte behind it."""

    tag: int
    start: int
    value: int
    end: int


# What to write into an element instead of its value. Nothing here that an allow-listed field may
# pass on holds the canary.
VALUES: dict[str, tuple[bytes, ...]] = {
    "Rows": (b"\0\0", b"\1\0", b"\xff\xff"),
    "Columns": (b"\0\0", b"\xff\xff", b"\x07\0"),
    "BitsAllocated": (b"\0\0", b"\x08\0", b"\x20\0", b"\x0c\0"),
    "BitsStored": (b"\0\0", b"\x40\0"),
    "SamplesPerPixel": (b"\0\0", b"\x03\0"),
    "PixelRepresentation": (b"\x07\0",),
    "PixelSpacing": (b"0\\0 ", b"nan\\nan ", b"abc\\def ", b"", b"1"),
    "SliceThickness": (b"0 ", b"-5", b"inf "),
    "ImageOrientationPatient": (b"0\\0\\0\\0\\0\\0 ", b"1\\0\\0\\1\\0\\0 ", b"1\\0", b"nan "),
    "ImagePositionPatient": (b"1e400\\0\\0 ", b"0\\0", b"x\\y\\z ", b""),
    "InstanceNumber": (b"99999999999999999999", b"x ", b"", b"-1", b"1 ", b"1.5 "),
    "SeriesNumber": (b"-1", b"99999999999999999999", b"x ", b"", b"0 "),
    "EchoTime": (b"nan ", b"inf ", b"-1", b"", b"1e-300", b"0 "),
    "RepetitionTime": (b"nan ", b"-1", b"0 ", b"", b"abc "),
    "InversionTime": (b"nan ", b"-1", b"0 ", b"", b"1e9 "),
    "MagneticFieldStrength": (b"0 ", b"nan ", b"", b"30000 "),
    "FlipAngle": (b"nan ", b"9\\9 "),
    "NumberOfAverages": (b"0 ", b"-3", b"nan ", b""),
    "SeriesInstanceUID": (b"", b"1.2.3\0", CANARY, b"../../.."),
    "SOPInstanceUID": (b"", b"1.2.3\0", CANARY),
    "StudyInstanceUID": (b"", b"1.2.3\0", CANARY),
    "StudyDate": (b"99999999", b"", b"CANARYDT", b"20201301"),
    "StudyTime": (b"999999", b"", b"CANARYTM"),
    "PatientID": (
        b"",
        b"../../CANARYHIDDEN",
        b"CANARY\\HIDDEN ",
        b"\xd5\xc5\xce\xb0",
        b"\n\r\t\0",
    ),
    "PatientName": (b"", b"\x1b$BCANARY^HIDDEN", b"\xd5\xc5\xce\xb0^CANARYHIDDEN ", b"^" * 64),
    "PatientBirthDate": (b"00000000", b"CANARYBD", b""),
    "PatientAge": (b"999Y", b"abc ", b"-05Y", b""),
    "PatientSex": (b"X ", CANARY, b""),
    "SpecificCharacterSet": (b"nonsense", b"GB18030 ", b"ISO 2022 IR 87", b"", b"\\\\"),
    "Manufacturer": (b"", b"GE", b"Agfa", b"SIEMENS HEALTHINEERS", b"Philips "),
    "ImageType": (b"", b"DERIVED ", b"\\\\\\ ", b"ORIGINAL\\PRIMARY\\ASL ", b"x" * 200),
    "SeriesDescription": (
        b"",
        DESCRIBED + b"\n{}%s ",
        b"../../" + DESCRIBED,
        DESCRIBED * 50,
        b"T1",
    ),
    "ProtocolName": (b"", DESCRIBED, b"{%s:>999999999} " % DESCRIBED, b"\x00\xff" * 8),
    "Modality": (b"CT", b"", b"SR"),
    "MRAcquisitionType": (b"2D", b"", b"4D"),
    "SoftwareVersions": (b"", b"15\\x", b"\xff\xfe"),
    "AcquisitionNumber": (b"x ", b"-1"),
    "TemporalPositionIdentifier": (b"0 ", b"99999 ", b"x "),
    "TransferSyntaxUID": (
        b"1.2.840.10008.1.2\0",
        b"1.2.840.10008.1.2.2\0",
        b"1.2.840.10008.1.2.1.99",
        b"1.2.840.10008.1.2.4.70",
        b"1.2.840.10008.1.2.4.90",
        b"1.2.3\0",
        b"",
    ),
}
_PRIVATE = (
    (0x0018, 0x9258, b"FD", struct.pack("<d", float("nan"))),
    (0x0028, 0x0008, b"IS", b"999999999 "),
    (0x0043, 0x10A5, b"IS", b"-1"),
    (0x0027, 0x1062, b"FL", struct.pack("<f", float("inf"))),
    (0x0009, 0x1001, b"LO", CANARY),
    (0x0011, 0x1011, b"UN", CANARY * 50),
    (0x0040, 0x0275, b"SQ", b"\xfe\xff\x00\xe0" + struct.pack("<L", 0xFFFF)),
    (0x2005, 0x100E, b"FL", struct.pack("<f", 0.0)),
    (0x7FDF, 0x0010, b"LT", CANARY),
)


def elements(content: bytes) -> list[Element]:
    """Return the elements of a sound file whose place is known, in the file's order."""
    image = dcmread(io.BytesIO(content))
    found = []
    for data in (image.file_meta, image):
        # Iterating over a data set itself would read the values.
        tags = data.keys()
        for tag in tags:
            raw = data.get_item(tag)
            if not isinstance(raw, RawDataElement) or raw.length == _UNDEFINED:
                continue
            header = 12 if (raw.VR or "UN").encode() in _LONG else 8
            found.append(
                Element(
                    int(tag), raw.value_tell - header, raw.value_tell, raw.value_tell + raw.length
                )
            )
    return sorted(found, key=lambda one: one.start)


def written(tag: int, representation: bytes, value: bytes) -> bytes:
    """Return an element as it stands in a file."""
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + representation
    if representation in _LONG:
        return head + struct.pack("<HL", 0, len(value)) + value
    return head + struct.pack("<H", len(value)) + value


def flip_byte(content: bytes, chance: random.Random) -> bytes:
    """Change some bytes anywhere in the header."""
    raw = bytearray(content)
    end = next((one.start for one in elements(content) if one.tag == _PIXELS), len(raw))
    for _ in range(chance.randint(1, 6)):
        raw[chance.randrange(128, end)] = chance.randrange(256)
    return bytes(raw)


def change_tag(content: bytes, chance: random.Random) -> bytes:
    one = chance.choice(elements(content))
    tag = struct.pack("<HH", chance.choice((2, 8, 0x10, 0x18, 0x28, 0xFFFE, 0x7FE0)), 0x10)
    return content[: one.start] + tag + content[one.start + 4 :]


def change_representation(content: bytes, chance: random.Random) -> bytes:
    one = chance.choice(elements(content))
    found = chance.choice((b"SQ", b"UN", b"OW", b"US", b"PN", b"DS", b"AT", b"zz", b"\0\0"))
    return content[: one.start + 4] + found + content[one.start + 6 :]


def change_length(content: bytes, chance: random.Random) -> bytes:
    one = chance.choice(elements(content))
    length = chance.choice((0, 1, one.end - one.value + 2, 0xFFFE, 0x7FFFFFFF, _UNDEFINED))
    if one.value - one.start == 12:
        packed = struct.pack("<L", length)
    else:
        packed = struct.pack("<H", length & 0xFFFF)
    return content[: one.value - len(packed)] + packed + content[one.value :]


def change_value(content: bytes, chance: random.Random) -> bytes:
    """Write something the standard does not foresee into a field that matters."""
    by_tag = {one.tag: one for one in elements(content)}
    keywords = [key for key in VALUES if tag_for_keyword(key) in by_tag]
    keyword = chance.choice(keywords)
    one = by_tag[tag_for_keyword(keyword) or 0]
    value = chance.choice(VALUES[keyword])
    value += b" " * (len(value) % 2)
    representation = content[one.start + 4 : one.start + 6]
    return content[: one.start] + written(one.tag, representation, value) + content[one.end :]


def drop_element(content: bytes, chance: random.Random) -> bytes:
    one = chance.choice(elements(content))
    return content[: one.start] + content[one.end :]


def repeat_element(content: bytes, chance: random.Random) -> bytes:
    one = chance.choice(elements(content))
    return (
        content[: one.end]
        + content[one.start : one.end] * chance.randint(1, 3)
        + content[one.end :]
    )


def add_element(content: bytes, chance: random.Random) -> bytes:
    """Add an odd or private element where its number belongs."""
    group, number, representation, value = chance.choice(_PRIVATE)
    tag = group << 16 | number
    value += b" " * (len(value) % 2)
    place = next((one.start for one in elements(content) if one.tag >= tag), len(content))
    return content[:place] + written(tag, representation, value) + content[place:]


def cut(content: bytes, chance: random.Random) -> bytes:
    """End the file in the midst of its header or of its pixels."""
    return content[: chance.randrange(len(content))]


def change_pixels(content: bytes, chance: random.Random) -> bytes:
    one = next((one for one in elements(content) if one.tag == _PIXELS), None)
    if one is None:
        return content
    length = one.end - one.value
    pixels = chance.choice(
        (
            bytes(length),
            b"\xff\x7f" * (length // 2),
            b"\xff" * length,
            chance.randbytes(length),
            b"",
        )
    )
    keep = chance.choice((content[one.start : one.value], b""))
    return content[: one.start] + keep + pixels[: chance.choice((length, length // 2))]


def drop_preamble(content: bytes, chance: random.Random) -> bytes:
    return content[chance.choice((128, 132)) :]


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    flip_byte,
    change_tag,
    change_representation,
    change_length,
    change_value,
    change_value,
    change_value,
    drop_element,
    repeat_element,
    add_element,
    cut,
    change_pixels,
    drop_preamble,
)
