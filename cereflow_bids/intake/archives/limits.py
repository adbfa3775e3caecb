"""How much an input may unpack to, and the account that is kept while it does."""

import errno
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cereflow_bids.errors import InputError

CHUNK = 1 << 20
# What tells an archive from other files stands in its first bytes; a tar has the longest head.
HEAD = 512
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True)
class Limits:
    """What one input may become. Real studies stay far below; a bomb does not.

    A zero-filled image is legal and shrinks about a thousandfold (450:1 at 96×96 pixels of 16
    bits, 1030:1 when large): a high ratio is no sign of a bomb as long as little comes of it.

    Attributes
    ----------
    total_bytes
        All bytes written for one input. Ten long multi-band studies take about 100 GB.
    files
        All files, nested ones and those of a plain folder included. An hour of classic functional
        images is about 100,000.
    ratio
        Unpacked to packed bytes; MR images reach 2 to 5.
    ratio_from
        Bytes up to which the ratio is not judged.
    depth
        Archives in one another: 1 allows none inside the input. A compressed tar counts once.
    """

    total_bytes: int = 100_000_000_000
    files: int = 1_000_000
    ratio: float = 200.0
    ratio_from: int = 1 << 30
    depth: int = 4


class Account:
    """What one input has used up; raises as soon as a limit is passed.

    Parameters
    ----------
    limits
        The limits.

    Attributes
    ----------
    packed
        Size in bytes of the archives that were given, nested ones not counted.
    written
        Files that lie unpacked at the moment.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.packed = 0
        self.written: set[Path] = set()
        self._bytes = 0
        self._files = 0

    @property
    def seen(self) -> int:
        """Files so far, empty ones included."""
        return self._files

    def count_file(self, where: str) -> None:
        """Enter one more file."""
        self.check_files(1, where)
        self._files += 1

    def check_files(self, more: int, where: str) -> None:
        """Refuse `more` files that are about to come if they are too many."""
        if self._files + more > self.limits.files:
            raise InputError(
                f"The input holds more than {self.limits.files} files.",
                where=where,
                fix="give its parts one by one, or raise --max-files if you trust its origin.",
            )

    def expect(self, size: int, folder: Path, where: str) -> None:
        """Refuse `size` bytes that a directory promises if they are too many for limit or disk."""
        self._check_total(self._bytes + size, where)
        if size > shutil.disk_usage(folder).free:
            raise InputError(
                f"Unpacked it would take {size / 1e6:,.0f} MB, more than the disk has left.",
                where=where,
                fix="free some space, or choose a BIDS folder on another disk.",
            )

    def judge(self, unpacked: int, packed: int, where: str) -> None:
        """Refuse `unpacked` bytes that come of too few `packed` ones."""
        if unpacked > max(self.limits.ratio_from, self.limits.ratio * packed):
            raise InputError(
                f"It unpacks to more than {self.limits.ratio:g} times its size: "
                "this is a decompression bomb.",
                where=where,
                fix="do not use this archive; ask where it comes from.",
            )

    def write(self, chunks: Iterable[bytes], target: Path, where: str) -> bytes:
        """Write one member.

        Parameters
        ----------
        chunks
            Its bytes.
        target
            Where to write them; not made if there are none.
        where
            What messages call the member by.

        Returns
        -------
        bytes
            Its first 512 bytes.
        """
        filled = (chunk for chunk in chunks if chunk)
        head = next(filled, b"")
        if not head:
            return head
        with disk_told(where):
            sink = target.open("wb")
        self.written.add(target)
        try:
            chunk: bytes | None = head
            while chunk is not None:
                self._enter(len(chunk), where)
                with disk_told(where):
                    sink.write(chunk)
                if len(head) < HEAD:
                    head += chunk
                chunk = next(filled, None)
        finally:
            # The last buffered bytes go to the disk here, and can fill it.
            with disk_told(where):
                sink.close()
        return head[:HEAD]

    def remove(self, target: Path) -> None:
        """Delete a file that is no longer needed."""
        self.written.discard(target)
        target.unlink()

    def take_back(self) -> None:
        """Delete all that was written: a refused input must not fill the disk for the next."""
        for path in self.written:
            with suppress(OSError):
                path.unlink()
        self.written.clear()

    def _enter(self, size: int, where: str) -> None:
        self._bytes += size
        self._check_total(self._bytes, where)
        self.judge(self._bytes, self.packed, where)

    def _check_total(self, size: int, where: str) -> None:
        if size > self.limits.total_bytes:
            raise InputError(
                f"Unpacked it takes more than {self.limits.total_bytes / 1e9:.3g} GB, the limit.",
                where=where,
                fix="give its parts one by one, or raise --max-size if you trust its origin.",
            )


@contextmanager
def disk_told(where: str) -> Iterator[None]:
    """Turn an error of writing into one that says what to do, and names no path."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise InputError(
                "The disk became full, or takes no file so large, while the input was unpacked.",
                where=where,
                fix="free some space, or choose a BIDS folder on another disk.",
            ) from error
        raise InputError(
            f"What was unpacked cannot be written: {error.strerror or 'system error'}.",
            where=where,
            fix="check the permissions of the folder that holds the BIDS folder.",
        ) from error


@contextmanager
def reading_told(where: str) -> Iterator[None]:
    """Turn a system error of reading into one that names no path."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"It cannot be read: {error.strerror or 'system error'}.",
            where=where,
            fix="check its permissions and the disk or network drive that it is on.",
        ) from error
