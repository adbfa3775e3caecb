"""Members of a ZIP, each checked against what the directory says of it."""

import bz2
import stat
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Protocol

from cereflow_bids.errors import InputError
from cereflow_bids.intake.archives.kinds import (
    Member,
    is_junk,
    is_opaque,
    refuse_unsafe_name,
)
from cereflow_bids.intake.archives.limits import CHUNK, Account
from cereflow_bids.intake.archives.zip_directory import (
    AGAIN,
    LOCAL,
    LOCAL_MAGIC,
    Entry,
    damaged,
    read_directory,
)

# Bits: encrypted, strongly encrypted, names hidden. Method 99 is AES.
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_ENCRYPTED_METHOD = 99
_STORED = 0
_PIECE = 1 << 18


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Inflater:
    """Deflate with the interface of the standard library's other decompressors."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        found = self._stream.decompress(self._stream.unconsumed_tail + data, max_length)
        self.needs_input = not self._stream.unconsumed_tail and len(found) < max_length
        return found


_METHODS: dict[int, type[_Inflater] | type[bz2.BZ2Decompressor]] = {
    8: _Inflater,
    12: bz2.BZ2Decompressor,
}


def members(path: Path, folder: Path, where: str, account: Account) -> Iterator[Member]:
    """Yield the files of the ZIP at `path`, after all entries of its directory were checked.

    Parameters
    ----------
    path
        The archive.
    folder
        Where it will be unpacked to: its disk must have room for all of it.
    where
        What messages call the archive by.
    account
        What may still be unpacked.

    Raises
    ------
    InputError
        If the archive is unsafe or damaged.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        entries = read_directory(file, size, where, lambda n: account.check_files(n, where))
        for entry in entries:
            _refuse_unsafe(entry, _place(entry, where), account)
        _refuse_overlaps(entries, size, where)
        kept = [entry for entry in entries if not _is_passed_over(entry)]
        account.expect(sum(entry.size for entry in kept), folder, where)
        for entry in kept:
            place = _place(entry, where)
            content = _content(file, entry, place)
            yield Member(entry.number, place, entry.name, is_opaque(entry.name), content)


def _place(entry: Entry, where: str) -> str:
    return f"member {entry.number} of {where}"


def _is_passed_over(entry: Entry) -> bool:
    return entry.name.endswith("/") or is_junk(entry.name)


def _refuse_unsafe(entry: Entry, where: str, account: Account) -> None:
    """Raise if the member is hostile, or cannot be unpacked, by what the directory says."""
    refuse_unsafe_name(entry.name, where)
    kind = stat.S_IFMT(entry.mode)
    if kind == stat.S_IFLNK:
        raise InputError(
            "The member is a symbolic link.", where=where, fix="pack the files themselves."
        )
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise InputError(
            "The member is a device or a pipe, not a file.",
            where=where,
            fix="do not use this archive; ask where it comes from, and pack the folder anew.",
        )
    if entry.flags & _ENCRYPTED or entry.method == _ENCRYPTED_METHOD:
        raise InputError(
            "The archive is encrypted.", where=where, fix="pack it again without a password."
        )
    if entry.method != _STORED and entry.method not in _METHODS:
        raise InputError(
            f"The member is packed by a method that is not known here (number {entry.method}).",
            where=where,
            fix="pack it again as an ordinary ZIP (deflate).",
        )
    account.judge(entry.size, entry.packed, where)


def _refuse_overlaps(entries: Sequence[Entry], size: int, where: str) -> None:
    """Raise if members share bytes, or lie beyond the archive's `size` bytes."""
    before = 0
    for entry in sorted(entries, key=lambda one: one.start):
        if entry.start < before:
            raise InputError(
                "Members of the archive overlap: this is a decompression bomb, or damage.",
                where=_place(entry, where),
                fix="do not use this archive; ask where it comes from, and pack the folder anew.",
            )
        before = entry.start + LOCAL.size + entry.packed
        if before > size:
            raise damaged(_place(entry, where), "the member lies beyond its end")


def _content(file: IO[bytes], entry: Entry, where: str) -> Iterator[bytes]:
    """Yield what the member holds, exactly as many bytes as declared, or raise."""
    _seek_content(file, entry, where)
    pieces = _packed(file, entry.packed, where)
    if entry.method != _STORED:
        pieces = _unpacked(pieces, _METHODS[entry.method](), where)
    checksum = count = 0
    for piece in pieces:
        count += len(piece)
        if count > entry.size:
            raise damaged(where, "the member holds more bytes than it declares")
        checksum = zlib.crc32(piece, checksum)
        yield piece
    if count < entry.size:
        raise damaged(where, "the member holds fewer bytes than it declares")
    if checksum != entry.checksum:
        raise damaged(where, "the member's checksum is wrong")


def _seek_content(file: IO[bytes], entry: Entry, where: str) -> None:
    """Go to the member's first byte, past its own header, which must agree with the directory."""
    file.seek(entry.start)
    head = file.read(LOCAL.size)
    if len(head) < LOCAL.size or not head.startswith(LOCAL_MAGIC):
        raise damaged(where, "the member is not where the directory says")
    _, _, _, method, _, _, _, _, _, name_length, extra_length = LOCAL.unpack(head)
    if method != entry.method:
        raise damaged(where, "the member's header and the directory disagree")
    file.seek(name_length + extra_length, 1)


def _packed(file: IO[bytes], length: int, where: str) -> Iterator[bytes]:
    while length > 0:
        piece = file.read(min(length, _PIECE))
        if not piece:
            raise InputError(
                "The ZIP archive is truncated: the member ends too early.", where=where, fix=AGAIN
            )
        length -= len(piece)
        yield piece


def _has_more(decompressor: _Decompressor) -> bool:
    """Tell whether there is more to be had of the bytes given so far."""
    return not (decompressor.eof or decompressor.needs_input)


def _unpacked(pieces: Iterator[bytes], decompressor: _Decompressor, where: str) -> Iterator[bytes]:
    """Yield what `pieces` hold, never more than a chunk at a time."""
    try:
        for piece in pieces:
            if decompressor.eof:
                raise damaged(where, "the member goes on after its end")
            yield decompressor.decompress(piece, CHUNK)
            while _has_more(decompressor):
                yield decompressor.decompress(b"", CHUNK)
    except (zlib.error, OSError, EOFError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise damaged(where, "the member cannot be decompressed") from error
    if not decompressor.eof or decompressor.unused_data:
        raise damaged(where, "the member does not end where it should")
