"""The participant level of the BIDS App: run it and tell how it ended."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cereflow_bids.bids.reactivity_pairs import Pair
from cereflow_bids.bids.reactivity_record import ReactivityRecord, read_reactivities
from cereflow_bids.bids.status import Status
from cereflow_bids.bids.validation import validating
from cereflow_bids.errors import PendingError
from cereflow_bids.workflow.execution import run_participants, summarise
from cereflow_bids.workflow.memory import check_memory
from cereflow_bids.workflow.plan import Plan, make_plan
from cereflow_bids.workflow.reactivity_plan import pairs_of
from cereflow_bids.workflow.settings import Settings


def run(settings: Settings, *, dry_run: bool = False) -> int:
    """Process the selected runs and return the exit code.

    Parameters
    ----------
    settings
        What the user chose.
    dry_run
        Only tell what would be done, and by the exit code whether something stands in its way;
        write nothing.
    """
    with validating(settings.bids_dir if settings.validate else None) as found:
        plan = make_plan(settings, dry=dry_run)
        for line in found():
            print(f"BIDS validator: {line}", file=sys.stderr)
    warning = check_memory(plan.todo, settings)
    if warning:
        print(warning, file=sys.stderr)
    if dry_run:
        _tell_plan(plan)
        return _expected_code(plan)
    statuses = run_participants(plan, settings)
    concerned = {status.participant for status in statuses}
    compared = [r for r in read_reactivities(settings.out_dir) if r.participant in concerned]
    _tell_outcome(statuses, settings)
    _tell_compared(compared)
    return _exit_code(statuses, compared)


def _tell_plan(plan: Plan) -> None:
    for run_ in plan.todo:
        print(f"to do    {run_.stem}")
    for run_ in plan.finished:
        print(f"done     {run_.stem}")
    for one in plan.rejected:
        print(f"not now  {one.stem}: {one.error}")
    for entry in pairs_of((*plan.todo, *plan.finished), plan.rejected):
        if isinstance(entry, Pair):
            print(f"compare  {entry.group}: {entry.baseline} (baseline), {entry.stimulus}")
        else:
            print(f"no pair  {entry.group}: {entry.what} To fix: {entry.fix}")


def _expected_code(plan: Plan) -> int:
    """Return the exit code of the call that was tried, as far as it can be known before."""
    codes = {one.error.exit_code for one in plan.rejected}
    return 1 if codes - {PendingError.exit_code} else PendingError.exit_code if codes else 0


def _tell_outcome(statuses: Sequence[Status], settings: Settings) -> None:
    for status in statuses:
        fix = f" To fix: {status.fix}" if status.fix else ""
        if status.message:
            word = "note" if status.state == "done" else status.state
            print(f"{word}: {status.run}: {status.message}{fix}", file=sys.stderr)
    counts = ", ".join(f"{count} {state}" for state, count in summarise(statuses).items())
    print(f"{counts}; reports in {settings.out_dir}")


def _tell_compared(compared: Sequence[ReactivityRecord]) -> None:
    for record in compared:
        if record.message:
            fix = f" To fix: {record.fix}" if record.fix else ""
            word = "failed" if record.state == "failed" else "note"
            told = f"no reactivity map: {record.message}"
            print(f"{word}: {record.group}: {told}{fix}", file=sys.stderr)


def _exit_code(statuses: Sequence[Status], compared: Sequence[ReactivityRecord]) -> int:
    states = {status.state for status in statuses} | {
        record.state for record in compared if record.state == "failed"
    }
    # Whatever else: another call may be at any point of a run that this one left out.
    if states - {"done", "pending"}:
        return 1
    return 3 if "pending" in states else 0
