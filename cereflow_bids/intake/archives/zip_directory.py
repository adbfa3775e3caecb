"""The directory of a ZIP, read entry by entry.

The standard library's reader is not used: it takes the whole directory into memory however long
it says it is, gives up on names that are marked as UTF-8 and are not, ignores the numbers of split
archives, and, in Python 3.11, lets members overlap, of which bombs are made.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import IO, NamedTuple

from cereflow_bids.errors import InputError
from cereflow_bids.intake.archives.kinds import Kind, refuse_unreadable

LOCAL = struct.Struct("<4s5H3L2H")
LOCAL_MAGIC = b"PK\x03\x04"
_END = struct.Struct("<4s4H2LH")
_END_MAGIC = b"PK\x05\x06"
_LONG_END = struct.Struct("<4sQ2H2L4Q")
_LONG_END_MAGIC = b"PK\x06\x06"
_LOCATOR = struct.Struct("<4sLQL")
_LOCATOR_MAGIC = b"PK\x06\x07"
_ENTRY = struct.Struct("<4s6H3L5H2L")
_ENTRY_MAGIC = b"PK\x01\x02"
_EXTRA = struct.Struct("<2H")
_LONG_SIZES = 0x0001
_UTF8 = 0x800
_ELSEWHERE16 = 0xFFFF
_ELSEWHERE32 = 0xFFFFFFFF
_LONGEST_COMMENT = 0xFFFF
AGAIN = "export or download it again and compare the file sizes."


class Entry(NamedTuple):
    """What the directory says of one member.

    Attributes
    ----------
    number
        Position in the directory, from 1.
    name
        As written, never used to write to.
    flags, method, mode
        General purpose bits, method of compression, and Unix mode (0 if packed elsewhere).
    checksum
        CRC-32 of what is unpacked.
    packed, size
        Bytes in the archive, and unpacked.
    start
        Where in the file its own header begins.
    """

    number: int
    name: str
    flags: int
    method: int
    mode: int
    checksum: int
    packed: int
    size: int
    start: int


class _End(NamedTuple):
    """Where the directory lies, how many entries it has, and what precedes the whole archive."""

    start: int
    length: int
    declared: int
    prefix: int


def damaged(where: str, how: str) -> InputError:
    """Return the error for an archive whose structure makes no sense."""
    return InputError(f"The ZIP archive is damaged: {how}.", where=where, fix=AGAIN)


def has_end(file: IO[bytes]) -> bool:
    """Tell whether a file that begins otherwise ends as a ZIP (one that unpacks itself)."""
    return _find_end(file, file.seek(0, 2)) is not None


def read_directory(
    file: IO[bytes], size: int, where: str, check_count: Callable[[int], None]
) -> list[Entry]:
    """Return all entries of the directory, in its order.

    Parameters
    ----------
    file
        The archive.
    size
        Its length in bytes.
    where
        What messages call it by.
    check_count
        Called with the number of entries so far; raises when there are too many.

    Raises
    ------
    InputError
        If it has no directory, is split, or is damaged.
    """
    end = _end(file, size, where)
    file.seek(end.start)
    entries: list[Entry] = []
    left = end.length
    while left > 0:
        head = file.read(_ENTRY.size)
        if len(head) < _ENTRY.size or not head.startswith(_ENTRY_MAGIC):
            raise damaged(where, "an entry of its directory is none")
        fields = _ENTRY.unpack(head)
        lengths = fields[10:13]
        rest = file.read(sum(lengths))
        left -= len(head) + sum(lengths)
        if len(rest) < sum(lengths) or left < 0:
            raise damaged(where, "its directory is shorter than it says")
        entries.append(_entry(len(entries) + 1, fields, rest, end.prefix, where))
        check_count(len(entries))
    if end.declared != _ELSEWHERE16 and len(entries) & _ELSEWHERE16 != end.declared & _ELSEWHERE16:
        raise damaged(where, "its directory has not as many entries as it says")
    return entries


def _find_end(file: IO[bytes], size: int) -> tuple[int, tuple[int, ...]] | None:
    """Return place and numbers of the record that ends a ZIP."""
    begin = max(0, size - _END.size - _LONGEST_COMMENT)
    file.seek(begin)
    tail = file.read(_END.size + _LONGEST_COMMENT)
    place = tail.rfind(_END_MAGIC, 0, len(tail) - _END.size + len(_END_MAGIC))
    if place < 0 or len(tail) < _END.size:
        return None
    return begin + place, _END.unpack_from(tail, place)[1:]


def _end(file: IO[bytes], size: int, where: str) -> _End:
    found = _find_end(file, size)
    if found is None:
        raise InputError(
            "The ZIP archive is truncated: its end is missing.", where=where, fix=AGAIN
        )
    place, (disk, first_disk, _, count, length, offset, _) = found
    if {disk, first_disk} - {0, _ELSEWHERE16}:
        refuse_unreadable(Kind.SPLIT, where)
    file.seek(max(0, place - _LOCATOR.size))
    locator = file.read(_LOCATOR.size)
    if place >= _LOCATOR.size and locator.startswith(_LOCATOR_MAGIC):
        place, count, length, offset = _long_end(file, place - _LOCATOR.size, locator, where)
    start = place - length
    if start < 0 or offset > start:
        raise damaged(where, "its directory lies outside of it")
    return _End(start, length, count, start - offset)


def _long_end(
    file: IO[bytes], place: int, locator: bytes, where: str
) -> tuple[int, int, int, int]:
    """Return place, number of entries, length and offset, for an archive beyond 4 GB."""
    _, _, offset, disks = _LOCATOR.unpack(locator)
    if disks > 1:
        refuse_unreadable(Kind.SPLIT, where)
    # A program put before the archive moves it; then it stands right before the locator.
    for candidate in (offset, place - _LONG_END.size):
        if 0 <= candidate <= place - _LONG_END.size:
            file.seek(candidate)
            record = file.read(_LONG_END.size)
            if record.startswith(_LONG_END_MAGIC):
                count, length, start = _LONG_END.unpack(record)[7:]
                return candidate, count, length, start
    raise damaged(where, "its end is missing")


def _entry(number: int, fields: Sequence[int], rest: bytes, prefix: int, where: str) -> Entry:
    _, made_by, _, flags, method, _, _, checksum, packed, size = fields[:10]
    name_length, extra_length, _, disk, _, attributes, start = fields[10:]
    raw = rest[:name_length]
    # A name that cannot be read is as good as any: it is looked at for junk and danger only.
    name = raw.decode("utf-8", "replace") if flags & _UTF8 else raw.decode("cp437")
    long = _long_sizes(rest[name_length : name_length + extra_length])
    try:
        size = next(long) if size == _ELSEWHERE32 else size
        packed = next(long) if packed == _ELSEWHERE32 else packed
        start = next(long) if start == _ELSEWHERE32 else start
    except StopIteration:
        raise damaged(f"member {number} of {where}", "a size is missing") from None
    if disk not in {0, _ELSEWHERE16}:
        refuse_unreadable(Kind.SPLIT, where)
    mode = attributes >> 16 if made_by >> 8 else 0
    return Entry(number, name, flags, method, mode, checksum, packed, size, start + prefix)


def _long_sizes(extra: bytes) -> Iterator[int]:
    """Yield the 64-bit numbers of an entry, in their fixed order."""
    place = 0
    while place + _EXTRA.size <= len(extra):
        kind, length = _EXTRA.unpack_from(extra, place)
        place += _EXTRA.size
        if kind == _LONG_SIZES:
            content = extra[place : place + length]
            for at in range(0, len(content) - 7, 8):
                yield int.from_bytes(content[at : at + 8], "little")
            return
        place += length
