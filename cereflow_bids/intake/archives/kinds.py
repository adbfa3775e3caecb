"""What a file is, told by its first bytes, and what a member's name gives away."""

import re
import tarfile
from collections.abc import Iterator
from enum import Enum
from pathlib import PurePosixPath, PureWindowsPath
from typing import NamedTuple

from cereflow_bids.errors import InputError


class Kind(Enum):
    """Sorts of files that matter here; the value is the name that messages use."""

    ZIP = "ZIP"
    GZIP = "gzip"
    BZIP2 = "bzip2"
    XZ = "xz"
    TAR = "tar"
    SPLIT = "split ZIP"
    RAR = "RAR"
    SEVEN = "7-Zip"
    ZSTD = "Zstandard"
    DICOM = "DICOM"
    OTHER = "other"


class Member(NamedTuple):
    """One file in an archive.

    Attributes
    ----------
    number
        Its position in the archive, from 1; folders count as well.
    where
        What messages call it by.
    name
        Its name in the archive, which tells it from others and is never shown.
    opaque
        Whether it is left packed even if its bytes are those of an archive.
    chunks
        Its bytes; to be read before the next member is asked for.
    """

    number: int
    where: str
    name: str
    opaque: bool
    chunks: Iterator[bytes]


COMPRESSED = {Kind.GZIP, Kind.BZIP2, Kind.XZ}
ARCHIVES = {Kind.ZIP, Kind.TAR} | COMPRESSED
UNREADABLE = {Kind.SPLIT, Kind.RAR, Kind.SEVEN, Kind.ZSTD}

_MAGIC = (
    (b"PK\x03\x04", Kind.ZIP),
    (b"PK\x05\x06", Kind.ZIP),
    (b"PK\x07\x08", Kind.SPLIT),
    (b"PK00PK\x03\x04", Kind.ZIP),
    (b"\x1f\x8b\x08", Kind.GZIP),
    (b"\xfd7zXZ\x00", Kind.XZ),
    (b"Rar!\x1a\x07", Kind.RAR),
    (b"7z\xbc\xaf\x27\x1c", Kind.SEVEN),
    (b"\x28\xb5\x2f\xfd", Kind.ZSTD),
)
_BZIP2 = re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)")
# Most files are no tar: a look at the field of the checksum spares them the sum.
_TAR_CHECKSUM = re.compile(rb" *[0-7]{4,7}[ \0]")
_JUNK_FOLDER = "__MACOSX"
_JUNK = {".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini"}
# ZIPs that are programs and documents, as viewers and reports on a patient's disc; and images that
# are not DICOM.
_OPAQUE = (".jar", ".war", ".apk", ".docx", ".xlsx", ".pptx", ".odt", ".ods", ".epub", ".nii.gz")


def kind_of(head: bytes) -> Kind:
    """Return what the first 512 bytes of a file say it is."""
    if head[128:132] == b"DICM":
        return Kind.DICOM
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if _BZIP2.match(head):
        return Kind.BZIP2
    return Kind.TAR if _is_tar(head) else Kind.OTHER


def _is_tar(head: bytes) -> bool:
    """Tell a tar by its first header's checksum: the oldest ones have no other mark."""
    if len(head) < tarfile.BLOCKSIZE:
        return False
    if not _TAR_CHECKSUM.match(head[148:156]):
        return False
    try:
        tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def is_junk(name: str) -> bool:
    """Tell what macOS and Windows leave in folders and archives."""
    parts = re.split(r"[/\\]", name)
    last = parts[-1]
    return _JUNK_FOLDER in parts or last.startswith("._") or last.lower() in _JUNK


def is_opaque(name: str) -> bool:
    """Tell an archive by format that nobody takes for one."""
    return name.lower().endswith(_OPAQUE)


def refuse_unsafe_name(name: str, where: str) -> None:
    """Raise if `name` is absolute, has a drive, or goes up.

    Names are never used, so that this protects nothing; but an archive with such a name is not
    what a scanner or a colleague has packed.
    """
    windows = PureWindowsPath(name)
    parts = {*PurePosixPath(name).parts, *windows.parts}
    if name.startswith(("/", "\\")) or windows.drive or ".." in parts:
        raise InputError(
            "The member's name leads out of the folder that it is unpacked to "
            "(it is absolute, has a drive letter, or goes up by '..').",
            where=where,
            fix="do not use this archive; ask where it comes from, and pack the folder anew.",
        )


def refuse_unreadable(kind: Kind, where: str) -> None:
    """Raise if `kind` is one that nothing here unpacks: images in it would be lost unnoticed."""
    if kind is Kind.SPLIT:
        raise InputError(
            "This is a part of a ZIP that was split into several files.",
            where=where,
            fix="join the parts to one ZIP, or pack the files again into one.",
        )
    if kind in UNREADABLE:
        raise InputError(
            f"This is a {kind.value} archive, which cannot be unpacked here.",
            where=where,
            fix="pack the files as ZIP or tar.gz instead, or leave it out.",
        )
