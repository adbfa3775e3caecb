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
from typing import NoReturn

from cereflow_bids.errors import UsageError
from cereflow_bids.intake.layout.moving import bring_back, discard, has_replaced

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
            folder, handle = _owned_folder(bids_dir.parent, prefix)
        except OSError as error:
            raise UsageError(
                f"The folder above the dataset cannot be written to: {error.strerror}.",
                where="BIDS",
                fix="choose a folder that you may write beside.",
            ) from error
        try:
            yield folder
        finally:
            _ignore_stops()
            _empty(folder)
            os.close(handle)


def _owned_folder(parent: Path, prefix: str) -> tuple[Path, int]:
    """Make a folder that is locked while this process lives; return it and the lock's handle.

    Another process may take it for a leftover in the moment before the lock: then a new one is
    made. A disk without locks gives no sign of death, and nothing on it is removed as a leftover.
    """
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        if _is_ours(handle) and folder.is_dir():
            return folder, handle
        os.close(handle)


def _is_ours(handle: int) -> bool:
    try:
        _lock(handle)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _lock(handle: int) -> None:
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _empty(folder: Path) -> bool:
    """Remove a staging folder; return False if a study that is nowhere else keeps it."""
    for part in folder.iterdir():
        if part.is_dir():
            discard(part)
    kept = any(part.is_dir() for part in folder.iterdir())
    if not kept:
        shutil.rmtree(folder, ignore_errors=True)
    return not kept


def _remove_leftovers(bids_dir: Path, prefix: str, tell: Callable[[str], None]) -> None:
    """Remove the staging folders whose process is gone, and put back what it had replaced."""
    for folder in bids_dir.parent.glob(f"{prefix}*"):
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            # It belongs to another user, or is gone this very moment.
            continue
        try:
            _lock(handle)
            restored = _restore(folder, bids_dir)
            _empty(folder)
        except OSError:
            # Its process lives, or the disk has no locks.
            continue
        finally:
            os.close(handle)
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
