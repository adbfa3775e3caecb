"""Running the participant level: plan, skip what is done, run, report, account for every run."""

from __future__ import annotations

import contextlib
import gc
import os
import re
import traceback
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from typing import TYPE_CHECKING

from cereflow_bids.atomic import write_text_atomically
from cereflow_bids.bids.dataset import Rejected
from cereflow_bids.bids.derivative_folders import dataset_links
from cereflow_bids.bids.derivatives import DerivativeWriter
from cereflow_bids.bids.status import (
    State,
    Status,
    read_status,
    read_statuses,
    write_status,
)
from cereflow_bids.errors import PendingError
from cereflow_bids.processes import limit_threads
from cereflow_bids.workflow.bridges import make_bridges
from cereflow_bids.workflow.claiming import left_out, taken
from cereflow_bids.workflow.distribution import plugin, polling
from cereflow_bids.workflow.graph import (
    WHOLE,
    anatomy_name,
    identifier,
    participant_graph,
    report_graph,
)
from cereflow_bids.workflow.monitor import monitor
from cereflow_bids.workflow.plan import Plan, present_plan
from cereflow_bids.workflow.progress import progress, recording
from cereflow_bids.workflow.quiet import quieten
from cereflow_bids.workflow.reactivity_node import reactivity_graph
from cereflow_bids.workflow.reactivity_plan import close_reactivity, pairs_of, plan_reactivity
from cereflow_bids.workflow.resume import (
    REPORTS,
    discard_damaged_results,
    remove_leftovers,
    remove_outputs,
    with_fresh_report,
)
from cereflow_bids.workflow.settings import Settings
from cereflow_bids.workflow.step import KILLED_FIX, told
from cereflow_bids.workflow.stopping import mark_stopped, obey, stoppable
from cereflow_bids.workflow.tidying import draw, tidy

if TYPE_CHECKING:
    from nipype.pipeline.engine import Workflow


def run_participants(plan: Plan, settings: Settings) -> list[Status]:
    """Process what the plan says and return the status of each of its runs.

    One run's failure never stops the others, unless `settings.stop_on_first_crash`.
    """
    every = plan.everything
    with stoppable(), taken([one.participant for one in every], settings) as busy:
        links = dataset_links(settings.bids_dir, settings.out_dir, settings.selection.derivatives)
        DerivativeWriter(settings.out_dir).write_dataset_description(links)
        mine = present_plan(plan, settings, busy)
        try:
            _process(mine, settings)
            if settings.clean_workdir:
                tidy(mine, settings)
        except SystemExit as stop:
            mark_stopped([run.stem for run in mine.todo], settings, stop.code)
            raise
    told = [
        left_out(one.stem, one.participant, busy[one.participant], settings)
        if one.participant in busy
        else read_status(settings.out_dir, one.stem)
        for one in sorted(every, key=lambda one: one.stem)
    ]
    return [status for status in told if status]


def _process(plan: Plan, settings: Settings) -> None:
    _configure(settings)
    if plan.todo:
        # First: a template that cannot be used costs no run its outputs.
        make_bridges(settings)
    _prepare(plan, settings)
    if plan.todo:
        graph = participant_graph(plan.todo, plan.fingerprints, settings)
        error = _execute(graph, settings, "Quantifying")
        for run in plan.todo:
            _close(run.stem, settings, error)
            _clear_away(run.stem, settings)
    compared = _compare(plan, settings)
    _report(plan, settings, compared)


def _prepare(plan: Plan, settings: Settings) -> None:
    """Write the first records and remove what is out of date or damaged."""
    remove_leftovers({one.participant for one in plan.everything}, settings.out_dir)
    for run in plan.todo:
        write_status(settings.out_dir, Status(run.stem, run.participant, "waiting"))
        remove_outputs(run.stem, settings.out_dir)
        discard_damaged_results(settings.work_dir / WHOLE / identifier(run.stem))
        if anatomy_name(run):
            discard_damaged_results(settings.work_dir / WHOLE / anatomy_name(run))
    for one in plan.rejected:
        write_status(settings.out_dir, _rejection(one))
        remove_outputs(one.stem, settings.out_dir)


def _compare(plan: Plan, settings: Settings) -> set[str]:
    """Make the reactivity maps that are missing, and return the participants with news."""
    runs = (*plan.todo, *plan.finished)
    stems = [run.stem for run in runs] + [one.stem for one in plan.rejected]
    pairs, news = plan_reactivity(pairs_of(runs, plan.rejected), stems, settings)
    if pairs:
        _execute(reactivity_graph(pairs, settings), settings, "Comparing")
        close_reactivity(pairs, settings)
    return news


