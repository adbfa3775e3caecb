"""A prepared study moves into the dataset: label, session, renaming, and the books after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from cereflow_bids import __version__
from cereflow_bids.intake.layout import dataset, moving, pending, sessions
from cereflow_bids.intake.layout.staging import dataset_lock
from cereflow_bids.intake.layout.study import Place, RunSummary
from cereflow_bids.intake.parameters.answers import Answers
from cereflow_bids.intake.preparation import Options, Prepared
from cereflow_bids.intake.privacy import KeyFile, anonymous
from cereflow_bids.intake.survey import Examination


@dataclass(frozen=True)
class Target:
    """The dataset, its key file, how sessions are named, and whether all ages are shown."""

    bids_dir: Path
    key_path: Path
    session_label: str | None = None
    always_sessions: bool = False
    keep_ages: bool = False

    def holds(self, key: KeyFile, study: Examination) -> str:
        """Return the study's folder in the dataset, or an empty text if it is not there."""
        place = _place(key, study)
        there = place is not None and (self.bids_dir / place.folder).is_dir()
        return place.folder if place is not None and there else ""

    def kept(self, key: KeyFile, study: Examination) -> Path | None:
        """Return the folder of the study's kept series, or None if nothing of it is pending."""
        place = _place(key, study)
        found = {name: folder for folder, name in pending.places(self.bids_dir)}
        return None if place is None else found.get(place.folder)


def known(key: KeyFile, study: Examination) -> dict[str, Any]:
    """Return what the key file says of a study, empty if nothing."""
    entry = key.entries.get(study.patient.key, {"studies": {}})
    found: dict[str, Any] = entry["studies"].get(anonymous(study.study_uid), {})
    return found


def _place(key: KeyFile, study: Examination) -> Place | None:
    if study.patient.key not in key.entries or not (found := known(key, study)):
        return None
    return Place(str(key.entries[study.patient.key]["label"]), found["session"])


class Mark(NamedTuple):
    """What a result depends on: a digest of images, answers and version; ages and faces."""

    answers: str
    privacy: str


def mark(study: Examination, target: Target, options: Options) -> Mark:
    """Return the mark that a study gets in the key file when it is done."""
    text = f"{study.digest} {_told(options.answers)} {__version__}"
    kept = {"ages": target.keep_ages, "faces": not options.deface}
    shown = " and ".join(name for name, whether in kept.items() if whether)
    return Mark(sha256(text.encode()).hexdigest()[:24], f"kept: {shown or 'neither'}")


def _told(answers: Answers) -> str:
    rules = [(sorted(rule.match.items()), sorted(rule.values.items())) for rule in answers.rules]
    return repr((sorted(answers.given.values().items()), rules))


def move(
    prepared: Prepared,
    study: Examination,
    patient: Sequence[Examination],
    target: Target,
    done: Mark,
) -> tuple[Place, list[RunSummary]]:
    """Give a prepared study its place and move it in.

    The key file is written before anything moves, so that a label that is on disk is never given
    to somebody else, and once more when all is done, so that a killed conversion is repeated.

    Parameters
    ----------
    prepared
        The study.
    study, patient
        Its examination, and all of the same patient, which decide about sessions.
    target
        Where to.
    done
        Its mark.

    Returns
    -------
    place
        Participant and session.
    runs
        Summaries with the final names.

    Raises
    ------
    InputError
        If the study cannot be placed or moved; the dataset is as it was.
    """
    with dataset_lock(target.bids_dir):
        key = KeyFile.read(target.key_path)
        entry = key.entry(study.patient.key, dataset.labels_in(target.bids_dir))
        places = sessions.plan(entry, patient, target.session_label, always=target.always_sessions)
        place = places[study.study_uid]
        sessions.refuse_partial(entry, study, place)
        books = entry["studies"][anonymous(study.study_uid)]
        books.pop("done", None)
        key.write()
        runs = _move_in(prepared, place, target.bids_dir)
        dataset.write_top_level(target.bids_dir, {place.label: study.patient}, target.keep_ages)
        dataset.write_console_description(target.bids_dir)
        _list_pending(prepared, place.folder, runs, target.bids_dir)
        books |= {
            "series": sorted(study.series),
            "content": study.digest,
            "done": done.answers,
            "privacy": done.privacy,
        }
        key.write()
    return place, runs


def move_finished(prepared: Prepared, folder: str, target: Target) -> list[RunSummary]:
    """Move in a study that was finished from what had been kept of it.

    Parameters
    ----------
    prepared
        The study.
    folder
        Its place in the dataset, such as ``"sub-01/ses-02"``.
    target
        The dataset.
    """
    label, _, session = folder.removeprefix("sub-").partition("/ses-")
    place = Place(label, session or None)
    with dataset_lock(target.bids_dir):
        runs = _move_in(prepared, place, target.bids_dir)
        _list_pending(prepared, place.folder, runs, target.bids_dir)
    return runs


def _move_in(prepared: Prepared, place: Place, bids_dir: Path) -> list[RunSummary]:
    moving.settle(prepared.folder / "bids", place)
    unit = Path(place.folder)
    moving.move_in(prepared.folder, bids_dir, [unit, dataset.CONSOLE / unit])
    return [replace(run, run=moving.named(run.run, place)) for run in prepared.runs]


def _list_pending(
    prepared: Prepared, folder: str, runs: Sequence[RunSummary], bids_dir: Path
) -> None:
    entries = [entry for run in runs if (entry := run.pending) is not None]
    pending.settle(bids_dir, prepared.folder / "pending", folder)
    pending.update(bids_dir, [folder], entries)
