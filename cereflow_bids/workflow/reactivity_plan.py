"""Which pairs of runs have a reactivity map to make, and why the others have none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from cereflow_bids import __version__
from cereflow_bids.bids.dataset import Rejected
from cereflow_bids.bids.derivatives import DerivativeWriter
from cereflow_bids.bids.reactivity_pairs import KEY, Pair, Scan, Unpaired, pair_runs
from cereflow_bids.bids.reactivity_record import (
    ReactivityRecord,
    forget_reactivity,
    read_reactivities,
    read_reactivity,
    write_reactivity,
)
from cereflow_bids.bids.run import AslRun
from cereflow_bids.bids.spec import output_specs
from cereflow_bids.bids.status import read_status
from cereflow_bids.workflow.resume import remove_output
from cereflow_bids.workflow.settings import Settings

OUTPUTS = "cvr"
AGAIN = "run again without a filter, so that both runs are taken up."


def pairs_of(runs: Iterable[AslRun], rejected: Iterable[Rejected]) -> list[Pair | Unpaired]:
    """Return the pairs among the runs of a plan, those that cannot be processed included."""
    known = [Scan(run.stem, json.loads(run.metadata or "{}").get(KEY)) for run in runs]
    return pair_runs([*known, *(Scan(one.stem, one.metadata.get(KEY)) for one in rejected)])


def plan_reactivity(
    entries: Sequence[Pair | Unpaired], stems: Iterable[str], settings: Settings
) -> tuple[list[Pair], set[str]]:
    """Write a record for each entry, remove maps that are out of date, return what is to do.

    Parameters
    ----------
    entries
        Pairs, and what could not be paired.
    stems
        Every run that this call looked at, finished as far as it can be.
    settings
        What the user chose.

    Returns
    -------
    pairs, news
        Pairs to compare, and the participants (labels) of whom something has changed.
    """
    out_dir = settings.out_dir
    if settings.selection.filters:
        # The run that seems to be missing may only not have been selected.
        entries = [entry for entry in entries if isinstance(entry, Pair)]
    todo = []
    before = {one.group: one for one in read_reactivities(out_dir)}
    for entry in entries:
        record = _record(entry, settings)
        known = before.get(entry.group)
        if known is not None and _holds(known, record, out_dir):
            continue
        if known is not None and known.baseline != record.baseline:
            remove_reactivity(known.baseline, out_dir)
        remove_reactivity(record.baseline, out_dir)
        write_reactivity(out_dir, record)
        if isinstance(entry, Pair) and record.state == "waiting":
            todo.append(entry)
    missing = [before[group] for group in before.keys() - {entry.group for entry in entries}]
    _drop_stale(missing, set(stems), settings)
    after = {one.group: one for one in read_reactivities(out_dir)}
    changed = {group for group in before | after if before.get(group) != after.get(group)}
    return todo, {group.partition("_")[0].removeprefix("sub-") for group in changed}


def close_reactivity(pairs: Iterable[Pair], settings: Settings) -> None:
    """Mark each pair as failed that was left unfinished, and remove what it has half done."""
    for pair in pairs:
        record = read_reactivity(settings.out_dir, pair.group)
        if record is None or record.state == "done":
            continue
        remove_reactivity(pair.baseline, settings.out_dir)
        if record.state == "waiting":
            told = "it was stopped before it was finished."
            fix = "look into logs/; run again, and what is finished will not be repeated."
            write_reactivity(
                settings.out_dir, replace(record, state="failed", message=told, fix=fix)
            )


def remove_reactivity(baseline: str, out_dir: Path) -> None:
    """Remove the outputs of a pair, which are named after its baseline run."""
    if not baseline:
        return
    writer = DerivativeWriter(out_dir)
    for key, spec in output_specs().items():
        if OUTPUTS in key.split("_") and "{run}" in spec.name:
            remove_output(writer, key, baseline)


def _record(entry: Pair | Unpaired, settings: Settings) -> ReactivityRecord:
    """Return what can be said of an entry before the runs are compared."""
    if isinstance(entry, Unpaired):
        return ReactivityRecord(entry.group, "refused", message=entry.what, fix=entry.fix)
    record = ReactivityRecord(entry.group, "waiting", entry.baseline, entry.stimulus)
    for kind, run in (("baseline", entry.baseline), ("stimulus", entry.stimulus)):
        status = read_status(settings.out_dir, run)
        if status is None or status.state != "done":
            state, why, fix = (
                (status.state, status.message, status.fix)
                if status
                else ("not there", "no record of it was found.", AGAIN)
            )
            told = f"the {kind} run {run} is {state}: {why}"
            return replace(record, state="refused", message=told, fix=fix)
    writer = DerivativeWriter(settings.out_dir)
    relative = [r for r in (entry.baseline, entry.stimulus) if not writer.path("cbf", r).is_file()]
    if relative:
        return replace(
            record,
            state="refused",
            message=f"absolute CBF was refused for {' and '.join(relative)}. Relative maps are "
            "each scaled by their own mean, in which a change of the whole brain is lost.",
            fix="see the report of the run for what its calibration lacks.",
        )
    return replace(record, fingerprint=_fingerprint(record, settings))


def _fingerprint(record: ReactivityRecord, settings: Settings) -> str:
    runs = (record.baseline, record.stimulus)
    statuses = [read_status(settings.out_dir, run) for run in runs]
    made_from = [None if one is None else (one.state, one.fingerprint) for one in statuses]
    content = (__version__, settings.science.seed, runs, made_from)
    return hashlib.sha256(repr(content).encode()).hexdigest()


def _holds(known: ReactivityRecord, wanted: ReactivityRecord, out_dir: Path) -> bool:
    """Tell whether nothing has to be done or said anew."""
    if known.state == "done":
        return (
            wanted.state == "waiting"
            and known.fingerprint == wanted.fingerprint
            and all((out_dir / name).is_file() for name in known.outputs)
        )
    # What was left waiting or failed is tried again.
    return known.state == "refused" and replace(known, since="") == wanted


def _drop_stale(records: Sequence[ReactivityRecord], stems: set[str], settings: Settings) -> None:
    """Look after what earlier calls left of pairs that this call does not know.

    Their runs may have lost their marks, or not all of them were selected this time. A map stays
    only if neither run has changed since.
    """
    whole = not settings.selection.filters
    for known in records:
        runs = {known.baseline, known.stimulus} - {""}
        seen = runs <= stems if runs else whole and known.group in {Scan(s).group for s in stems}
        if seen:
            remove_reactivity(known.baseline, settings.out_dir)
            forget_reactivity(settings.out_dir, known.group)
        elif known.state == "done" and known.fingerprint != _fingerprint(known, settings):
            remove_reactivity(known.baseline, settings.out_dir)
            told = "one of the two runs was processed again without the other."
            stale = replace(known, state="refused", message=told, fix=AGAIN, outputs=())
            write_reactivity(settings.out_dir, stale)
