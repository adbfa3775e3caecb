"""Calls of the participant level with quick steps, in a process that may be harmed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import quick_steps


@dataclass
class Ended:
    """How a call ended: exit code, what it said, how many changes it made, what it worked on."""

    code: int
    said: str
    changes: int
    journal: list[str]


class Place:
    """A folder with output and work folder in it."""

    def __init__(self, folder: Path, bids: Path, server: Server) -> None:
        self.folder, self.bids, self.server = folder, bids, server
        self.out, self.work = folder / "place" / "out", folder / "place" / "work"
        (folder / "place").mkdir(parents=True)

    def call(
        self, kind: str = "none", at: int = 0, *more: str, server: Server | None = None
    ) -> Ended:
        """Make a call, to which some harm is done at one of its changes."""
        return (server or self.server).call(self, kind, at, more)

    def content(self) -> dict[str, bytes]:
        """Return every file; of the records what does not depend on the time."""
        found = {}
        for path in sorted(self.out.rglob("*")):
            name = path.relative_to(self.out).as_posix()
            # A crash file tells of the past; a half-written sign of life goes when it is old.
            if path.is_file() and not name.startswith(("logs/crash", "logs/calls/.")):
                found[name] = path.read_bytes()
                if name.startswith("logs/status/sub-"):
                    record = json.loads(found[name])
                    found[name] = json.dumps(record | {"since": ""}).encode()
        return found


class Server:
    """Runs one call at a time, each in a fork of a process that has loaded all libraries.

    Parameters
    ----------
    folder
        For files beside those that the calls are about.
    """

    def __init__(self, folder: Path) -> None:
        self.paused, self.go = folder / "paused", folder / "go"
        self._journal, self._count = folder / quick_steps.JOURNAL, folder / "count"
        self._process = subprocess.Popen(
            [sys.executable, quick_steps.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def call(self, place: Place, kind: str, at: int, more: Sequence[str]) -> Ended:
        """Make a call and wait for its end."""
        self._journal.write_text("")
        for path in (self._count, self.paused, self.go):
            path.unlink(missing_ok=True)
        words = [str(place.bids), str(place.out), "participant", "-w", str(place.work)]
        task = {
            "argv": [*words, "--nprocs", "1", "--skip-bids-validation", *more],
            "journal": str(self._journal),
            "count": str(self._count),
            "paused": str(self.paused),
            "go": str(self.go),
            "below": str(place.out.parent),
            "kind": kind,
            "at": at,
        }
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        changes = int(self._count.read_text()) if self._count.is_file() else 0
        journal = self._journal.read_text().splitlines()
        return Ended(answer["code"], answer["said"], changes, journal)

    def close(self) -> None:
        """Let the process end."""
        self._process.communicate(timeout=30)
