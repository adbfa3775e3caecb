"""Members of a tar, plain or compressed, read once from front to back.

The standard library decodes the headers. Walking from one to the next is done here: its own walk
takes names of any length into memory, recurses over them, and loops over negative sizes.
"""

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, NamedTuple, cast

from cereflow_bids.errors import InputError
from cereflow_bids.intake.archives.kinds import (
    COMPRESSED,
    Kind,
    Member,
    is_junk,
    is_opaque,
    kind_of,
    refuse_unsafe_name,
)
from cereflow_bids.intake.archives.limits import CHUNK, HEAD, Account

_BLOCK = tarfile.BLOCKSIZE
# Names have at most 4096 bytes; file systems add attributes to them.
_LONGEST_EXTENSION = 1 << 20
_EXTENSIONS = {tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE}
_LONG_NAMES = {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
_DEVICES = {tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE}
# GNU's label of a volume, and the rest of a file that began in the volume before.
_VOLUME_LABEL, _CONTINUED = b"V", b"M"
_AGAIN = "export or download it again and compare the file sizes."
_BROKEN = (zlib.error, lzma.LZMAError, gzip.BadGzipFile, ValueError)


class _Extension(NamedTuple):
    """What precedes a header because it does not fit into it."""

    name: str | None = None
    size: int | None = None
    sparse: bool = False


class _Stream:
    """The bytes of a tar, read forwards, with an eye on how many come of how few.

    Parameters
    ----------
    source
        Unpacked bytes.
    raw
        The file itself: its position is what has been used up so far.
    where
        What messages call the archive by.
    account
        What may still be unpacked.
    """

    def __init__(self, source: IO[bytes], raw: IO[bytes], where: str, account: Account) -> None:
        self._source = source
        self._raw = raw
        self._where = where
        self._account = account
        self._count = 0
        self._waiting = b""

    def peek(self) -> bytes:
        """Return the first bytes and keep them for whoever reads next."""
        self._waiting = self.read(HEAD)
        return self._waiting

    def read(self, size: int) -> bytes:
        """Return `size` bytes, fewer only at the end."""
        found, self._waiting = self._waiting[:size], self._waiting[size:]
        while len(found) < size and (more := self._more(size - len(found))):
            found += more
        return found

    def exactly(self, size: int) -> Iterator[bytes]:
        """Yield `size` bytes piece by piece, or raise if there are fewer."""
        while size > 0:
            piece = self.read(min(size, CHUNK))
            if not piece:
                raise self._truncated()
            size -= len(piece)
            yield piece

    def rest(self) -> Iterator[bytes]:
        """Yield all that is left."""
        while piece := self.read(CHUNK):
            yield piece

    def padded(self, size: int) -> bytes:
        """Return `size` bytes and pass over what fills their last block."""
        found = b"".join(self.exactly(size))
        self.skip(-size % _BLOCK)
        return found

    def skip(self, size: int) -> None:
        """Pass over `size` bytes."""
        for _ in self.exactly(size):
            pass

    def block(self) -> bytes:
        """Return the next header; an archive always ends with one of zeros."""
        found = self.read(_BLOCK)
        if len(found) < _BLOCK:
            raise self._truncated()
        return found

    def _more(self, size: int) -> bytes:
        try:
            found = self._source.read(size)
        except EOFError as error:
            raise self._truncated() from error
        except _BROKEN as error:
            raise _damaged(self._where, "it cannot be decompressed") from error
        except OSError as error:
            # bz2 says so without a number when the bytes are not its own.
            if error.errno is not None:
                raise
            raise _damaged(self._where, "it cannot be decompressed") from error
        self._count += len(found)
        if self._source is not self._raw:
            self._account.judge(self._count, self._raw.tell(), self._where)
        return found

    def _truncated(self) -> InputError:
        return InputError(
            "The archive is truncated: it ends too early.", where=self._where, fix=_AGAIN
        )


def members(
    path: Path, kind: Kind, folder: Path, where: str, account: Account
) -> Iterator[Member]:
    """Yield the files of a tar; of a compressed file that is no tar, the one file it is.

    Parameters
    ----------
    path
        The archive.
    kind
        TAR, or how it is compressed.
    folder
        Where it is unpacked to: its disk must have room for each member.
    where
        What messages call the archive by.
    account
        What may still be unpacked.

    Raises
    ------
    InputError
        If the archive is unsafe or damaged; members before the bad one have been yielded then.
    """
    with ExitStack() as stack:
        raw = stack.enter_context(path.open("rb"))
        source: IO[bytes] = raw
        if kind in COMPRESSED:
            source = stack.enter_context(_decompressed(raw, kind))
        stream = _Stream(source, raw, where, account)
        head = stream.peek()
        if kind is Kind.TAR or kind_of(head) is Kind.TAR or (head and not any(head)):
            yield from _tar_members(stream, folder, where, account)
            # The checksum of the compressed bytes stands at their very end.
            for _ in stream.rest():
                pass
        elif head:
            yield Member(1, f"member 1 of {where}", "", False, stream.rest())


def _decompressed(raw: IO[bytes], kind: Kind) -> IO[bytes]:
    if kind is Kind.GZIP:
        return cast(IO[bytes], gzip.GzipFile(fileobj=raw, mode="rb"))
    return cast(IO[bytes], bz2.BZ2File(raw) if kind is Kind.BZIP2 else lzma.LZMAFile(raw))


def _tar_members(stream: _Stream, folder: Path, where: str, account: Account) -> Iterator[Member]:
    number = 1
    extension = _Extension()
    while any(block := stream.block()):
        place = f"member {number} of {where}"
        header = _header(block, place)
        if header.type in _EXTENSIONS | _LONG_NAMES:
            if header.size > _LONGEST_EXTENSION:
                raise _damaged(place, "its name is longer than any file system allows")
            extension = _extended(extension, header.type, stream.padded(header.size), place)
            continue
        if header.type in {tarfile.XGLTYPE, _VOLUME_LABEL}:
            stream.skip(header.size + -header.size % _BLOCK)
            continue
        name = header.name if extension.name is None else extension.name
        size = header.size if extension.size is None else extension.size
        _refuse_unsafe(header.type, name, extension, place)
        number, extension = number + 1, _Extension()
        if header.isdir():
            continue
        if is_junk(name):
            stream.skip(size)
        else:
            account.expect(size, folder, place)
            content = stream.exactly(size)
            yield Member(number - 1, place, name, is_opaque(name), content)
        stream.skip(-size % _BLOCK)


def _header(block: bytes, where: str) -> tarfile.TarInfo:
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError) as error:
        raise _damaged(where, "its header makes no sense") from error
    if header.size < 0:
        raise _damaged(where, "its size is negative")
    return header


