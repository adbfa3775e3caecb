"""Folders of other software's results, as ``--derivatives`` names them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

from cereflow_bids.bids.sidecar import read_values
from cereflow_bids.errors import InputError, UsageError

RAW = "raw"
"""The dataset itself, in URIs."""

PLAIN = re.compile(
    r"\.\.|bids|data|derivatives|raw|rawdata|sourcedata|ds\d{6}"
    r"|(cereflow|fmriprep|freesurfer|smriprep)([-_.]?v?\d{1,2}(\.\d{1,2}){0,2})?"
)
"""Names of folders that can tell nothing of a person, versions included."""

SUBJECT = re.compile(r"sub-(?P<label>[^_.]+)(?:_ses-(?P<session>[^_.]+))?")
"""Names of folders of a participant, or of one session as FreeSurfer's are called."""

_NAME = re.compile(r"[0-9A-Za-z_.-]+")
_LONGEST = 60  # characters of a program's name, and of its version


@dataclass(frozen=True)
class DerivativeFolder:
    """A folder of results, which is never written to.

    Attributes
    ----------
    name
        In BIDS URIs: what the user called it, else the program that made it. Not the name of the
        folder, for that may be a person's.
    path
        Where it is.
    generated_by
        Program and version as its dataset_description.json has them; empty if there is none.
    doi
        Of the dataset, if it has one.
    """

    name: str
    path: Path = field(repr=False)
    generated_by: str = ""
    doi: str = ""

    @cached_property
    def subjects(self) -> dict[str, list[str]]:
        """Folders ``sub-…`` by the participant's label, with or without a session behind it."""
        # Once for all: it may hold thousands.
        found: dict[str, list[str]] = {}
        for name in sorted(entry.name for entry in self.path.iterdir()):
            subject = SUBJECT.fullmatch(name)
            if subject is not None:
                found.setdefault(subject["label"], []).append(name)
        return found


def open_folders(given: Sequence[str]) -> tuple[DerivativeFolder, ...]:
    """Return the folders that were given, as ``PATH`` or ``NAME=PATH``, in that order.

    Raises
    ------
    UsageError
        If there is no such folder, or two have one name.
    """
    opened: list[DerivativeFolder] = []
    for word in given:
        name, path = _name_and_path(word)
        taken = {RAW, *(one.name for one in opened)}
        if name in taken:
            raise UsageError(
                f"the name {name} is taken.", where=word, fix="give each folder a name of its own."
            )
        opened.append(_open(name, path, taken))
    return tuple(opened)


def dataset_links(
    bids_dir: Path, out_dir: Path, folders: Sequence[DerivativeFolder]
) -> dict[str, str]:
    """Return where the datasets lie that URIs name, as seen from the output folder.

    Parameters
    ----------
    bids_dir
        The raw dataset.
    out_dir
        Derivatives folder.
    folders
        Of precomputed results.

    Returns
    -------
    dict of str to str
        By name: a DOI where there is one, else the relative path. A path in which a folder has a
        name that could be a person's is left out.
    """
    links = {one.name: f"doi:{one.doi}" for one in folders if one.doi}
    for name, path in [(RAW, bids_dir), *((one.name, one.path) for one in folders)]:
        relative = PurePath(os.path.relpath(path.resolve(), out_dir.resolve()))
        plain = all(part == name or PLAIN.fullmatch(part) for part in relative.parts)
        if plain and name not in links:
            links[name] = relative.as_posix()
    return links


def _name_and_path(word: str) -> tuple[str, Path]:
    name, sign, rest = word.partition("=")
    path = Path(word)
    if sign and _NAME.fullmatch(name) and not path.exists():
        path = Path(rest)
    else:
        name = ""
    if not path.is_dir():
        raise UsageError("there is no such folder.", where=word, fix="check --derivatives.")
    return name, path.resolve()


def _open(name: str, path: Path, taken: set[str]) -> DerivativeFolder:
    described = _description(path)
    programs = described.get("GeneratedBy")
    first = programs[0] if isinstance(programs, list) and programs else {}
    words = [first.get(key) for key in ("Name", "Version")] if isinstance(first, dict) else []
    told = [word[:_LONGEST] for word in words if isinstance(word, str)]
    doi = described.get("DatasetDOI")
    return DerivativeFolder(
        name or next(one for one in _names(path, told) if one not in taken),
        path,
        " ".join(told),
        re.sub(r"^(doi:|https?://(dx\.)?doi\.org/)", "", doi) if isinstance(doi, str) else "",
    )


def _description(path: Path) -> dict[str, Any]:
    described = path / "dataset_description.json"
    if not described.is_file():
        return {}
    try:
        return read_values(described)
    except InputError as error:
        raise UsageError(error.what, where=error.where, fix=error.fix) from error


def _names(path: Path, told: Sequence[str]) -> Iterator[str]:
    """Yield names for a folder that the user gave none."""
    subjects = next(path.glob("sub-*/mri"), None)
    program = told[0] if told else "freesurfer" if subjects else "derivatives"
    plain = re.sub(r"[^0-9a-z]", "", program.lower()) or "derivatives"
    yield plain
    for number in range(2, 1000):
        yield f"{plain}{number}"
