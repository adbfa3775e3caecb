"""One examination made ready in a folder of its own: unpacked, converted, completed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cereflow_bids.bids.rules import violations
from cereflow_bids.errors import CereflowError, InputError
from cereflow_bids.intake import heuristic, reading
from cereflow_bids.intake.headers.series import Series
from cereflow_bids.intake.layout import pending, study
from cereflow_bids.intake.layout.moving import NOBODY
from cereflow_bids.intake.layout.study import RunSummary
from cereflow_bids.intake.nifti.assembly import Scan, read_scan
from cereflow_bids.intake.parameters.answers import Answers
from cereflow_bids.intake.sources import Sources
from cereflow_bids.intake.survey import Examination


@dataclass(frozen=True)
class Prepared:
    """A study ready to be moved in: ``bids/`` below `folder`, named for nobody yet.

    Where something is missing, ``pending/`` holds what it takes to finish the study later.
    `answers` is all that was ever said of it.
    """

    folder: Path
    runs: tuple[RunSummary, ...]
    notes: tuple[str, ...]
    answers: Answers


@dataclass(frozen=True)
class Options:
    """How a study is prepared.

    Attributes
    ----------
    answers
        What the user says of the labelling.
    deface
        Whether faces are removed from T1w images; one where that fails is left out.
    at_once
        Processes that one conversion may use.
    """

    answers: Answers
    deface: bool = False
    at_once: int = 1


def prepare(
    examination: Examination,
    sources: Sources,
    folder: Path,
    options: Options,
) -> Prepared:
    """Convert one examination into `folder`.

    Parameters
    ----------
    examination
        Which series of which inputs.
    sources
        The inputs.
    folder
        A folder of its own in the staging folder; made.
    options
        What to assume and how to work.

    Raises
    ------
    CereflowError
        If it cannot be converted; no message holds a name or a path.
    """
    try:
        folder.mkdir(parents=True)
        try:
            series = _borrow(examination, sources)
            chosen, known, notes = reading.choose(series, examination.where)
            files = heuristic.convert(chosen, folder / "work", options.at_once)
        finally:
            for position in examination.inputs:
                sources.release(position)
        scans = [
            read_scan(one, files[source.uid], source.patient.identifiers)
            for one, source in zip(known, chosen, strict=True)
        ]
        return _publish(scans, folder, options, notes)
    except Exception as error:
        raise told(error, examination.where) from error


def finish(kept: Path, folder: Path, options: Options, where: str) -> Prepared:
    """Complete a study whose converted series were kept in the folder `kept`."""
    try:
        folder.mkdir(parents=True)
        answers = options.answers.after(pending.said(kept))
        return _publish(pending.read(kept), folder, replace(options, answers=answers), [])
    except Exception as error:
        raise told(error, where) from error


def _publish(
    scans: Sequence[Scan], folder: Path, options: Options, notes: Sequence[str]
) -> Prepared:
    if options.deface:
        from cereflow_bids.intake.nifti.defacing import without_faces

        scans, faced = without_faces(scans, folder / "work")
        notes = (*notes, *faced)
    runs, said = study.publish(scans, folder / "bids", NOBODY, options.answers)
    _check(folder / "bids", runs)
    if any(run.missing for run in runs):
        pending.write(scans, folder / "pending", options.answers)
    shutil.rmtree(folder / "work", ignore_errors=True)
    return Prepared(folder, tuple(runs), (*notes, *said), options.answers)


# What cannot be written as long as something else is not known.
_FOLLOWS = {
    "BolusCutOffDelayTime": ("BolusCutOffFlag", "BolusCutOffTechnique"),
    "NumberOfExcitations": ("TotalAcquiredPairs",),
    "RepeatsPerDelay": ("PostLabelingDelay", "LabelingDuration"),
}


def _check(bids: Path, runs: Sequence[RunSummary]) -> None:
    """Let no study into a dataset that breaks a rule of BIDS, but for what waits for the user.

    Raises
    ------
    InputError
        With the first rule broken, and the series, whose files have no names yet.
    """
    excused = {
        run.run: {key for missing in run.missing for key in (missing, *_FOLLOWS.get(missing, ()))}
        for run in runs
    }
    found = violations(bids, excused)
    if found:
        file, _, sentence, fix = found[0]
        series = next((run.series for run in runs if run.run == file), ())
        said = sentence.removesuffix(".")
        raise InputError(
            f"The converted run would break a rule of BIDS: {said}.",
            where=f"series {', '.join(map(str, series))}",
            fix=f"{fix.removesuffix('.')}, or leave the series out of the upload.",
        )


def _borrow(examination: Examination, sources: Sources) -> list[Series]:
    """Return the examination's series, each whole, from all inputs that hold parts of it."""
    found: dict[str, Series] = {}
    for position in examination.inputs:
        for series in sources.borrow(position):
            if series.study_uid != examination.study_uid:
                continue
            if series.patient.key == examination.patient.key:
                earlier = found.get(series.uid)
                found[series.uid] = series if earlier is None else earlier.joined(series)
    return sorted(found.values(), key=lambda one: one.place)


def told(error: Exception, where: str) -> CereflowError:
    """Return any error without what it says: that can name a path or quote a header."""
    if isinstance(error, CereflowError):
        place = error.where if where in error.where else f"{where}, {error.where}"
        place = place.removesuffix(", ")
        return type(error)(error.what, where=place, fix=error.fix)
    if isinstance(error, OSError):
        return InputError(
            f"A file could not be read or written: {error.strerror or 'system error'}.",
            where=where,
            fix="check the free space and the permissions, then run the command again.",
        )
    return InputError(
        f"The study could not be converted ({type(error).__name__}).",
        where=where,
        fix="export it again with all images of every series; if it fails again, report the word "
        "in brackets with the scanner's model and software version, without any image.",
    )
