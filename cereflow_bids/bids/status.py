"""The status record of each run: one small JSON file under logs/status/, always whole."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from cereflow_bids.atomic import write_text_atomically

State = Literal["waiting", "queued", "running", "done", "failed", "pending", "stopped"]
UNFINISHED = ("waiting", "queued", "running")
"""States in which a call of the command is at work on the run, or was when it ended."""


@dataclass(frozen=True)
class Status:
    """How far a run is.

    Attributes
    ----------
    run
        Entities of the run.
    participant
        Label.
    state
        waiting (none of its steps has been handed over), queued (one has, and has not begun),
        running, done, failed, pending (a parameter is missing), or stopped (by the user or by the
        system, before it was finished).
    step
        The step at which it is or stopped; of a waiting run the last that ended.
    since
        UTC time of the last change.
    message, fix
        What went wrong, or what a finished run lacks; and what to do.
    fingerprint
        Digest of input, settings and version that a finished run was made from.
    outputs
        Its files, relative to the output folder.
    missing
        Parameters that a pending run waits for.
    """

    run: str
    participant: str
    state: State
    step: str = ""
    since: str = ""
    message: str = ""
    fix: str = ""
    fingerprint: str = ""
    outputs: tuple[str, ...] = field(default=())
    missing: tuple[str, ...] = field(default=())


def write_status(out_dir: Path, status: Status) -> None:
    """Write a run's record, stamped with the present time."""
    stamped = replace(status, since=datetime.now(UTC).isoformat(timespec="seconds"))
    text = json.dumps(asdict(stamped), indent=1) + "\n"
    write_text_atomically(_path(out_dir, status.run), text)


def read_status(out_dir: Path, run: str) -> Status | None:
    """Return a run's record, None if there is none or it cannot be read.

    A damaged record only costs the knowledge that the run is done: it is processed again.
    """
    try:
        content = json.loads(_path(out_dir, run).read_text(encoding="utf-8"))
        known = {field.name for field in fields(Status)}
        found = {key: value for key, value in content.items() if key in known}
        several = {key: tuple(found.get(key, ())) for key in ("outputs", "missing")}
        return Status(**found | several)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def read_statuses(out_dir: Path) -> list[Status]:
    """Return the records of all runs, by name."""
    names = sorted(path.stem for path in (out_dir / "logs" / "status").glob("sub-*.json"))
    return [status for name in names if (status := read_status(out_dir, name))]


def _path(out_dir: Path, run: str) -> Path:
    return out_dir / "logs" / "status" / f"{run}.json"
