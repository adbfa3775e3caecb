"""Every run of an output folder and what became of it, for those who look on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cereflow_bids.bids.calls import call_at_work
from cereflow_bids.bids.reactivity_record import read_reactivities
from cereflow_bids.bids.status import UNFINISHED, Status, read_statuses

SCHEMA = 1
"""Number of the JSON form; it goes up when a field changes its meaning or goes."""

STATES = ("failed", "stopped", "pending", "running", "queued", "waiting", "done", "refused")
"""In the order in which somebody has to look after them."""

CALLS = ("logs", "calls")
"""Where the calls that are at work in an output folder are found."""

NOT_BEGUN = "no call has taken it up yet."
RESUME = "run the same command again: what is finished is not repeated."


@dataclass(frozen=True)
class Entry:
    """A run, or a reactivity measurement, as it stands.

    Attributes
    ----------
    name
        Entities of the run, or of participant and session.
    participant
        Label.
    kind
        run or reactivity.
    state
        One of `STATES`; refused is for reactivity only.
    certain
        False where it is only known that the process which was at work is gone.
    step
        Where it is or stopped; of a waiting run the last step that ended.
    since
        UTC time of the last change, empty if there was none.
    missing
        Parameters that it waits for.
    message, fix
        What is to be said, and what can be done.
    """

    name: str
    participant: str
    kind: str
    state: str
    certain: bool = True
    step: str = ""
    since: str = ""
    missing: tuple[str, ...] = ()
    message: str = ""
    fix: str = ""


def overview(
    out_dir: Path,
    dataset: Iterable[str] = (),
    pending: Sequence[Mapping[str, Any]] = (),
) -> list[Entry]:
    """Return what is known of every run.

    Parameters
    ----------
    out_dir
        Derivatives folder.
    dataset
        Runs that should be there, as far as the dataset is known.
    pending
        Entries of the list that conversion keeps: ``run``, ``missing`` and ``flags``.
    """
    entries = {status.run: _of_run(status, out_dir) for status in read_statuses(out_dir)}
    for one in pending:
        entry = _of_pending(one)
        entries.setdefault(entry.name, entry)
    for run in dataset:
        entry = Entry(run, _participant(run), "run", "waiting", message=NOT_BEGUN)
        entries.setdefault(run, entry)
    compared = [
        Entry(
            record.group,
            record.participant,
            "reactivity",
            *_state(record.state, f"sub-{record.participant}", out_dir),
            since=record.since,
            message=record.message,
            fix=record.fix,
        )
        for record in read_reactivities(out_dir)
    ]
    return [*(entries[run] for run in sorted(entries)), *compared]


def counts(entries: Sequence[Entry]) -> dict[str, int]:
    """Return how many are in each state, without those that none is in."""
    found = Counter(entry.state for entry in entries)
    return {state: found[state] for state in STATES if found[state]}


def exit_code(entries: Sequence[Entry]) -> int:
    """Return 1 if any failed or stopped, else 4 if any is not finished, 3 if any is pending."""
    states = {entry.state for entry in entries}
    if states & {"failed", "stopped"}:
        return 1
    if states & set(UNFINISHED):
        return 4
    return 3 if "pending" in states else 0


def as_json(entries: Sequence[Entry]) -> dict[str, Any]:
    """Return the documented form."""
    listed: dict[str, list[dict[str, Any]]] = {"run": [], "reactivity": []}
    for entry in entries:
        content = asdict(entry)
        listed[content.pop("kind")].append(content | {"missing": list(entry.missing)})
    return {
        "schema": SCHEMA,
        "exit_code": exit_code(entries),
        "counts": counts(entries),
        "runs": listed["run"],
        "reactivity": listed["reactivity"],
    }


def _of_run(status: Status, out_dir: Path) -> Entry:
    participant = f"sub-{status.participant}"
    state, certain = _state(status.state, participant, out_dir)
    message, fix = status.message, status.fix
    if not certain:
        was = f"in step {status.step}" if status.step else "before its first step"
        message = f"the process that was at work on it is gone; it stopped {was}."
        fix = RESUME
    return Entry(
        status.run,
        status.participant,
        "run",
        state,
        certain,
        status.step,
        status.since,
        status.missing,
        message,
        fix,
    )


def _state(state: str, participant: str, out_dir: Path) -> tuple[str, bool]:
    """Return the state, and whether it is certain: a killed process cannot write its end."""
    if state in UNFINISHED and call_at_work(out_dir.joinpath(*CALLS), participant) is None:
        return "stopped", False
    return state, True


def _of_pending(entry: Mapping[str, Any]) -> Entry:
    run = Path(str(entry["run"])).name.partition("_asl")[0]
    missing = tuple(map(str, entry.get("missing", ())))
    flags = " ".join(map(str, entry.get("flags", ())))
    return Entry(
        run,
        _participant(run),
        "run",
        "pending",
        step="conversion",
        missing=missing,
        message=f"{' and '.join(missing)} not known.",
        fix=f"call cereflow-convert BIDS_DIR {flags}; nothing is converted again.",
    )


def _participant(run: str) -> str:
    return run.partition("_")[0].removeprefix("sub-")
