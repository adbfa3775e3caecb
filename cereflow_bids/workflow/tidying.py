"""What is left beside the derivatives: the drawing of the graph, and the work folder cleaned."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from cereflow_bids.bids.status import read_status
from cereflow_bids.workflow.graph import REPORTS, WHOLE, anatomy_name, identifier
from cereflow_bids.workflow.plan import Plan
from cereflow_bids.workflow.reactivity_node import NAME as REACTIVITY
from cereflow_bids.workflow.settings import Settings

if TYPE_CHECKING:
    from nipype.pipeline.engine import Workflow


JOB_FILES = (
    *("pyscript_*", "node_*", "batchscript_*", "crashdump_*", "slurm-*.out"),
    *("*.o[0-9]*", "*.e[0-9]*"),
)
"""What nipype and clusters leave in the folder ``batch`` of a graph."""


def draw(graph: Workflow, folder: Path) -> Path:
    """Write a graph as DOT, and as SVG where Graphviz is there; return the first.

    Parameters
    ----------
    graph
        What is about to be run.
    folder
        Where the files go, named after the graph.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"graph-{graph.name}.dot"
    graph.write_graph(str(target), graph2use="hierarchical", format="dot")
    if shutil.which("dot"):
        words = ["dot", "-Tsvg", "-o", str(target.with_suffix(".svg")), str(target)]
        subprocess.run(words, check=False, capture_output=True)
    return target


def tidy(plan: Plan, settings: Settings) -> None:
    """Remove the intermediate results of a plan's runs that are done, and of their reports.

    Nothing else is touched, since the folder may hold files of the user's or of other datasets;
    folders go when they are empty.

    Parameters
    ----------
    plan
        Runs of participants that no other call is at work on.
    settings
        Where output and work folder are.
    """
    runs = (*plan.todo, *plan.finished)
    left = {run.stem for run in runs if not _is_done(run.stem, settings)}
    still_used = {anatomy_name(run) for run in runs if run.stem in left}
    whole = settings.work_dir / WHOLE
    names = {identifier(run.stem) for run in runs if run.stem not in left}
    names |= {anatomy_name(run) for run in runs} - still_used - {""}
    folders = [whole / name for name in sorted(names)]
    compared = settings.work_dir / REACTIVITY
    for participant in {run.participant for run in runs}:
        if not any(run.stem in left for run in runs if run.participant == participant):
            name = identifier(f"sub-{participant}")
            folders.append(settings.work_dir / REPORTS / name)
            folders += [compared / name, *compared.glob(f"{name}_ses_*")]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    for folder in (whole, settings.work_dir / REPORTS, compared):
        if [path.name for path in folder.glob("*")] == ["batch"]:
            _remove_jobs(folder / "batch")
        _remove_if_empty(folder)


def _remove_jobs(folder: Path) -> None:
    """Remove the scripts and messages of jobs, which do not tell whose they are."""
    for pattern in JOB_FILES:
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
    _remove_if_empty(folder)


def _remove_if_empty(folder: Path) -> None:
    # Not empty: then others have something there.
    with contextlib.suppress(OSError):
        folder.rmdir()


def _is_done(stem: str, settings: Settings) -> bool:
    status = read_status(settings.out_dir, stem)
    return status is not None and status.state == "done"
