"""Which label and session a study gets, now and when more studies of the patient come later."""

from collections.abc import Sequence
from typing import Any

from cereflow_bids.errors import InputError
from cereflow_bids.intake.privacy import anonymous
from cereflow_bids.intake.series import Series
from cereflow_bids.intake.study import Place

Plan = list[tuple[Place, list[Series]]]


def plan(entry: dict[str, Any], chosen: Sequence[Series], forced: str | None) -> Plan:
    """Give each study of one patient its place.

    A patient with one study has no session; several are numbered by study date. A study that is
    in the dataset already keeps its place.

    Parameters
    ----------
    entry
        The patient's entry of the key file.
    chosen
        Series that have a role, of one patient, ordered by study date.
    forced
        Session label from the command line.

    Raises
    ------
    InputError
        If the studies cannot be placed without changing what is in the dataset.
    """
    studies: dict[str, list[Series]] = {}
    for series in chosen:
        studies.setdefault(series.study_uid, []).append(series)
    label = str(entry["label"])
    known = entry["studies"]
    fresh = [uid for uid in studies if anonymous(uid) not in known]
    sessions = dict(zip(fresh, _new_sessions(label, known, len(fresh), forced), strict=True))
    result: Plan = []
    for uid, members in studies.items():
        if uid in sessions:
            result.append((Place(label, sessions[uid]), members))
        else:
            result.append((Place(label, known[anonymous(uid)]["session"]), members))
            _refuse_partial(known[anonymous(uid)], members, result[-1][0])
    return result


def record(entry: dict[str, Any], planned: Plan) -> None:
    """Note in the patient's entry where each study went and what it held."""
    for place, members in planned:
        entry["studies"][anonymous(members[0].study_uid)] = {
            "session": place.session,
            "series": sorted(anonymous(series.uid) for series in members),
        }


def _new_sessions(
    label: str, known: dict[str, Any], count: int, forced: str | None
) -> list[str | None]:
    taken = [study["session"] for study in known.values()]
    where = f"sub-{label}"
    if count == 0:
        return []
    if None in taken:
        raise InputError(
            "The participant is in the dataset without sessions, and this is another study.",
            where=where,
            fix="convert all studies of the patient in one command into a new dataset, or start "
            "with --session-label.",
        )
    if forced is not None:
        if count > 1 or forced in taken:
            raise InputError(
                "One session label cannot stand for several studies of a patient.",
                where=where,
                fix="leave --session-label out, or convert the studies one by one.",
            )
        return [forced]
    if count == 1 and not taken:
        return [None]
    first = max((int(session) for session in taken if session.isdecimal()), default=0) + 1
    return [f"{number:02d}" for number in range(first, first + count)]


def _refuse_partial(study: dict[str, Any], members: list[Series], place: Place) -> None:
    """Raise if the study held series that are not given again: they would be lost."""
    given = {anonymous(series.uid) for series in members}
    if not set(study["series"]) <= given:
        raise InputError(
            "Other series of this study are in the dataset already and would be replaced.",
            where=place.folder,
            fix="give all inputs of the study in one command.",
        )
