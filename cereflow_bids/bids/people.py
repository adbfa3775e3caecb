"""What the tables of a dataset say of a participant that T1 of blood depends on."""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping
from pathlib import Path

from cereflow_bids.bids.annex import require_content
from cereflow_bids.bids.parameters import Parameter
from cereflow_bids.bids.run import Person
from cereflow_bids.errors import InputError
from cereflow_bids.perfusion.constants import HAEMATOCRIT_RANGE

HAEMATOCRIT = ("haematocrit", "hematocrit")
_MISSING = ("", "n/a", "na", "nan")
_SEX = {"m": "M", "male": "M", "f": "F", "female": "F"}


def read_person(dataset: Path, participant: str, session: str | None) -> Person:
    """Return haematocrit, sex and age, as far as the tables of participants and sessions tell.

    What is said of the session goes before what is said of the participant. Column names are
    taken in lower case, a missing table or column is no error.

    Parameters
    ----------
    dataset
        Root of the dataset.
    participant, session
        Labels without prefix.

    Raises
    ------
    InputError
        If a haematocrit is no fraction, or two rows of one participant contradict each other.
    """
    subject = f"sub-{participant}"
    tables = [(dataset / "participants.tsv", "participant_id", subject)]
    if session is not None:
        name = f"{subject}_sessions.tsv"
        tables.insert(0, (dataset / subject / name, "session_id", f"ses-{session}"))
    rows = [(path, row) for path, key, label in tables for row in _rows(path, key, label)]
    listed = [(path, row[name]) for path, row in rows for name in HAEMATOCRIT if name in row]
    values = [(path, text) for path, text in listed if text.lower() not in _MISSING]
    nearest = [text for path, text in values if path == values[0][0]]
    if len(set(nearest)) > 1:
        raise InputError(
            f"{subject} has {len(nearest)} different values of haematocrit.",
            where=values[0][0].name,
            fix="leave one row and one column of haematocrit.",
        )
    sexes = {_SEX.get(row.get("sex", "").lower(), "") for _, row in rows} - {""}
    return Person(
        haematocrit=_haematocrit(*values[0]) if values else None,
        haematocrit_missing=bool(listed) and not values,
        sex=sexes.pop() if len(sexes) == 1 else "",
        age=next((age for _, row in rows if (age := _age(row.get("age", ""))) is not None), None),
    )


def _age(text: str) -> float | None:
    """Return years; BIDS hides the oldest as ``89+``."""
    try:
        age = float(text.removesuffix("+"))
    except ValueError:
        return None
    return age if 0 <= age <= 130 else None


def _rows(path: Path, key: str, label: str) -> list[Mapping[str, str]]:
    """Return the rows of a table that are about one participant or session."""
    # Without it T1 of blood would be another one, and nobody would know.
    require_content(path)
    if not path.is_file():
        return []
    stat = path.stat()
    table = _table(path, (stat.st_size, stat.st_mtime_ns))
    bare = label.partition("-")[2]
    return [row for row in table if row.get(key) in (label, bare)]


@functools.lru_cache(maxsize=2)
def _table(path: Path, _state: tuple[int, int]) -> list[Mapping[str, str]]:
    """Return all rows of a table, read once for all participants."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as text:
            table = list(csv.DictReader(text, delimiter="\t", restkey="", restval=""))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            "it is no table.", where=path.name, fix="write it anew, as UTF-8 text with tabs."
        ) from error
    return [
        {name.strip().lower(): str(value).strip() for name, value in row.items()} for row in table
    ]


def _haematocrit(path: Path, text: str) -> Parameter:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    low, high = HAEMATOCRIT_RANGE
    if not low <= value <= high:
        percent = 100 * low <= value <= 100 * high
        looks = ", and it looks like a percentage" if percent else ""
        raise InputError(
            f"haematocrit is {text}, not a fraction from {low:g} to {high:g}{looks}.",
            where=path.name,
            fix="give a fraction, such as 0.42, or n/a; nothing is rescaled here.",
        )
    return Parameter("Haematocrit", value, "", path.name.rpartition("_")[2])
