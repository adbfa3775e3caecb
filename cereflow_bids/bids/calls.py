"""Who is at work in a folder, so that two calls never take the same participant.

A call leaves two kinds of small files: one that tells it is alive, touched twice a minute, and one
per participant that it has taken. Locks of the file system are not used: many network disks have
none. A call on this machine is dead when its process is gone, one on another machine when it has
been silent for a quarter of an hour; what the dead had taken is free.

No name of a machine or of a user is written: a machine is told from others by a digest of numbers
that the system draws anew at each start.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from cereflow_bids.atomic import write_text_atomically

BEAT_SECONDS = 30.0
SILENT_SECONDS = 900.0
"""Far more than a beat: a step may keep the interpreter for minutes, and clocks differ."""


@dataclass(frozen=True)
class Call:
    """One call of a command.

    Attributes
    ----------
    token
        Its name, drawn at random.
    machine
        Digest of the machine since it was started, and of the container.
    pid, began
        The process, and when the system says that it began.
    since
        UTC time.
    """

    token: str
    machine: str
    pid: int
    began: str
    since: str


class Claims:
    """What one call has taken in one folder.

    Parameters
    ----------
    folder
        Where the files lie.
    call
        Whose they are.
    """

    def __init__(self, folder: Path, call: Call) -> None:
        self._folder = folder
        self._call = call
        self._taken: list[str] = []

    def take(self, name: str) -> Call | None:
        """Take a name; return the call that has it if it is not free.

        Parameters
        ----------
        name
            A participant, with ``sub-``.
        """
        lock = _lock(self._folder, name)
        while not _create(lock, self._call.token):
            token = _holder(lock)
            holder = _living(self._folder, token) if token else None
            if holder is not None:
                return holder
            if token == "" and _age(lock) < BEAT_SECONDS:
                # Another call is about to write its token into it.
                time.sleep(0.05)
            elif token is not None:
                _discard(lock, token)
        self._taken.append(name)
        return None

    def release(self, name: str) -> None:
        """Give a name back."""
        lock = _lock(self._folder, name)
        if _holder(lock) == self._call.token:
            lock.unlink(missing_ok=True)
        self._taken.remove(name)

    def release_all(self) -> None:
        """Give everything back."""
        for name in tuple(self._taken):
            self.release(name)


@contextmanager
def claims(folder: Path) -> Iterator[Claims]:
    """Be at work in a folder while the block runs.

    Parameters
    ----------
    folder
        Where calls leave their files; made if it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _remove_dead(folder)
    call = _this_call()
    record = _record(folder, call.token)
    write_text_atomically(record, json.dumps(asdict(call)) + "\n")
    over = threading.Event()
    beat = threading.Thread(target=_beat, args=(record, over), daemon=True)
    beat.start()
    mine = Claims(folder, call)
    try:
        yield mine
    finally:
        over.set()
        mine.release_all()
        record.unlink(missing_ok=True)


def call_at_work(folder: Path, name: str) -> Call | None:
    """Return the living call that has taken a name, None if there is none."""
    token = _holder(_lock(folder, name))
    return _living(folder, token) if token else None


def calls_at_work(folder: Path) -> int:
    """Return the number of living calls, this one included."""
    found = (_living(folder, record.stem) for record in folder.glob("[!.]*.json"))
    return sum(call is not None for call in found)


def _beat(record: Path, over: threading.Event) -> None:
    while not over.wait(BEAT_SECONDS):
        # A disk that is away for a moment is no reason to stop.
        with suppress(OSError):
            os.utime(record)


def _this_call() -> Call:
    pid = os.getpid()
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return Call(uuid.uuid4().hex, _machine(), pid, _began(pid) or "", since)


def _machine() -> str:
    """Return what tells this machine, since its start, and this container from all others."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        # Containers number their processes on their own.
        words = f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        words = platform.node()
    return hashlib.sha256(words.encode()).hexdigest()[:16]


def _began(pid: int) -> str | None:
    """Return when a process of this machine began, in a form only to be compared; None if gone."""
    if Path("/proc/self/stat").is_file():
        try:
            told = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        fields = told.rpartition(")")[2].split()
        # A zombie has ended, and only waits for its parent to take note.
        return None if fields[0] in "ZX" else fields[19]
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return ""


def _living(folder: Path, token: str) -> Call | None:
    """Return the call of a name that was drawn, if it is alive."""
    record = _record(folder, token)
    try:
        silent = time.time() - record.stat().st_mtime
        call = Call(**json.loads(record.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    if call.machine == _machine():
        return call if _began(call.pid) == call.began else None
    return call if silent < SILENT_SECONDS else None


def _create(lock: Path, token: str) -> bool:
    """Make a lock with its content in one go; return False if there is one."""
    own = lock.with_name(f".{token}-{lock.name}")
    own.write_text(token, encoding="ascii")
    try:
        os.link(own, lock)
    except FileExistsError:
        return False
    except OSError:
        return _create_without_links(lock, token)
    finally:
        own.unlink(missing_ok=True)
    return True


def _create_without_links(lock: Path, token: str) -> bool:
    """Do the same on a disk without hard links, where a reader may find the lock still empty."""
    try:
        with lock.open("x", encoding="ascii") as file:
            file.write(token)
    except FileExistsError:
        return False
    return True


def _holder(lock: Path) -> str | None:
    """Return the token in a lock, None if there is no lock."""
    try:
        return lock.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None


def _age(lock: Path) -> float:
    try:
        return time.time() - lock.stat().st_mtime
    except OSError:
        return 0.0


def _discard(lock: Path, dead: str) -> None:
    """Remove the lock of a dead call, but not one that a third call has put there meanwhile.

    One call at a time may do so, behind a folder that only one of them can make.
    """
    gate = lock.with_name(f"{lock.name}.removing")
    try:
        gate.mkdir()
    except FileExistsError:
        if _age(gate) < BEAT_SECONDS:
            time.sleep(0.01)
            return
    try:
        if _holder(lock) == dead:
            lock.unlink(missing_ok=True)
    finally:
        with suppress(OSError):
            gate.rmdir()


def _remove_dead(folder: Path) -> None:
    for record in folder.glob("[!.]*.json"):
        if _living(folder, record.stem) is None:
            record.unlink(missing_ok=True)
    # A file that a killed call was writing just then; a living one's is there for a moment only.
    for rest in folder.glob(".*"):
        if _age(rest) > SILENT_SECONDS:
            rest.unlink(missing_ok=True)


def _record(folder: Path, token: str) -> Path:
    return folder / f"{token}.json"


def _lock(folder: Path, name: str) -> Path:
    return folder / f"{name}.lock"
