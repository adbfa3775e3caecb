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
from cereflow_bids.intake.preparation import Prepared
from cereflow_bids.intake.privacy import KeyFile, anonymous
from cereflow_bids.intake.survey import Examination


@dataclass(frozen=True)
class Target:
    """The dataset, its key file, and the choices that hold for all of it."""

    bids_dir: Path
    key_path: Path
    session_label: str | None = None
    always_sessions: bool = False
    keep_ages: bool = False
    deface: bool = False

    @property
    def choices(self) -> dict[str, bool]:
        """What holds for the whole dataset from now on."""
        return {
            "always sessions": self.always_sessions,
            "keep ages": self.keep_ages,
            "deface": self.deface,
        }

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


# Characters of a date, without the time behind it.
_DAY = 8


class Mark(NamedTuple):
    """What a result depends on: a digest of images, answers and version; ages and faces."""

    answers: str
    privacy: str


def mark(content: str, answers: Answers, target: Target) -> Mark:
    """Return the mark that a study gets in the key file when it is done.

    Parameters
    ----------
    content
        `Examination.digest`.
    answers
        All that was ever said of it.
    target
        The dataset, with the choices that hold for it.
    """
    text = f"{content} {_told(answers)} {__version__}"
    kept = {"ages": target.keep_ages, "faces": not target.deface}
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
) -> tuple[Place, list[RunSummary], list[str]]:
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
    notes
        What is to be said of the place.

    Raises
    ------
    InputError
        If the study cannot be placed or moved; the dataset is as it was.
    """
    with dataset_lock(target.bids_dir):
        key = KeyFile.read(target.key_path)
        entry = key.entry(study.patient.key, dataset.labels_in(target.bids_dir))
        notes: list[str] = []
        places = sessions.plan(
            entry,
            patient,
            target.session_label,
            always=target.always_sessions,
            told=notes.append,
        )
        place = places[study.study_uid]
        sessions.refuse_partial(entry, study, place)
        books = entry["studies"][anonymous(study.study_uid)]
        books.pop("done", None)
        key.choices |= target.choices
        key.write()
        dataset.write_description(target.bids_dir)
        runs = _move_in(prepared, place, target.bids_dir)
        patients = {place.label: study.patient}
        dataset.write_participants(target.bids_dir, patients, target.keep_ages)
        dataset.write_console_description(target.bids_dir)
        _list_pending(prepared, place.folder, runs, target.bids_dir)
        books |= {
            "date": study.date[:_DAY],
            "series": {uid: sorted(parts) for uid, parts in sorted(study.series.items())},
            "content": study.digest,
            "said": prepared.answers.written(),
            "done": done.answers,
            "privacy": done.privacy,
        }
        key.write()
    return place, runs, notes


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
        key = KeyFile.read(target.key_path)
        for books in _books(key, place):
            books["said"] = prepared.answers.written()
            done = mark(books["content"], prepared.answers, target)
            books |= {"done": done.answers, "privacy": done.privacy}
        key.write()
    return runs


def _books(key: KeyFile, place: Place) -> list[dict[str, Any]]:
    """Return what the key file says of the study at `place`, to be changed."""
    return [
        books
        for entry in key.entries.values()
        if str(entry["label"]) == place.label
        for books in entry["studies"].values()
        if books["session"] == place.session and "content" in books
    ]


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
