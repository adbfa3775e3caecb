"""Unpack what the user gives, without ever trusting a name inside it.

Members are written under numbers, never under their own names: a name can lead out of the target
folder, clash with another one, or hold a patient's name. What a hostile archive looks like is
refused all the same, so that it is noticed.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cereflow_bids.errors import InputError, UsageError
from cereflow_bids.intake.archives import tar as archives_tar
from cereflow_bids.intake.archives import zip as archives_zip
from cereflow_bids.intake.archives.kinds import (
    ARCHIVES,
    Kind,
    Member,
    is_junk,
    is_opaque,
    kind_of,
    refuse_unreadable,
)
from cereflow_bids.intake.archives.limits import HEAD, Account, Limits, disk_told, reading_told
from cereflow_bids.intake.archives.zip_directory import has_end

__all__ = ["Limits", "check_inputs", "unpack"]


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


def expanded(inputs: Sequence[Path], tell: Callable[[str], object]) -> list[Path]:
    """Return the inputs, with a folder that holds nothing but archives as its archives.

    So one damaged archive is refused by itself, and messages call each by its own number.

    Parameters
    ----------
    inputs
        Archives and folders.
    tell
        Called with one sentence for each folder that is taken apart.
    """
    result: list[Path] = []
    for source in inputs:
        parts = _archives_in(source) if source.is_dir() else []
        if parts:
            numbers = f"{len(result) + 1} to {len(result) + len(parts)}"
            tell(
                f"a folder holds {len(parts)} archives; by their names in order they are inputs "
                f"{numbers}."
            )
        result += parts or [source]
    return result


def _archives_in(folder: Path) -> list[Path]:
    """Return the archives of a folder that holds nothing else, in the order of their names."""
    found = sorted(path for path in folder.iterdir() if not is_junk(path.name))
    plain = all(path.is_file() and not path.is_symlink() for path in found)
    try:
        archives = plain and all(_kind(path) in ARCHIVES for path in found)
    except OSError:
        return []
    return found if archives and len(found) > 1 else []


def unpack(source: Path, folder: Path, position: int, limits: Limits | None = None) -> list[Path]:
    """Return the files of one input, whatever it is packed in.

    Parameters
    ----------
    source
        A ZIP; a tar, plain or compressed by gzip, bzip2 or xz; one DICOM file; or a folder of
        files and archives. Archives may hold archives. What is packed is told by its bytes.
    folder
        Where members go, named ``000001`` and so on by their position, nested ones one folder
        deeper; made if it is needed. Unpacking the same input again gives the same paths.
    position
        Number of the input on the command line, from 1: what messages call it by.
    limits
        What it may unpack to.

    Returns
    -------
    list of Path
        Files in the order of the archive, or of a folder's sorted paths. Those of a folder stay
        where they are. What macOS and Windows add is left out.

    Raises
    ------
    InputError
        If the input is missing, no archive, empty, encrypted, damaged, unsafe or too large, if it
        holds an empty file, or an archive two members of one name. What had been unpacked of it
        is removed.
    """
    where = f"input {position}"
    account = Account(limits or Limits())
    try:
        # What writing raises is told by the account, and all else comes of reading.
        with reading_told(where):
            if source.is_dir():
                return list(_folder_files(source.resolve(), folder, where, account))
            return _single_file(source, folder, where, account)
    except BaseException:
        account.take_back()
        raise


def _single_file(source: Path, folder: Path, where: str, account: Account) -> list[Path]:
    if not source.is_file():
        raise InputError("There is no such file or folder.", where=where, fix="check the path.")
    kind = _kind(source)
    if kind is Kind.DICOM:
        return [source]
    if kind is Kind.OTHER:
        with source.open("rb") as file:
            # A ZIP that unpacks itself begins as a program.
            if not has_end(file):
                raise InputError(
                    "This is not an archive (ZIP, tar, tar.gz), a folder or a DICOM file.",
                    where=where,
                    fix="give what the scanner or the archive exported, packed or as a folder.",
                )
        kind = Kind.ZIP
    account.packed += source.stat().st_size
    files = list(_archive_files(source, kind, folder, where, account, depth=1))
    if not account.seen:
        raise InputError(
            "The archive is empty.", where=where, fix="pack the folder again, with its files."
        )
    return files


def _kind(path: Path) -> Kind:
    with path.open("rb") as file:
        return kind_of(file.read(HEAD))


def _folder_files(source: Path, folder: Path, where: str, account: Account) -> Iterator[Path]:
    """Yield the files of a plain folder where they are, and of archives in it unpacked."""
    for number, path in enumerate(sorted(_files_and_links(source)), start=1):
        place = f"member {number} of {where}"
        account.count_file(where)
        if path.is_symlink():
            _refuse_leading_out(path, source, place)
            continue
        with reading_told(place):
            kind = _kind(path)
            refuse_unreadable(kind, place)
            if kind in ARCHIVES and not is_opaque(path.name):
                account.packed += path.stat().st_size
                target = folder / f"{number:06d}"
                yield from _archive_files(path, kind, target, place, account, depth=1)
            elif not path.stat().st_size:
                raise _is_empty(place)
            else:
                yield path


def _is_empty(where: str) -> InputError:
    return InputError(
        "The file is empty (0 bytes): an export that was cut short leaves such files.",
        where=where,
        fix="export the study again; if the file is meant to be empty, leave it out.",
    )


def _files_and_links(source: Path) -> Iterator[Path]:
    """Yield files and links below `source`, following none; no pipes, no devices."""

    def stop(error: OSError) -> None:
        raise error

    for parent, folders, names in os.walk(source, onerror=stop):
        folders[:] = [name for name in folders if not is_junk(f"{name}/")]
        for name in (*folders, *names):
            path = Path(parent, name)
            if path.is_symlink() or (path.is_file() and not is_junk(name)):
                yield path


def _refuse_leading_out(link: Path, source: Path, where: str) -> None:
    """Raise unless the link's goal is below `source`, where it is read by itself."""
    try:
        inside = link.resolve(strict=True).is_relative_to(source)
    except (OSError, RuntimeError):
        inside = False
    if not inside:
        raise InputError(
            "The member is a symbolic link that leads out of the folder, or nowhere.",
            where=where,
            fix="copy the files themselves into it (cp -L; with DataLad, get them first).",
        )


