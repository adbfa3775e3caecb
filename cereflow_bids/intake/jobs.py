"""What there is to do: which examinations to convert, to finish, or to leave as they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from cereflow_bids.intake import commit
from cereflow_bids.intake.layout import pending
from cereflow_bids.intake.layout.study import RunSummary
from cereflow_bids.intake.parameters.answers import Answers
from cereflow_bids.intake.preparation import Options
from cereflow_bids.intake.privacy import KeyFile
from cereflow_bids.intake.survey import Examination


class Job(NamedTuple):
    """One examination to convert, or to finish from what was kept of it.

    Attributes
    ----------
    patient
        All examinations of the same patient, which decide about sessions.
    mark
        What the result depends on.
    options
        How it is prepared, with all that was ever said of it.
    kept
        Folder of the series kept of it, or None.
    """

    number: int
    examination: Examination
    patient: list[Examination]
    mark: commit.Mark
    options: Options
    kept: Path | None = None


@dataclass
class Plan:
    """What there is to do, and what there is not.

    Attributes
    ----------
    unchanged
        Number of studies that are done already.
    waiting
        Runs of these that wait for a parameter as before.
    """

    jobs: list[Job] = field(default_factory=list)
    unchanged: int = 0
    waiting: list[RunSummary] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class _Context(NamedTuple):
    """What all examinations of one command share."""

    key: KeyFile
    target: commit.Target
    options: Options


def plan(patients: Iterable[list[Examination]], target: commit.Target, options: Options) -> Plan:
    """Leave out what is done already, and examinations without ASL of patients who have others.

    Parameters
    ----------
    patients
        Examinations of each patient, by date.
    target
        The dataset and its key file.
    options
        How studies are prepared: where that changed, they are prepared again.
    """
    key = KeyFile.read(target.key_path)
    context = _Context(key, target, options)
    result = Plan()
    for studies in patients:
        chosen = [study for study in studies if study.has_asl]
        for study in studies:
            if chosen and not study.has_asl:
                result.notes.append(f"{study.where}: a study without ASL was left out.")
        for study in chosen or studies:
            known = commit.known(key, study)
            job = _job(study, known, len(result.jobs), context)
            folder = target.holds(key, study)
            if folder and (known.get("done"), known.get("privacy")) == job.mark:
                result.unchanged += 1
                result.waiting += _still_waiting(target.bids_dir, folder)
            else:
                result.jobs.append(job._replace(patient=chosen or studies))
    return result


def _job(study: Examination, known: Mapping[str, Any], number: int, context: _Context) -> Job:
    """Return what there is to do for one examination, with what was said of it before."""
    said = Answers.read(known.get("said", {}))
    options = replace(context.options, answers=context.options.answers.after(said))
    # A part of what the dataset has already is nothing new.
    content = known["content"] if _is_part(study, known) else study.digest
    mark = commit.mark(content, options.answers, context.target)
    same = known.get("content") == content and known.get("privacy") == mark.privacy
    kept = context.target.kept(context.key, study) if same else None
    return Job(number, study, [], mark, options, kept)


def _is_part(study: Examination, known: Mapping[str, Any]) -> bool:
    stored = known.get("series") if "content" in known else None
    return isinstance(stored, dict) and all(
        parts <= set(stored.get(uid, ())) for uid, parts in study.series.items()
    )


def _still_waiting(bids_dir: Path, folder: str) -> list[RunSummary]:
    """Return the runs of an unchanged study that wait for a parameter as before."""
    return [
        RunSummary(
            run=str(entry["run"]),
            missing=tuple(entry["missing"]),
            flags=tuple(entry["flags"]),
            lines=tuple(entry["protocol"]),
            series=tuple(entry["series"]),
        )
        for entry in pending.listed(bids_dir)
        if str(entry["run"]).startswith(f"{folder}/")
    ]
