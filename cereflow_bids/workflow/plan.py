"""Which runs there are to process, which are finished, and which cannot be processed."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from cereflow_bids import __version__
from cereflow_bids.bids.dataset import Rejected, select_runs
from cereflow_bids.bids.index import open_dataset
from cereflow_bids.bids.run import AslRun
from cereflow_bids.bids.status import read_status
from cereflow_bids.workflow.settings import Settings


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

    @property
    def everything(self) -> tuple[AslRun | Rejected, ...]:
        """All runs, whatever is to become of them."""
        return (*self.todo, *self.finished, *self.rejected)


def make_plan(settings: Settings, *, dry: bool = False) -> Plan:
    """Index the dataset and sort its runs; a dry plan does not even write an index."""
    layout = open_dataset(
        settings.bids_dir,
        None if dry else settings.database_dir,
        settings.selection.participants,
    )
    runs, rejected = select_runs(layout, settings.selection)
    fingerprints = {run.stem: _fingerprint(run, settings) for run in runs}
    todo, finished = _sorted_out(runs, fingerprints, settings)
    return Plan(tuple(todo), tuple(finished), tuple(rejected), fingerprints)


def present_plan(plan: Plan, settings: Settings, busy: Container[str]) -> Plan:
    """Return the plan without participants of other calls, and with what those have finished."""
    runs = [run for run in (*plan.todo, *plan.finished) if run.participant not in busy]
    todo, finished = _sorted_out(runs, plan.fingerprints, settings)
    rejected = [one for one in plan.rejected if one.participant not in busy]
    return Plan(tuple(todo), tuple(finished), tuple(rejected), plan.fingerprints)


def _sorted_out(
    runs: Iterable[AslRun], fingerprints: Mapping[str, str], settings: Settings
) -> tuple[list[AslRun], list[AslRun]]:
    """Return what is to do and what is finished."""
    todo: list[AslRun] = []
    finished: list[AslRun] = []
    for run in runs:
        done = _is_finished(run, fingerprints[run.stem], settings)
        (finished if done else todo).append(run)
    return todo, finished


def _fingerprint(run: AslRun, settings: Settings) -> str:
    atlases = tuple((atlas.name, atlas.digest) for atlas in settings.atlases)
    what = (__version__, settings.science, atlases, settings.spaces, run)
    return hashlib.sha256(repr(what).encode()).hexdigest()


def _is_finished(run: AslRun, fingerprint: str, settings: Settings) -> bool:
    status = read_status(settings.out_dir, run.stem)
    return (
        status is not None
        and status.state == "done"
        and status.fingerprint == fingerprint
        and all((settings.out_dir / name).is_file() for name in status.outputs)
    )
