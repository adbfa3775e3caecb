"""Running the participant level: plan, skip what is done, run, report, account for every run."""

from __future__ import annotations

import gc
import hashlib
import logging
import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cereflow_bids import __version__
from cereflow_bids.bids.dataset import Rejected, open_dataset, select_runs
from cereflow_bids.bids.derivatives import DerivativeWriter
from cereflow_bids.bids.run import AslRun
from cereflow_bids.bids.status import (
    State,
    Status,
    read_status,
    read_statuses,
    write_status,
)
from cereflow_bids.errors import PendingError
from cereflow_bids.workflow.graph import participant_graph, report_graph
from cereflow_bids.workflow.progress import progress
from cereflow_bids.workflow.quiet import quieten
from cereflow_bids.workflow.settings import Settings

if TYPE_CHECKING:
    from nipype.pipeline.engine import Workflow

POLL_SECONDS = 0.05
"""nipype looks for finished nodes every 2 s by default, which would cost most of a run's time."""


@dataclass(frozen=True)
class Plan:
    """What there is to do.

    Attributes
    ----------
    todo
        Runs to process.
    finished
        Runs whose outputs are there and up to date.
    rejected
        Runs that cannot be processed as they are.
    fingerprints
        Digest per run stem.
    """

    todo: tuple[AslRun, ...]
    finished: tuple[AslRun, ...]
    rejected: tuple[Rejected, ...]
    fingerprints: dict[str, str]


def make_plan(settings: Settings) -> Plan:
    """Index the dataset and sort its runs; writes nothing."""
    layout = open_dataset(settings.bids_dir, settings.database_dir)
    runs, rejected = select_runs(layout, settings.selection)
    fingerprints = {run.stem: _fingerprint(run, settings) for run in runs}
    finished = [run for run in runs if _is_finished(run, fingerprints[run.stem], settings)]
    todo = [run for run in runs if run not in finished]
    return Plan(tuple(todo), tuple(finished), tuple(rejected), fingerprints)


def run_participants(plan: Plan, settings: Settings) -> list[Status]:
    """Process what the plan says and return the status of each of its runs.

    One run's failure never stops the others, unless `settings.stop_on_first_crash`.
    """
    settings.out_dir.mkdir(parents=True, exist_ok=True)
    settings.work_dir.mkdir(parents=True, exist_ok=True)
    DerivativeWriter(settings.out_dir).write_dataset_description()
    for run in plan.todo:
        write_status(settings.out_dir, Status(run.stem, run.participant, "waiting"))
    for one in plan.rejected:
        write_status(settings.out_dir, _rejection(one))
    _configure(settings)
    if plan.todo:
        graph = participant_graph(plan.todo, plan.fingerprints, settings)
        _execute(graph, settings, "Quantifying")
        for run in plan.todo:
            _close(run.stem, settings, "the process that worked on it ended without a word")
    _report(plan, settings)
    stems = [run.stem for run in (*plan.todo, *plan.finished)] + [r.stem for r in plan.rejected]
    return [status for stem in sorted(stems) if (status := read_status(settings.out_dir, stem))]


def _report(plan: Plan, settings: Settings) -> None:
    """Write the reports of participants with news, and of those whose report is missing."""
    writer = DerivativeWriter(settings.out_dir)
    news = {run.participant for run in plan.todo} | {one.participant for one in plan.rejected}
    # Every run that was ever taken up is reported, also those that this call did not select.
    known = read_statuses(settings.out_dir)
    keys = ("report_html", "report_pdf")
    missing = {
        one.participant
        for one in known
        if not all(writer.path(key, participant=one.participant).is_file() for key in keys)
    }
    selected = news | missing & {run.participant for run in plan.finished}
    runs_of = {
        participant: [one.run for one in known if one.participant == participant]
        for participant in sorted(selected)
    }
    if not runs_of:
        return
    for participant in runs_of:
        for key in keys:
            writer.path(key, participant=participant).unlink(missing_ok=True)
    _execute(report_graph(runs_of, settings), settings, "Reporting")
    for participant, stems in runs_of.items():
        if not all(writer.path(key, participant=participant).is_file() for key in keys):
            for stem in stems:
                _close(stem, settings, "its report could not be written", even_done=True)