def _extended(before: _Extension, kind: bytes, content: bytes, where: str) -> _Extension:
    """Return `before` with what `content` adds to it."""
    if kind == tarfile.GNUTYPE_LONGLINK:
        return before
    if kind == tarfile.GNUTYPE_LONGNAME:
        return before._replace(name=content.rstrip(b"\0").decode("utf-8", "surrogateescape"))
    for key, value in _records(content, where):
        if key == b"path":
            before = before._replace(name=value.decode("utf-8", "surrogateescape"))
        elif key == b"size":
            if not value.isdigit() or len(value) > 20:
                raise _damaged(where, "its size is no number")
            before = before._replace(size=int(value))
        elif key.startswith(b"GNU.sparse."):
            before = before._replace(sparse=True)
    return before


def _records(content: bytes, where: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and value of each line ``LENGTH KEY=VALUE``."""
    place = 0
    while place < len(content) and content[place]:
        length = content[place : place + 20].partition(b" ")[0]
        end = place + int(length) if length.isdigit() else 0
        record = content[place + len(length) + 1 : end]
        key, equals, value = record.partition(b"=")
        if not place < end <= len(content) or not equals or not value.endswith(b"\n"):
            raise _damaged(where, "its extended header makes no sense")
        yield key, value[:-1]
        place = end


def _refuse_unsafe(kind: bytes, name: str, extension: _Extension, where: str) -> None:
    """Raise if the member is hostile, or anything but a file or a folder."""
    refuse_unsafe_name(name, where)
    if kind in {tarfile.SYMTYPE, tarfile.LNKTYPE}:
        what = "symbolic" if kind == tarfile.SYMTYPE else "hard"
        raise InputError(
            f"The member is a {what} link.",
            where=where,
            fix="pack the files themselves (tar --dereference --hard-dereference).",
        )
    if kind in _DEVICES:
        raise InputError(
            "The member is a device or a pipe, not a file.",
            where=where,
            fix="do not use this archive; ask where it comes from, and pack the folder anew.",
        )
    if kind == _CONTINUED:
        raise InputError(
            "This is a part of a tar that was split into several files.",
            where=where,
            fix="pack the files again into one.",
        )
    if kind == tarfile.GNUTYPE_SPARSE or extension.sparse:
        raise InputError(
            "The member is stored as a sparse file, which is not unpacked here.",
            where=where,
            fix="pack it again without --sparse.",
        )


def _damaged(where: str, how: str) -> InputError:
    return InputError(f"The archive is damaged: {how}.", where=where, fix=_AGAIN)
