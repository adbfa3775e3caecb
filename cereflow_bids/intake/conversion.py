"""From vendor archives to a BIDS dataset: the room's one public function.

Everything is prepared in a staging folder beside the dataset. A study moves in as a whole or not
at all, and one study's failure never stops the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from cereflow_bids.errors import CereflowError, UsageError
from cereflow_bids.intake import commit, survey
from cereflow_bids.intake.archives.unpacking import check_inputs, expanded
from cereflow_bids.intake.jobs import Job, plan
from cereflow_bids.intake.layout import dataset, pending
from cereflow_bids.intake.layout.moving import discard
from cereflow_bids.intake.layout.staging import staging_folder
from cereflow_bids.intake.layout.study import RunSummary
from cereflow_bids.intake.options import ConversionOptions, ConversionSummary, Progress
from cereflow_bids.intake.parallel import in_order, workers
from cereflow_bids.intake.preparation import Prepared, finish, prepare, told
from cereflow_bids.intake.privacy import KeyFile
from cereflow_bids.intake.sources import Sources
from cereflow_bids.intake.survey import Examination

__all__ = ["ConversionOptions", "ConversionSummary", "Progress", "convert"]

_AS_BEFORE = {
    "always sessions": "every study gets a session (--sessions auto ends that)",
    "keep ages": "ages above 89 are shown (--no-keep-ages ends that)",
    "deface": "faces are removed from T1w images (--no-deface ends that)",
}


@dataclass
class _Outcome:
    """The summary in the making."""

    runs: list[RunSummary] = field(default_factory=list)
    failures: list[CereflowError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unchanged: int = 0

    def summary(self) -> ConversionSummary:
        return ConversionSummary(
            tuple(self.runs), tuple(self.failures), tuple(self.notes), self.unchanged
        )


def convert(
    inputs: Sequence[Path], bids_dir: Path, options: ConversionOptions | None = None
) -> ConversionSummary:
    """Convert archives and folders of DICOM into the BIDS dataset `bids_dir`.

    Parameters
    ----------
    inputs
        Archives or folders; the parts of one patient may be spread over several. Without any,
        studies that wait for a parameter are finished.
    bids_dir
        A new or empty folder, or a BIDS dataset to add to.
    options
        What to assume, and where the key file is.

    Returns
    -------
    ConversionSummary
        Converted runs, failures and notes; nothing in it names a patient or a file of an input.

    Raises
    ------
    UsageError
        If an input is not there, `bids_dir` is something else, or the key file lies inside it or
        is lost.
    """
    options = options or ConversionOptions()
    bids_dir = bids_dir.resolve()
    check_inputs(inputs)
    dataset.check_target(bids_dir)
    key_path = _key_path(bids_dir, options)
    _refuse_lost_key(key_path, bids_dir)
    outcome = _Outcome()
    target = _target(bids_dir, key_path, options, outcome.notes)
    options = replace(options, deface=target.deface)
    with staging_folder(bids_dir, outcome.notes.append) as staging:
        if inputs:
            every = expanded(inputs, outcome.notes.append)
            _convert_inputs(every, staging, target, options, outcome)
        else:
            _finish_pending(staging, target, options, outcome)
    outcome.notes += options.answers.unused
    return outcome.summary()


def _target(
    bids_dir: Path, key_path: Path, options: ConversionOptions, notes: list[str]
) -> commit.Target:
    """Return the dataset with the choices that hold for it: said now, or else earlier."""
    earlier = KeyFile.read(key_path).choices
    said = {
        "always sessions": options.always_sessions,
        "keep ages": options.keep_ages,
        "deface": options.deface,
    }
    chosen = {name: bool(earlier.get(name)) if now is None else now for name, now in said.items()}
    for name, how in _AS_BEFORE.items():
        if said[name] is None and chosen[name]:
            notes.append(f"as earlier in this dataset, {how}.")
    return commit.Target(
        bids_dir,
        key_path,
        options.session_label,
        chosen["always sessions"],
        chosen["keep ages"],
        chosen["deface"],
    )


def _key_path(bids_dir: Path, options: ConversionOptions) -> Path:
    path = (options.key_file or bids_dir.with_name(f"{bids_dir.name}.key.json")).resolve()
    if path.is_relative_to(bids_dir):
        raise UsageError(
            "The key file would lie inside the dataset, and be shared with it.",
            where="--key-file",
            fix="choose a place outside the BIDS folder.",
        )
    return path


def _refuse_lost_key(path: Path, bids_dir: Path) -> None:
    """Refuse to go on without the key of a dataset of ours: known patients would be new ones."""
    if not path.exists() and dataset.is_ours(bids_dir) and dataset.labels_in(bids_dir):
        raise UsageError(
            f"The key file of this dataset is not there ({bids_dir.name}.key.json beside it, or "
            "what --key-file names), so that its patients cannot be told from new ones.",
            where="--key-file",
            fix="if the dataset was moved, move its key file after it; if the key file has "
            "another place, name it with --key-file.",
        )


# -- all inputs ----------------------------------------------------------------------------------


def _convert_inputs(
    inputs: Sequence[Path],
    staging: Path,
    target: commit.Target,
    options: ConversionOptions,
    outcome: _Outcome,
) -> None:
    sources = Sources(inputs, staging, options.limits)
    with workers(options.nprocs) as pool:
        patients = _survey(sources, pool, options, outcome)
        planned = plan(patients, target, options.preparation)
        outcome.notes += planned.notes
        outcome.runs += planned.waiting
        outcome.unchanged = planned.unchanged
        jobs = planned.jobs
        sources.expect(Counter(p for job in jobs if not job.kept for p in job.examination.inputs))

        def work(job: Job) -> Prepared:
            folder = staging / f"study-{job.number:06d}"
            if job.kept is not None:
                return finish(job.kept, folder, job.options, job.examination.where)
            return prepare(job.examination, sources, folder, job.options)

        for number, (job, result) in enumerate(in_order(pool, work, jobs, options.nprocs), 1):
            place = _commit(job, result, target, options, outcome)
            discard(staging / f"study-{job.number:06d}")
            options.progress(Progress("converting", number, len(jobs), place))


def _survey(
    sources: Sources,
    pool: ThreadPoolExecutor | None,
    options: ConversionOptions,
    outcome: _Outcome,
) -> list[list[Examination]]:
    """Look at every input, and bring together what belongs to one patient."""
    found: dict[str, Examination] = {}
    total = len(sources)
    positions = range(1, total + 1)
    for position, result in in_order(pool, sources.look, positions, options.nprocs):
        if isinstance(result, CereflowError):
            outcome.failures.append(result)
        elif isinstance(result, Exception):
            outcome.failures.append(told(result, f"input {position}"))
        else:
            survey.add(found, result, position)
        message = f"input {position} of {total} read"
        options.progress(Progress("reading", position, total, message))
    return list(survey.by_patient(found).values())


def _commit(
    job: Job,
    result: Prepared | Exception,
    target: commit.Target,
    options: ConversionOptions,
    outcome: _Outcome,
) -> str:
    """Move one study in, and add what is to be said of it; return what to call it."""
    where = job.examination.where
    try:
        if isinstance(result, Exception):
            raise result
        place, runs, notes = commit.move(result, job.examination, job.patient, target, job.mark)
    except Exception as error:  # noqa: BLE001 - one study's trouble stops nobody else
        outcome.failures.append(told(error, where))
        return f"{where}: failed"
    outcome.runs += runs
    outcome.notes += [f"{place.folder}: {note}" for note in (*notes, *result.notes)]
    return f"{place.folder}: {len(runs)} image{'s' * (len(runs) != 1)} from {where}"


def _finish_pending(
    staging: Path, target: commit.Target, options: ConversionOptions, outcome: _Outcome
) -> None:
    """Complete the studies that wait for a parameter, from what was kept of them."""
    waiting = pending.places(target.bids_dir)
    if not waiting:
        raise UsageError(
            "Nothing in this dataset waits for a parameter.",
            where="BIDS",
            fix="give the archives before the folder of the dataset, to convert them or to change "
            "what was said of them.",
        )
    for number, (kept, place) in enumerate(waiting, start=1):
        folder = staging / f"study-{number:06d}"
        try:
            prepared = finish(kept, folder, options.preparation, place)
            outcome.runs += commit.move_finished(prepared, place, target)
            outcome.notes += [f"{place}: {note}" for note in prepared.notes]
        except Exception as error:  # noqa: BLE001 - one study's trouble stops nobody else
            outcome.failures.append(told(error, place))
        discard(folder)
        options.progress(Progress("converting", number, len(waiting), place))
