"""Unpack what the user gives, without ever trusting a name inside it.

Members are written under numbers, never under their own names: a name can lead out of the target
folder, clash with another one, or hold a patient's name. What a hostile archive looks like is
refused all the same, so that it is noticed.
"""

import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from cereflow_bids.errors import InputError, UsageError

_ENCRYPTED = 0x1
_CHUNK = 1 << 20
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError)


def check_inputs(inputs: Sequence[Path]) -> None:
    """Refuse a command line that names what is not there; without the name, which can be one.

    Raises
    ------
    UsageError
        If one of `inputs` is neither a file nor a folder.
    """
    for position, source in enumerate(inputs, start=1):
        if not (source.is_file() or source.is_dir()):
            raise UsageError(
                "There is no such file or folder.",
                where=f"input {position}",
                fix="check the path; nothing has been converted.",
            )


def unpack(source: Path, folder: Path, position: int) -> list[Path]:
    """Return the files of one input: those of a folder, or those of a ZIP unpacked to `folder`.

    Parameters
    ----------
    source
        A ZIP archive or a folder.
    folder
        Where members go, named ``000001`` and so on; made if it is missing.
    position
        Number of the input on the command line, from 1: what messages call it by.

    Raises
    ------
    InputError
        If the input is missing, not a ZIP, encrypted, damaged, unsafe or too large for the disk.
    """
    where = f"input {position}"
    if source.is_dir():
        return sorted(_files_below(source))
    if not source.is_file():
        raise InputError("There is no such file or folder.", where=where, fix="check the path.")
    try:
        with zipfile.ZipFile(source) as archive:
            return _unpack_members(archive, folder, where)
    except _BROKEN as error:
        raise InputError(
            "This is not a ZIP archive, or it is damaged.",
            where=where,
            fix="export or download it again and compare the file sizes.",
        ) from error


def _files_below(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names)


def _unpack_members(archive: zipfile.ZipFile, folder: Path, where: str) -> list[Path]:
    members = [
        (number, member)
        for number, member in enumerate(archive.infolist(), start=1)
        if not member.is_dir()
    ]
    for number, member in members:
        _refuse_unsafe(member, f"member {number} of {where}")
    folder.mkdir(parents=True, exist_ok=True)
    needed = sum(member.file_size for _, member in members)
    if needed > shutil.disk_usage(folder).free:
        raise InputError(
            f"Unpacked it would take {needed / 1e9:.1f} GB, more than the disk has left.",
            where=where,
            fix="free some space, or choose a BIDS folder on another disk.",
        )
    return [
        _unpack_one(archive, member, folder / f"{number:06d}", f"member {number} of {where}")
        for number, member in members
    ]


def _refuse_unsafe(member: zipfile.ZipInfo, where: str) -> None:
    """Raise if `member` is encrypted, a link, or named so as to leave its folder."""
    if member.flag_bits & _ENCRYPTED:
        raise InputError(
            "The archive is encrypted.", where=where, fix="pack it again without a password."
        )
    if stat.S_ISLNK(member.external_attr >> 16):
        raise InputError(
            "The member is a symbolic link.", where=where, fix="pack the files themselves."
        )
    # zipfile mends some names silently; orig_filename is what the archive really says.
    for name in (member.orig_filename, member.filename):
        windows = PureWindowsPath(name)
        parts = {*PurePosixPath(name).parts, *windows.parts}
        if name.startswith(("/", "\\")) or windows.drive or ".." in parts:
            raise InputError(
                "The member's name leads out of the folder that it is unpacked to.",
                where=where,
                fix="do not use this archive; ask where it comes from, and pack the folder anew.",
            )


def _unpack_one(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, where: str
) -> Path:
    """Write one member to `target`, and no more bytes than it declares."""
    written = 0
    try:
        with archive.open(member) as source, target.open("xb") as sink:
            while chunk := source.read(_CHUNK):
                written += len(chunk)
                if written > member.file_size:
                    raise zipfile.BadZipFile("larger than declared")
                sink.write(chunk)
    except (*_BROKEN, NotImplementedError) as error:
        raise InputError(
            "The member cannot be unpacked: it is damaged or packed by an unknown method.",
            where=where,
            fix="export it again as an ordinary ZIP.",
        ) from error
    return target
