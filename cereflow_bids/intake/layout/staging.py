"""The folder beside the dataset where studies are made ready, and the lock on the dataset."""

import fcntl
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn

from cereflow_bids.errors import UsageError
from cereflow_bids.intake.layout.moving import bring_back, discard, has_replaced

_OWNER = "process"
_STOPPING = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def staging_folder(bids_dir: Path, tell: Callable[[str], None]) -> Iterator[Path]:
    """Make a private folder on the dataset's own disk, so that moving in is a rename.

    It holds identified DICOM, so it goes whatever happens: also when the process is asked to
    stop, and, if it was killed outright, when the next conversion into the dataset starts.

    Parameters
    ----------
    bids_dir
        The dataset.
    tell
        Called with one sentence for each folder that a dead process left behind.

    Raises
    ------
    UsageError
        If nothing can be written there.
    """
    prefix = f".{bids_dir.name}-converting-"
    with _stoppable():
        try:
            bids_dir.parent.mkdir(parents=True, exist_ok=True)
            _remove_leftovers(bids_dir, prefix, tell)
            folder = Path(tempfile.mkdtemp(prefix=prefix, dir=bids_dir.parent))
        except OSError as error:
            raise UsageError(
                f"The folder above the dataset cannot be written to: {error.strerror}.",
                where="BIDS",
                fix="choose a folder that you may write beside.",
            ) from error
        try:
            with _owned(folder):
                yield folder
        finally:
            _ignore_stops()
            _empty(folder)


@contextmanager
def _owned(folder: Path) -> Iterator[None]:
    """Lock the folder while this process lives: numbers of processes are used again."""
    unready = folder / f"{_OWNER}.new"
    with unready.open("w", encoding="utf-8") as owner:
        owner.write(f"{os.getpid()}\n")
        owner.flush()
        # A disk without locks gives no sign of death, and nothing on it is removed as a leftover.
        with suppress(OSError):
            _lock(owner)
        unready.replace(folder / _OWNER)
        yield


def _lock(owner: IO[str]) -> None:
    fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _empty(folder: Path) -> bool:
    """Remove a staging folder; return False if a study that is nowhere else keeps it."""
    owner = folder / _OWNER
    for part in folder.iterdir():
        if part.is_dir():
            discard(part)
    kept = any(part.is_dir() for part in folder.iterdir())
    if not kept:
        owner.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
    return not kept


def _remove_leftovers(bids_dir: Path, prefix: str, tell: Callable[[str], None]) -> None:
    """Remove the staging folders whose process is gone, and put back what it had replaced."""
    for folder in bids_dir.parent.glob(f"{prefix}*"):
        try:
            with (folder / _OWNER).open("r+", encoding="utf-8") as owner:
                _lock(owner)
                restored = _restore(folder, bids_dir)
        except OSError:
            # Its process lives, or it belongs to another user, or was made this very moment.
            continue
        _empty(folder)
        done = "the study that it was replacing is back" if restored else "no study was lost"
        tell(f"An earlier conversion was killed; its working folder has been removed, {done}.")


def _restore(folder: Path, bids_dir: Path) -> bool:
    """Put back what a killed conversion had moved aside; True if there was any."""
    parts = [part for part in folder.iterdir() if has_replaced(part)]
    if not parts:
        return False
    with dataset_lock(bids_dir):
        return sum(bring_back(part, bids_dir) for part in parts) > 0


@contextmanager
def dataset_lock(bids_dir: Path) -> Iterator[None]:
    """Keep other conversions from changing the dataset at the same time; wait until it is free.

    A disk without locks gives no protection, and no error either.

    Parameters
    ----------
    bids_dir
        The dataset; made if it is not there.
    """
    bids_dir.mkdir(parents=True, exist_ok=True)
    handle = os.open(bids_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let a request to stop run the clean-up, which by default it does not."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = {number: signal.getsignal(number) for number in _STOPPING}
    for number, handler in earlier.items():
        # nohup has a hang-up ignored, and that stays.
        if handler is not signal.SIG_IGN:
            signal.signal(number, _stop)
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    _ignore_stops()
    raise SystemExit(128 + number)


def _ignore_stops() -> None:
    """Protect the clean-up from a second request to stop."""
    if threading.current_thread() is threading.main_thread():
        for number in _STOPPING:
            signal.signal(number, signal.SIG_IGN)
