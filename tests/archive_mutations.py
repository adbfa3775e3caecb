"""Files packed in several ways, and archives damaged byte by byte."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import stat
import tarfile
import zipfile
from collections.abc import Callable

Members = list[tuple[str, bytes]]
WORD = "CANARY"


def zipped(members: Members, chance: random.Random) -> bytes:
    """Return an ordinary ZIP."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, content in members:
            entry = zipfile.ZipInfo(name)
            # Two members of one name are meant; the library would warn of them.
            archive.NameToInfo.pop(entry.filename, None)
            entry.compress_type = chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
            archive.writestr(entry, content, compresslevel=1)
    return sink.getvalue()


def _zip_of_links(members: Members, chance: random.Random) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for number, (_, content) in enumerate(members):
            entry = zipfile.ZipInfo(f"{WORD}{number}")
            kind = stat.S_IFLNK if chance.random() < 0.03 else stat.S_IFREG
            entry.create_system, entry.external_attr = 3, (kind | 0o777) << 16
            archive.writestr(entry, b"/etc/passwd" if kind == stat.S_IFLNK else content)
    return sink.getvalue()


def _tar(members: Members, chance: random.Random) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            if chance.random() < 0.01:
                entry.type, entry.linkname = tarfile.SYMTYPE, f"../../{WORD}"
            archive.addfile(entry, io.BytesIO(content))
    return chance.choice(_COMPRESSIONS)(sink.getvalue())


def _gzipped(content: bytes) -> bytes:
    # Else the time of day would be written into it.
    return gzip.compress(content, mtime=0)


_COMPRESSIONS: tuple[Callable[[bytes], bytes], ...] = (
    bytes,
    _gzipped,
    bz2.compress,
    lzma.compress,
)


PACKINGS: tuple[Callable[[Members, random.Random], bytes], ...] = (
    zipped,
    zipped,
    zipped,
    zipped,
    _zip_of_links,
    _tar,
)


def _flip_bytes(content: bytes, chance: random.Random) -> bytes:
    raw = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        if raw:
            raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
    return bytes(raw)


def _flip_structure(content: bytes, chance: random.Random) -> bytes:
    """Change bytes near the end: the directory of a ZIP, the closing of a tar."""
    raw = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        if raw:
            raw[-chance.randint(1, min(len(raw), 800))] = chance.choice((0, 1, 0x7F, 0xFF))
    return bytes(raw)


def _truncate(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content) + 1)]


def _insert(content: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(content) + 1)
    return content[:place] + chance.randbytes(chance.randint(1, 500)) + content[place:]


def _remove_part(content: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(content) + 1)
    return content[:place] + content[place + chance.randint(1, 2000) :]


def _repeat_part(content: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(content) + 1)
    return content[:place] + content[place : place + 3000] + content[place:]


def _zero_part(content: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(content) + 1)
    length = min(chance.randint(1, 2000), len(content) - place)
    return content[:place] + bytes(length) + content[place + length :]


DAMAGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flip_bytes,
    _flip_structure,
    _truncate,
    _insert,
    _remove_part,
    _repeat_part,
    _zero_part,
)