def _configure(settings: Settings) -> None:
    """Set nipype up; a graph copies the configuration when it is made, so this comes first."""
    from nipype import config

    crashes = settings.out_dir / "logs"
    crashes.mkdir(parents=True, exist_ok=True)
    config.update_config(
        {
            "execution": {
                "crashdump_dir": str(crashes),
                "crashfile_format": "txt",
                "poll_sleep_duration": str(POLL_SECONDS),
                "stop_on_first_crash": str(settings.stop_on_first_crash).lower(),
                "hash_method": "content",
                "check_version": "false",
            }
        }
    )
    _limit_threads(settings.omp_nthreads)
    if settings.verbose == 0:
        quieten()


def _execute(graph: Workflow, settings: Settings, title: str) -> None:
    """Run a graph; a node's failure is in the status records, so nothing is raised for it."""
    with progress(len(graph.list_node_names()), title) as listener:
        plugin, arguments = _plugin(settings)
        # nipype collects garbage at every poll; without this each one walks through all modules.
        gc.freeze()
        try:
            graph.run(plugin=plugin, plugin_args=arguments | {"status_callback": listener})
        except Exception as error:  # noqa: BLE001
            # nipype raises whatever the first failed node raised; each has written its record.
            logging.getLogger(__name__).debug("%s", error)


def _plugin(settings: Settings) -> tuple[str, dict[str, Any]]:
    """Return the nipype plugin and its arguments."""
    if settings.nprocs == 1:
        return "Linear", {}
    preload = "cereflow_bids.workflow." + ("interfaces" if settings.verbose else "quiet")
    multiprocessing.set_forkserver_preload([preload])
    memory = {"memory_gb": settings.mem_mb / 1024} if settings.mem_mb else {}
    return "MultiProc", memory | {
        "n_procs": settings.nprocs,
        "mp_context": "forkserver",
        "raise_insufficient": False,
    }


def _close(stem: str, settings: Settings, message: str, *, even_done: bool = False) -> None:
    """Mark a run as failed if it was left neither done nor failed."""
    status = read_status(settings.out_dir, stem)
    settled = ("failed", "pending") if even_done else ("failed", "pending", "done")
    if status is None or status.state in settled:
        return
    stopped = settings.stop_on_first_crash and status.state == "waiting"
    write_status(
        settings.out_dir,
        Status(
            stem,
            status.participant,
            "failed",
            step=status.step,
            message="not started: another run failed first" if stopped else message,
            fix="run again without --stop-on-first-crash."
            if stopped
            else "look into logs/; run again, and what is finished will not be repeated.",
        ),
    )


def _rejection(one: Rejected) -> Status:
    error = one.error
    state: State = "pending" if isinstance(error, PendingError) else "failed"
    message = f"{error.where}: {error.what}" if error.where else error.what
    return Status(one.stem, one.participant, state, "metadata", message=message, fix=error.fix)


def _fingerprint(run: AslRun, settings: Settings) -> str:
    return hashlib.sha256(repr((__version__, settings.science, run)).encode()).hexdigest()


def _is_finished(run: AslRun, fingerprint: str, settings: Settings) -> bool:
    status = read_status(settings.out_dir, run.stem)
    return (
        status is not None
        and status.state == "done"
        and status.fingerprint == fingerprint
        and all((settings.out_dir / name).is_file() for name in status.outputs)
    )


def _limit_threads(threads: int) -> None:
    """Set before the workers start: the libraries read these once, when they are loaded."""
    for name in (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
    ):
        os.environ[name] = str(threads)


def summarise(statuses: Sequence[Status]) -> dict[str, int]:
    """Return how many runs are in each state."""
    states = [status.state for status in statuses]
    return {state: states.count(state) for state in sorted(set(states))}
