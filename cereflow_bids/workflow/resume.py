"""Making a work folder fit to resume from, and an output folder free of what is out of date."""

from __future__ import annotations

import re
import shutil
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

from cereflow_bids.atomic import name_of_leftover
from cereflow_bids.bids.calls import calls_at_work
from cereflow_bids.bids.derivatives import DerivativeWriter
from cereflow_bids.bids.overview import CALLS
from cereflow_bids.bids.spec import output_specs

REPORTS = ("report_html", "report_pdf")
SHARED = ("dataset_description.json", ".bidsignore")
_LABEL = re.compile(r"[A-Za-z0-9]+(_res-\d+)?")


def discard_damaged_results(folder: Path) -> list[Path]:
    """Remove each step's folder whose result cannot be read, so that the step is done again.

    A machine that stops while nipype writes a result leaves half a pickle behind.

    Parameters
    ----------
    folder
        Work folder of one run, or of one step.

    Returns
    -------
    list of Path
        The folders removed.
    """
    from nipype.utils.filemanip import loadpkl

    damaged = []
    for result in sorted([*folder.glob("*/result_*.pklz"), *folder.glob("result_*.pklz")]):
        try:
            loadpkl(result)
        except Exception:  # noqa: BLE001
            # Unpickling damaged bytes can raise anything.
            damaged.append(result.parent)
    for step in damaged:
        shutil.rmtree(step)
    return damaged


def remove_outputs(stem: str, out_dir: Path) -> None:
    """Remove a run's earlier outputs: those of other settings must not outlive a failure."""
    writer = DerivativeWriter(out_dir)
    for key, spec in output_specs().items():
        if "{run}" in spec.name:
            remove_output(writer, key, stem)


def remove_output(writer: DerivativeWriter, key: str, stem: str) -> None:
    """Remove an output of a run with its sidecar, of every atlas or space that there is."""
    path = writer.path(key, stem, atlas="*", space="*")
    for name in (path.name, path.name.partition(".")[0] + ".json"):
        before, several, after = name.partition("*")
        for stale in path.parent.glob(name):
            label = stale.name.removeprefix(before).removesuffix(after)
            if not several or _LABEL.fullmatch(label):
                stale.unlink(missing_ok=True)


def remove_leftovers(participants: Collection[str], out_dir: Path) -> None:
    """Remove the half-written files that a killed call left of some participants.

    Parameters
    ----------
    participants
        Labels without prefix; no other call may be at work on them. What all participants share
        is looked after where this call is the only one.
    out_dir
        Derivatives folder.
    """
    shared = (out_dir, out_dir / "logs" / "status", out_dir / "logs" / "reactivity")
    found = [path for folder in shared for path in folder.glob(".*")]
    for participant in participants:
        found += (out_dir / f"sub-{participant}").rglob(".*")
    # Asked after the files were listed: a call that comes later cannot have written one of them.
    alone = calls_at_work(out_dir.joinpath(*CALLS)) == 1
    for path in found:
        name = name_of_leftover(path) or ""
        label = re.match(r"sub-([^_.]+)", name)
        if (label and label[1] in participants) or (name in SHARED and alone):
            path.unlink(missing_ok=True)


def with_fresh_report(participants: Collection[str], out_dir: Path) -> set[str]:
    """Return the participants whose report is there and newer than all records it was made from.

    Where a call was killed before it wrote the report, the earlier one knows nothing of its runs.
    """
    newest: defaultdict[str, int] = defaultdict(int)
    for folder in ("status", "reactivity"):
        for record in (out_dir / "logs" / folder).glob("sub-*.json"):
            label = record.stem.partition("_")[0].removeprefix("sub-")
            newest[label] = max(newest[label], record.stat().st_mtime_ns)
    writer = DerivativeWriter(out_dir)
    fresh = set()
    for participant in participants:
        reports = [writer.path(key, participant=participant) for key in REPORTS]
        if all(one.is_file() for one in reports):
            written = min(one.stat().st_mtime_ns for one in reports)
            fresh |= {participant} if written >= newest[participant] else set()
    return fresh