def _report(plan: Plan, settings: Settings, compared: set[str]) -> None:
    """Write the reports of participants with news, and of those whose report is missing or old."""
    writer = DerivativeWriter(settings.out_dir)
    news = compared | {run.participant for run in plan.todo}
    news |= {one.participant for one in plan.rejected}
    # Every run that was ever taken up is reported, also those that this call did not select.
    known = read_statuses(settings.out_dir)
    finished = {run.participant for run in plan.finished}
    selected = news | finished - with_fresh_report(finished, settings.out_dir)
    runs_of = {
        participant: [one.run for one in known if one.participant == participant]
        for participant in sorted(selected)
    }
    if not runs_of:
        return
    for participant in runs_of:
        for key in REPORTS:
            writer.path(key, participant=participant).unlink(missing_ok=True)
    error = _refused_by_system(_execute(report_graph(runs_of, settings), settings, "Reporting"))
    reason, fix = told(error) if error else ("look into the crash file.", _RESUME)
    for participant, stems in runs_of.items():
        if not all(writer.path(key, participant=participant).is_file() for key in REPORTS):
            for stem in stems:
                _fail(stem, settings, f"its report could not be written: {reason}", fix)


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
                **polling(settings),
                "stop_on_first_crash": str(settings.stop_on_first_crash).lower(),
                "hash_method": "content",
                "check_version": "false",
                # Pages on the graph, which calls that share a work folder would write at once.
                "create_report": "false",
            }
        }
    )
    limit_threads()
    if settings.verbose == 0:
        quieten()


def _execute(graph: Workflow, settings: Settings, title: str) -> Exception | None:
    """Run a graph and return what nipype raised: mostly what the first failed node raised.

    Nodes write their failures into the status records themselves.
    """
    if settings.write_graph:
        draw(graph, settings.out_dir / "logs")
    if settings.resource_monitor:
        monitor(graph, settings.out_dir)
    with progress(len(graph.list_node_names()), title) as listener:
        runner, arguments = plugin(settings)
        # nipype collects garbage at every poll; without this each one walks through all modules.
        gc.freeze()
        try:
            told = recording(listener, settings.out_dir)
            graph.run(plugin=runner(arguments | {"status_callback": told}))
        except Exception as error:  # noqa: BLE001
            # Whatever it is, every run has to be accounted for afterwards.
            trace = "".join(traceback.format_exception(error))
            crash = settings.out_dir / "logs" / f"crash-{title.lower()}.txt"
            with contextlib.suppress(OSError):
                write_text_atomically(crash, trace)
            obey()
            return error
    return None


_RESUME = "look into logs/; run again, and what is finished will not be repeated."


def _close(stem: str, settings: Settings, error: Exception | None) -> None:
    """Mark a run as failed if it was left neither done nor failed."""
    status = read_status(settings.out_dir, stem)
    if status is None or status.state in ("failed", "pending", "done"):
        return
    if isinstance(error, BrokenExecutor) or isinstance(
        getattr(error, "__cause__", None), BrokenExecutor
    ):
        _fail(stem, settings, f"the system killed the process in step {status.step}.", KILLED_FIX)
    elif settings.stop_on_first_crash and error is not None:
        again = "run again without --stop-on-first-crash."
        _fail(stem, settings, "not finished: another run failed first.", again)
    elif (refused := _refused_by_system(error)) is not None:
        _fail(stem, settings, *told(refused))
    else:
        reason = f" ({type(error).__name__})" if error else ""
        _fail(stem, settings, f"stopped before it was finished{reason}.", _RESUME)


def _clear_away(stem: str, settings: Settings) -> None:
    """Remove what a run has written that then failed: half a set of outputs is none."""
    status = read_status(settings.out_dir, stem)
    if status is not None and status.state != "done":
        remove_outputs(stem, settings.out_dir)


def _refused_by_system(error: Exception | None) -> OSError | None:
    """Return what the system refused to nipype itself; from a worker there comes only its text."""
    if isinstance(error, OSError):
        return error
    found = re.search(r"\[Errno (\d+)\]", str(error))
    return OSError(int(found[1]), os.strerror(int(found[1]))) if found else None


def _fail(stem: str, settings: Settings, message: str, fix: str) -> None:
    status = read_status(settings.out_dir, stem)
    if status is not None and status.state not in ("failed", "pending"):
        write_status(
            settings.out_dir,
            Status(stem, status.participant, "failed", status.step, message=message, fix=fix),
        )


def _rejection(one: Rejected) -> Status:
    error = one.error
    state: State = "pending" if isinstance(error, PendingError) else "failed"
    message = f"{error.where}: {error.what}" if error.where else error.what
    missing = error.missing if isinstance(error, PendingError) else ()
    return Status(
        *(one.stem, one.participant, state, "metadata"),
        message=message,
        fix=error.fix,
        missing=missing,
    )


def summarise(statuses: Sequence[Status]) -> dict[str, int]:
    """Return how many runs are in each state."""
    states = [status.state for status in statuses]
    return {state: states.count(state) for state in sorted(set(states))}
