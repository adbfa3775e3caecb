"""Siemens' private header within the header: a named list of texts, in the layout of version 2.

A file starts with ``SV10``, four bytes, the number of entries and a check word. An entry is a name
of 64 bytes, the multiplicity, a two-letter representation, its code, the number of items and a
check word; an item is its length three times over around the check word, then the text, padded to
four bytes. Unused items are written too: readers expect at least six.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

_CHECK_USED = 77
_CHECK_EMPTY = 205
_LEAST_ITEMS = 6
_CODES = {
    "UN": 0,
    "DS": 3,
    "FD": 4,
    "IS": 6,
    "SL": 7,
    "UL": 9,
    "US": 10,
    "CS": 16,
    "LO": 19,
    "SH": 22,
    "UT": 27,
}


@dataclass(frozen=True)
class Entry:
    """One named entry.

    Attributes
    ----------
    name
        What Siemens calls it.
    representation
        DICOM's two letters.
    values
        Numbers or texts; empty for an entry that is present without a value.
    multiplicity
        As the header declares it; 0 for lists of any length.
    """

    name: str
    representation: str
    values: Sequence[str | int | float] = ()
    multiplicity: int = 1


def encode(entries: Sequence[Entry]) -> bytes:
    """Return the bytes of a header that holds `entries`."""
    head = b"SV10\4\3\2\1" + struct.pack("<2I", len(entries), _CHECK_USED)
    body = b"".join(_encode_entry(entry) for entry in entries)
    return head + body + b"\0" * 4


def _encode_entry(entry: Entry) -> bytes:
    items = [_text(value, entry.representation) for value in entry.values]
    items += [b""] * (_LEAST_ITEMS - len(items) if items else 0)
    head = struct.pack(
        "<64si4s3i",
        entry.name.encode("ascii"),
        entry.multiplicity,
        entry.representation.encode("ascii"),
        _CODES[entry.representation],
        len(items),
        _CHECK_USED if items else _CHECK_EMPTY,
    )
    return head + b"".join(_encode_item(item) for item in items)


def _encode_item(text: bytes) -> bytes:
    check = _CHECK_USED if text else _CHECK_EMPTY
    return (
        struct.pack("<4i", len(text), len(text), check, len(text))
        + text
        + b"\0" * (-len(text) % 4)
    )


def _text(value: str | int | float, representation: str) -> bytes:
    """Return `value` as Siemens prints it, ended by a zero."""
    if isinstance(value, float) or representation in {"FD", "DS"}:
        text = f"{float(value):.8f}"
    elif isinstance(value, int):
        text = f"{value:<8d}"
    else:
        text = value
    return text.encode("latin-1") + b"\0"
