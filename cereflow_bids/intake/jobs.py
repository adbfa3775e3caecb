"""What there is to do: which examinations to convert, to finish, or to leave as they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from cereflow_bids.intake import commit
from cereflow_bids.intake.layout import pending
from cereflow_bids.intake.layout.study import RunSummary
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
    kept
        Folder of the series kept of it, or None.
    """

    number: int
    examination: Examination
    patient: list[Examination]
    mark: commit.Mark
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
    result = Plan()
    for studies in patients:
        chosen = [study for study in studies if study.has_asl]
        for study in studies:
            if chosen and not study.has_asl:
                result.notes.append(f"{study.where}: a study without ASL was left out.")
        for study in chosen or studies:
            mark = commit.mark(study, target, options)
            if folder := _done(study, mark, key, target, anything=options.answers.any):
                result.unchanged += 1
                result.waiting += _still_waiting(target.bids_dir, folder)
                continue
            same = commit.known(key, study).get("content") == study.digest
            kept = target.kept(key, study) if same else None
            result.jobs.append(Job(len(result.jobs), study, chosen or studies, mark, kept))
    return result


def _done(
    study: Examination, mark: commit.Mark, key: KeyFile, target: commit.Target, *, anything: bool
) -> str:
    """Return the folder of a study that is done as it would be done now, else an empty text.

    Who says nothing (`anything` is False) does not take back what was said before.
    """
    known = commit.known(key, study)
    same = known.get("content") == study.digest and known.get("privacy") == mark.privacy
    as_before = known.get("done") == mark.answers or ("done" in known and not anything)
    return target.holds(key, study) if same and as_before else ""


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
