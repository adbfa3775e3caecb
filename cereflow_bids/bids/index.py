"""Indexing a raw dataset with pybids, and reusing an index only while it is true."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cereflow_bids.atomic import write_text_atomically
from cereflow_bids.bids.annex import is_dangling, require_content
from cereflow_bids.bids.inheritance import Inheritance
from cereflow_bids.bids.sidecar import read_values
from cereflow_bids.errors import InputError, UsageError
from cereflow_bids.processes import have_a_home

if TYPE_CHECKING:
    from bids import BIDSLayout

IGNORED = (re.compile(r"^/(code|models|sourcedata|stimuli|derivatives)"), re.compile(r"/\."))
DIGEST = "cereflow_bids_index.sha256"


def open_dataset(
    bids_dir: Path, database_dir: Path | None = None, participants: Sequence[str] = ()
) -> BIDSLayout:
    """Index a raw dataset; nothing is written into it.

    Parameters
    ----------
    bids_dir
        Top folder of the dataset.
    database_dir
        Where an index is kept. It is made anew when a file of the dataset was added, removed or
        changed since, or when it is another dataset's.
    participants
        Labels of those that are wanted, all if empty; an index that is kept has all of them.

    Raises
    ------
    UsageError
        If the folder is not a BIDS dataset.
    """
    require_content(bids_dir / "dataset_description.json")
    if not (bids_dir / "dataset_description.json").is_file():
        raise UsageError(
            "no dataset_description.json, so this is not a BIDS dataset.",
            where=str(bids_dir),
            fix="give the top folder of the dataset; cereflow-convert makes one from DICOM.",
        )
    if database_dir is None:
        return _index(bids_dir, None, reset=False, ignored=_others(participants))
    digest = _digest(bids_dir)
    known = database_dir / DIGEST
    fresh = known.is_file() and known.read_text(encoding="utf-8") == digest
    layout = _index(bids_dir, database_dir, reset=not fresh)
    write_text_atomically(known, digest)
    return layout


def check_json(sidecar: Path, where: str = "") -> None:
    """Refuse a sidecar that is no JSON object; a missing one may be inherited.

    Parameters
    ----------
    sidecar
        The file.
    where
        Its place in the dataset, for messages; its name if not given.

    Raises
    ------
    InputError
        With the place of the mistake.
    """
    require_content(sidecar, where)
    if sidecar.is_file():
        read_values(sidecar)


def check_sidecars(image: Path, inheritance: Inheritance) -> None:
    """Refuse an image one of whose sidecars is damaged, whether its own or an inherited one.

    Parameters
    ----------
    image
        Of the dataset.
    inheritance
        The files that others inherit from.

    Raises
    ------
    InputError
        With the place of the mistake.
    """
    suffix = image.name.partition(".")[0].rpartition("_")[2]
    for sidecar in reversed(inheritance.applicable(image, suffix, ".json")):
        check_json(sidecar, str(sidecar.relative_to(inheritance.dataset)))


def _others(participants: Sequence[str]) -> list[re.Pattern[str]]:
    """Return what matches all participants but these, so that an array job indexes its own."""
    if not participants:
        return []
    these = "|".join(re.escape(label) for label in participants)
    return [re.compile(f"^/sub-(?!(?:{these})(?:/|$))")]


def _index(
    bids_dir: Path,
    database_dir: Path | None,
    *,
    reset: bool,
    ignored: Sequence[re.Pattern[str]] = (),
) -> BIDSLayout:
    have_a_home()
    from bids import BIDSLayout, BIDSLayoutIndexer

    def layout(damaged: list[Path]) -> BIDSLayout:
        exactly = [_exactly(path, bids_dir) for path in damaged]
        return BIDSLayout(
            bids_dir,
            validate=False,
            derivatives=False,
            database_path=database_dir,
            reset_database=reset,
            indexer=BIDSLayoutIndexer(validate=False, ignore=[*IGNORED, *ignored, *exactly]),
        )

    try:
        return layout([])
    except (OSError, TypeError, ValueError):
        # pybids gives up at the first sidecar it cannot read: leave those out, and their runs are
        # rejected one by one.
        damaged = _damaged_sidecars(bids_dir)
        if not damaged:
            raise
        return layout(damaged)


def _exactly(path: Path, bids_dir: Path) -> re.Pattern[str]:
    return re.compile(f"^/{re.escape(path.relative_to(bids_dir).as_posix())}$")


def _damaged_sidecars(bids_dir: Path) -> list[Path]:
    damaged = []
    for path in sorted([*bids_dir.glob("*.json"), *bids_dir.glob("sub-*/**/*.json")]):
        try:
            check_json(path)
        except InputError:
            damaged.append(path)
    return damaged


def _digest(bids_dir: Path) -> str:
    """Return a digest of the dataset's place and of its files' names, sizes and times."""
    digest = hashlib.sha256(str(bids_dir.resolve()).encode())
    for folder, folders, names in os.walk(bids_dir):
        folders[:] = sorted(n for n in folders if n not in ("derivatives", "sourcedata", ".git"))
        for name in sorted(names):
            # A link of git-annex whose content was not fetched has only a state of its own.
            path = Path(folder, name)
            stat = path.lstat() if is_dangling(path) else path.stat()
            digest.update(f"{folder}/{name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()
