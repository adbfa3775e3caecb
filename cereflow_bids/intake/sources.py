"""The inputs, unpacked and indexed when they are wanted, without ever filling disk or memory."""

from __future__ import annotations

import shutil
import threading
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from cereflow_bids.errors import CereflowError, InputError
from cereflow_bids.intake.archives.unpacking import Limits, unpack
from cereflow_bids.intake.headers.series import Series, index

# What stays unpacked between the first look at all inputs and their conversion.
_DIGITS = 6
_MOST_BYTES = 2_000_000_000
_MOST_IMAGES = 2_000


def _called(folder: Path, where: str, number: int, path: Path) -> str:
    """Name a file by its place: unpacked members are named by their numbers, level by level.

    >>> _called(Path("s"), "input 1", 9, Path("s/000002-members/000017"))
    'member 17 of member 2 of input 1'
    """
    if not path.is_relative_to(folder):
        return f"file {number} of {where}"
    levels = [f"member {int(part[:_DIGITS])} of" for part in path.relative_to(folder).parts]
    return " ".join([*reversed(levels), where])


class Sources:
    """All inputs of one command.

    Each is looked at once to learn whose studies it holds, and again when these are converted.
    What fits stays unpacked in between, so that a single input is unpacked and read once.

    Parameters
    ----------
    inputs
        Archives and folders, in the order of the command line.
    staging
        A private folder on the dataset's disk.
    limits
        How large an unpacked archive may be.
    """

    def __init__(self, inputs: Sequence[Path], staging: Path, limits: Limits) -> None:
        self._inputs = inputs
        self._staging = staging
        self._limits = limits
        self._kept: dict[int, list[Series]] = {}
        self._bytes = 0
        self._images = 0
        self._lock = threading.Lock()
        self._one_at_a_time: dict[int, threading.Lock] = defaultdict(threading.Lock)
        self._users: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self._inputs)

    def look(self, position: int) -> list[Series]:
        """Return the series of input `position` (from 1), and keep it unpacked if there is room.

        Raises
        ------
        InputError
            If it cannot be unpacked or read, or holds no MR image.
        """
        found = self._open(position)
        size = sum(image.path.stat().st_size for series in found for image in series.images)
        count = sum(len(series.images) for series in found)
        with self._lock:
            roomy = self._bytes + size <= _MOST_BYTES and self._images + count <= _MOST_IMAGES
            if roomy:
                self._bytes += size
                self._images += count
                self._kept[position] = found
        if not roomy:
            self._remove(position)
        return found

    def expect(self, users: Counter[int]) -> None:
        """Say how often each input will be borrowed; what nobody wants is removed."""
        self._users = users
        for position in [kept for kept in self._kept if not users[kept]]:
            self._forget(position)

    def borrow(self, position: int) -> list[Series]:
        """Return the series of input `position` for conversion; give it back with `release`."""
        with self._one_at_a_time[position]:
            if position not in self._kept:
                self._kept[position] = self._open(position)
            return self._kept[position]

    def release(self, position: int) -> None:
        """Give input `position` back; with its last user its files go."""
        with self._one_at_a_time[position]:
            self._users[position] -= 1
            if self._users[position] <= 0:
                self._forget(position)

    def _forget(self, position: int) -> None:
        self._kept.pop(position, None)
        self._remove(position)

    def _open(self, position: int) -> list[Series]:
        where = f"input {position}"
        files = unpack(self._inputs[position - 1], self._folder(position), position, self._limits)
        try:
            found = index(files, partial(_called, self._folder(position), where))
        except CereflowError:
            raise
        except Exception as error:
            # What it says can quote a header.
            raise InputError(
                f"A file cannot be read ({type(error).__name__}): its DICOM header is malformed.",
                where=where,
                fix="export the study again.",
            ) from error
        if not found:
            self._remove(position)
            raise InputError(
                "No MR image in DICOM format was found.",
                where=where,
                fix="export the DICOM files themselves, not pictures or reports.",
            )
        return found

    def _folder(self, position: int) -> Path:
        return self._staging / f"input-{position:05d}"

    def _remove(self, position: int) -> None:
        shutil.rmtree(self._folder(position), ignore_errors=True)
