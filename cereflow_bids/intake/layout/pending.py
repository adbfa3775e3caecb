"""What waits for the user: a list for machines, and converted series kept to be finished later.

Both lie beside the dataset. The kept series hold images and technical facts, no name, date or
number of a patient; but descriptions of series, so the folder is readable by its owner alone.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cereflow_bids.atomic import write_text_atomically
from cereflow_bids.errors import InputError
from cereflow_bids.intake.layout.dataset import to_json
from cereflow_bids.intake.nifti import images
from cereflow_bids.intake.nifti.assembly import Scan
from cereflow_bids.intake.parameters.answers import Answers
from cereflow_bids.intake.parameters.labeling import Known, Labeling, Parameter, Part

_FACTS, _SAID = "series.json", "answers.json"


def list_file(bids_dir: Path) -> Path:
    """Return where the list of pending runs is: ``<dataset>.pending.json`` beside the dataset."""
    return bids_dir.with_name(f"{bids_dir.name}.pending.json")


def store(bids_dir: Path) -> Path:
    """Return the folder of kept series, ``<dataset>.pending`` beside the dataset."""
    return bids_dir.with_name(f"{bids_dir.name}.pending")


def update(bids_dir: Path, within: Iterable[str], entries: Sequence[Mapping[str, Any]]) -> None:
    """Replace the entries of the studies converted now; without any the list goes.

    Parameters
    ----------
    bids_dir
        The dataset.
    within
        Folders, such as ``"sub-01"``, whose older entries no longer hold.
    entries
        New ones, each with ``run``, ``series``, ``missing``, ``flags`` and ``protocol``.
    """
    path = list_file(bids_dir)
    replaced = tuple(f"{part}/" for part in within)
    kept = [one for one in listed(bids_dir) if not str(one["run"]).startswith(replaced)]
    every = sorted([*kept, *entries], key=lambda entry: str(entry["run"]))
    if every:
        write_text_atomically(path, to_json({"pending": every}))
    else:
        path.unlink(missing_ok=True)


def listed(bids_dir: Path) -> list[Mapping[str, Any]]:
    """Return the entries of the list of pending runs."""
    path = list_file(bids_dir)
    if not path.exists():
        return []
    found: list[Mapping[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["pending"]
    return found


def write(scans: Sequence[Scan], folder: Path, answers: Answers) -> None:
    """Keep converted series in `folder`, so that they can be finished without converting again.

    What the user has said of them is kept as well: nobody is to say it twice.
    """
    folder.mkdir(parents=True, mode=0o700)
    facts = []
    for number, scan in enumerate(scans):
        names = []
        for place, path in enumerate(scan.files):
            name = f"{number:03d}-{place:03d}.nii.gz"
            images.publish(path, folder / name)
            names.append(name)
        known = dataclasses.asdict(scan.known)
        facts.append({"known": known, "files": names, "sidecars": list(scan.sidecars)})
    (folder / _FACTS).write_text(to_json(facts), encoding="utf-8")
    (folder / _SAID).write_text(to_json(answers.written()), encoding="utf-8")


def said(folder: Path) -> Answers:
    """Return what the user had said of the series kept in `folder`."""
    return Answers.read(json.loads((folder / _SAID).read_text(encoding="utf-8")))


def read(folder: Path) -> list[Scan]:
    """Return the series kept in `folder`."""
    facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
    try:
        return _scans(facts, folder)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            "The series that were kept of this study cannot be read: another version kept them.",
            where=folder.name,
            fix="give the archives again, with what is missing.",
        ) from error


def _scans(facts: list[dict[str, Any]], folder: Path) -> list[Scan]:
    return [
        Scan(
            _known(one["known"]),
            tuple(folder / name for name in one["files"]),
            tuple(one["sidecars"]),
        )
        for one in facts
    ]


def _known(facts: dict[str, Any]) -> Known:
    labeling = _tuples(facts["labeling"])
    parameters = {
        key: Parameter(one["value"], one["origin"]) for key, one in labeling["parameters"].items()
    }
    part = labeling["part"]
    read = labeling | {"parameters": parameters, "part": None if part is None else Part(*part)}
    return Known(**{**facts, "labeling": Labeling(**read)})


def _tuples(value: Any) -> Any:
    """Return JSON's lists as the tuples that they were."""
    if isinstance(value, list):
        return tuple(_tuples(part) for part in value)
    if isinstance(value, dict):
        return {key: _tuples(part) for key, part in value.items()}
    return value


def settle(bids_dir: Path, folder: Path, place: str) -> None:
    """Put the kept series of one study, made in `folder`, in their place, or remove older ones."""
    target = store(bids_dir) / place.replace("/", "_")
    if target.exists():
        shutil.rmtree(target)
    if folder.is_dir():
        target.parent.mkdir(mode=0o700, exist_ok=True)
        folder.rename(target)
    elif target.parent.is_dir() and not any(target.parent.iterdir()):
        target.parent.rmdir()


def places(bids_dir: Path) -> list[tuple[Path, str]]:
    """Return the folders of kept series, each with the study's folder in the dataset."""
    found = sorted(store(bids_dir).glob("sub-*/" + _FACTS))
    return [(path.parent, path.parent.name.replace("_ses-", "/ses-")) for path in found]
