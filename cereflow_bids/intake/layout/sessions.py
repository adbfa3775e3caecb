"""Which label and session a study gets, now and when more studies of the patient come later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cereflow_bids.errors import InputError
from cereflow_bids.intake.layout.study import Place
from cereflow_bids.intake.privacy import anonymous
from cereflow_bids.intake.survey import Examination


def _silent(_sentence: str) -> None:
    """Say nothing."""


def plan(
    entry: dict[str, Any],
    studies: Sequence[Examination],
    forced: str | None,
    *,
    always: bool,
    told: Callable[[str], object] = _silent,
) -> dict[str, Place]:
    """Give each study of one patient its place, and note it in the patient's entry.

    A patient with one study has no session; several are numbered by study date. A study that has
    a place already keeps it.

    Parameters
    ----------
    entry
        The patient's entry of the key file; studies are added to it.
    studies
        Studies of one patient, ordered by date.
    forced
        Session label from the command line.
    always
        Whether a single study gets a session as well.
    told
        Called with one sentence where numbers of sessions do not follow the dates.

    Returns
    -------
    dict
        Study UID → place.

    Raises
    ------
    InputError
        If the studies cannot be placed without changing what is in the dataset.
    """
    label, known = str(entry["label"]), entry["studies"]
    fresh = [study for study in studies if anonymous(study.study_uid) not in known]
    labels = _new_sessions(label, known, len(fresh), forced, always=always)
    for study, session in zip(fresh, labels, strict=True):
        known[anonymous(study.study_uid)] = {"session": session, "series": {}}
    _note_order(known, fresh, told)
    return {
        study.study_uid: Place(label, known[anonymous(study.study_uid)]["session"])
        for study in studies
    }


def _note_order(
    known: dict[str, Any], fresh: Sequence[Examination], told: Callable[[str], object]
) -> None:
    """Say so where a new study is older than one that has its session already."""
    for study in fresh:
        own = known[anonymous(study.study_uid)]["session"]
        later = sorted(
            str(books["session"])
            for books in known.values()
            if str(books.get("date", "")) > study.date[: len(str(books.get("date", "")))]
        )
        if own and later:
            told(
                f"ses-{own} is an earlier examination than ses-{', ses-'.join(later)}: sessions "
                "are numbered by date only within one command."
            )


def _new_sessions(
    label: str, known: dict[str, Any], count: int, forced: str | None, *, always: bool
) -> list[str | None]:
    taken = [study["session"] for study in known.values()]
    where = f"sub-{label}"
    if count == 0:
        return []
    if None in taken:
        raise InputError(
            "The participant is in the dataset without sessions, and this is another study.",
            where=where,
            fix="convert all studies of the patient in one command into a new dataset; where "
            "patients come again, start with --sessions always.",
        )
    if forced is not None:
        if count > 1 or forced in taken:
            raise InputError(
                "One session label cannot stand for several studies of a patient.",
                where=where,
                fix="leave --session-label out, or convert the studies one by one.",
            )
        return [forced]
    if count == 1 and not taken and not always:
        return [None]
    first = max((int(session) for session in taken if session.isdecimal()), default=0) + 1
    return [f"{number:02d}" for number in range(first, first + count)]


def refuse_partial(entry: dict[str, Any], study: Examination, place: Place) -> None:
    """Raise if the study held series that are not given again: they would be lost."""
    known = entry["studies"][anonymous(study.study_uid)]
    if not set(known["series"]) <= set(study.series):
        raise InputError(
            "Other series of this study are in the dataset already and would be replaced.",
            where=place.folder,
            fix="give all inputs of the study in one command.",
        )
