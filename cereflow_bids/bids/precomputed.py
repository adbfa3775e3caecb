"""Anatomy that other software has prepared: which files of it go with a participant."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cereflow_bids.bids.annex import is_dangling
from cereflow_bids.bids.derivative_folders import SUBJECT, DerivativeFolder
from cereflow_bids.errors import InputError, UsageError

BIDS_PARTS = {
    "brain": "desc-brain_mask",
    "gm": "label-GM_probseg",
    "wm": "label-WM_probseg",
    "csf": "label-CSF_probseg",
    "dseg": "dseg",
}
"""Endings of names beside ``desc-preproc_T1w``, as fMRIPrep and sMRIPrep write them."""

FREESURFER_PARTS = {
    "head": ("nu.mgz", "T1.mgz", "orig.mgz"),
    "brain": ("brainmask.mgz",),
    "aseg": ("aseg.mgz", "aparc+aseg.mgz"),
}
"""Files of ``mri/``, the first that is there. ``nu`` keeps the contrast that ``T1`` evens out."""

_HEAD = re.compile(r"(sub-[^_]+(?:_[^_]+)*?)_desc-preproc_T1w\.nii(?:\.gz)?")
_WAY = re.compile(r"sub-.+_from-T1w_to-(?P<space>MNI[^_]+)_mode-image_xfm\..+")
_ENTITIES = ("_space-", "_res-", "_hemi-")
_VERSION = re.compile(r"\d+\.\d+\.\d+")


@dataclass(frozen=True)
class Precomputed:
    """The anatomy of one participant, on the T1w image's own grid.

    Attributes
    ----------
    dataset
        Name of the folder in BIDS URIs.
    generated_by
        Program and version, as far as known.
    layout
        BIDS derivatives, or FreeSurfer's folder of a subject.
    stem
        Entities, e.g. ``sub-01_ses-1``.
    session
        Label; None for a participant's only one, or for all together.
    uris
        Of the files.
    unused
        Templates to which there are transforms that are not used.
    files
        ``head``, and those of ``brain``, ``gm``, ``wm``, ``csf``, ``dseg``, ``aseg`` that exist.
    """

    dataset: str
    generated_by: str
    layout: Literal["bids", "freesurfer"]
    stem: str
    session: str | None
    uris: tuple[str, ...]
    unused: tuple[str, ...] = ()
    files: Mapping[str, Path] = field(default_factory=dict, repr=False)

    @property
    def origin(self) -> str:
        """Who made it, for people."""
        return self.generated_by or f"the dataset {self.dataset}"


def require_anatomy(folders: Sequence[DerivativeFolder]) -> None:
    """Refuse a folder in which no participant has anatomy.

    Raises
    ------
    UsageError
        With what was looked for.
    """
    for folder in folders:
        if not any(_all_heads(folder, label) for label in folder.subjects):
            raise UsageError(
                "there is no anatomy in the derivatives: neither "
                "sub-…/anat/…_desc-preproc_T1w.nii.gz nor sub-…/mri/T1.mgz.",
                where=folder.path.name,
                fix="give the output folder of fMRIPrep or sMRIPrep, or the subjects folder of "
                "FreeSurfer.",
            )


def of_participant(
    folders: Sequence[DerivativeFolder], participant: str, session: str | None
) -> tuple[Precomputed | None, int]:
    """Return the anatomy that lies closest to a session, and how close that is.

    Parameters
    ----------
    folders
        In the order of preference.
    participant, session
        Labels without prefix.

    Returns
    -------
    found, distance
        As `distance` has it; None and 3 if there is nothing.

    Raises
    ------
    InputError
        If a file of it is a link that leads nowhere.
    """
    found = [
        (distance(own, session), place, folder, own, head)
        for place, folder in enumerate(folders)
        for own, head in _all_heads(folder, participant)
    ]
    if not found:
        return None, 3
    how_close, _, folder, own, head = min(found, key=lambda one: (one[:2], _variants(one[4])))
    make = _of_freesurfer if head.parent.name == "mri" else _of_bids
    return make(folder, own, head), how_close


def distance(own: str | None, wanted: str | None) -> int:
    """Return 0 for an image of the session itself, 1 for one of no session, 2 for others."""
    return 0 if own == wanted else 1 if own is None else 2


def _variants(head: Path) -> tuple[int, str]:
    return head.name.count("_"), head.name


def _all_heads(folder: DerivativeFolder, participant: str) -> list[tuple[str | None, Path]]:
    """Return session and T1w image of all that there is of a participant."""
    names = folder.subjects.get(participant, [])
    return [head for name in names for head in _heads(folder.path, name)]


def _heads(path: Path, name: str) -> list[tuple[str | None, Path]]:
    """Return session and T1w image of what lies in one folder ``sub-…``."""
    subject = SUBJECT.fullmatch(name)
    if subject is None:
        return []
    own = path / name
    sessions = [one for one in _names(own) if one.startswith("ses-")]
    found: list[tuple[str | None, Path]] = []
    for anat in (own / "anat", *(own / session / "anat" for session in sessions)):
        for image in _names(anat):
            if _HEAD.fullmatch(image) and not any(one in image for one in _ENTITIES):
                session = re.search(r"_ses-([^_]+)_", image)
                found.append((session[1] if session else None, anat / image))
    head = _there(own / "mri", {"head": FREESURFER_PARTS["head"]})
    return [*found, *((subject["session"], image) for image in head.values())]


def _of_bids(folder: DerivativeFolder, session: str | None, head: Path) -> Precomputed:
    named = _HEAD.fullmatch(head.name)
    stem = named[1] if named else ""
    names = {
        part: [f"{stem}_{ending}{kind}" for kind in (".nii.gz", ".nii")]
        for part, ending in BIDS_PARTS.items()
    }
    files = {"head": head} | _there(head.parent, names)
    if {"gm", "wm"} <= set(files):
        files.pop("dseg", None)
    ways = [_WAY.fullmatch(name) for name in _names(head.parent) if name.startswith(stem)]
    templates = tuple(sorted({way["space"] for way in ways if way}))
    return Precomputed(
        folder.name,
        folder.generated_by,
        "bids",
        stem,
        session,
        _uris(folder, files),
        templates,
        files,
    )


def _of_freesurfer(folder: DerivativeFolder, session: str | None, head: Path) -> Precomputed:
    names = {part: FREESURFER_PARTS[part] for part in ("brain", "aseg")}
    files = {"head": head} | _there(head.parent, names)
    subject = head.parent.parent
    return Precomputed(
        folder.name,
        _version(subject / "scripts" / "build-stamp.txt") or folder.generated_by or "FreeSurfer",
        "freesurfer",
        subject.name,
        session,
        _uris(folder, files),
        files=files,
    )


def _version(stamp: Path) -> str:
    """Return FreeSurfer with its version; nothing else of the file goes further."""
    if not stamp.is_file():
        return ""
    found = _VERSION.search(stamp.read_text(encoding="utf-8", errors="replace"))
    return f"FreeSurfer {found[0]}" if found else "FreeSurfer"


def _there(folder: Path, names: Mapping[str, Sequence[str]]) -> dict[str, Path]:
    """Return the first file that exists of each kind."""
    known = set(_names(folder))
    firsts = {
        part: next((name for name in many if name in known), "") for part, many in names.items()
    }
    return {part: folder / name for part, name in firsts.items() if name}


def _names(folder: Path) -> list[str]:
    """Return what lies in a folder, links that lead nowhere included; nothing if it is none."""
    return sorted(one.name for one in folder.iterdir()) if folder.is_dir() else []


def _uris(folder: DerivativeFolder, files: Mapping[str, Path]) -> tuple[str, ...]:
    """Return the BIDS URIs of files; refuse those of which only the link is there."""
    places = [path.relative_to(folder.path).as_posix() for path in files.values()]
    for path, place in zip(files.values(), places, strict=True):
        if is_dangling(path):
            raise InputError(
                f"it is a link in the derivatives {folder.name}, and the content it leads to is "
                "not here.",
                where=place,
                fix=f"fetch it, in the folder of those derivatives: datalad get {place}, or "
                "git annex get.",
            )
    return tuple(f"bids:{folder.name}:{place}" for place in places)