def _archive_files(
    path: Path, kind: Kind, folder: Path, where: str, account: Account, *, depth: int
) -> Iterator[Path]:
    """Yield the files of one archive, and of those in it."""
    if depth > account.limits.depth:
        raise InputError(
            f"Archives are packed in one another more than {account.limits.depth} deep.",
            where=where,
            fix="unpack the outer ones yourself; if they never end, this is a decompression bomb.",
        )
    with disk_told(where):
        folder.mkdir(parents=True, exist_ok=True)
    refuse_unreadable(kind, where)
    names: set[str] = set()
    for member in _members(path, kind, folder, where, account):
        if member.name in names:
            raise InputError(
                "Two members of the archive have the same name.",
                where=member.where,
                fix="pack the folder anew: which of the two belongs to it cannot be told.",
            )
        names.add(member.name)
        yield from _member_files(member, folder, account, depth)


def _members(
    path: Path, kind: Kind, folder: Path, where: str, account: Account
) -> Iterator[Member]:
    if kind is Kind.ZIP:
        return archives_zip.members(path, folder, where, account)
    return archives_tar.members(path, kind, folder, where, account)


def _member_files(member: Member, folder: Path, account: Account, depth: int) -> Iterator[Path]:
    """Write one member; yield it, or what it holds if it is an archive."""
    target = folder / f"{member.number:06d}"
    account.count_file(member.where)
    head = account.write(member.chunks, target, member.where)
    if not head:
        raise _is_empty(member.where)
    kind = kind_of(head)
    refuse_unreadable(kind, member.where)
    if kind not in ARCHIVES or member.opaque:
        yield target
        return
    inner = folder / f"{target.name}-members"
    yield from _archive_files(target, kind, inner, member.where, account, depth=depth + 1)
    account.remove(target)
