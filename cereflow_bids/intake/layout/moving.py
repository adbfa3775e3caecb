"""The way of a finished study into the dataset: named for its place, then moved in by renaming."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from cereflow_bids.errors import InputError
from cereflow_bids.intake.layout.dataset import CONSOLE
from cereflow_bids.intake.layout.study import Place

ASIDE = "replaced"
# What a study is named by until it is known whose it is.
NOBODY = Place("PLACEHOLDER")


def settle(folder: Path, place: Place) -> None:
    """Name a study, made for `NOBODY` in the dataset root `folder`, for its place."""
    for root in (folder, folder / CONSOLE):
        source = root / NOBODY.folder
        if not source.is_dir():
            continue
        for path in sorted(source.rglob("*")):
            if not path.is_file():
                continue
            inside = path.relative_to(source)
            name = named(inside.name, place)
            target = root / place.folder / inside.with_name(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".json":
                path.write_text(named(path.read_text("utf-8"), place), encoding="utf-8")
            path.rename(target)
        shutil.rmtree(source)


def named(text: str, place: Place) -> str:
    """Return `text`, a path or a sidecar, with the names of `place` in place of nobody's."""
    inside = text.replace(f"{NOBODY.folder}/", f"{place.folder}/")
    return inside.replace(f"{NOBODY.prefix}_", f"{place.prefix}_")


def discard(folder: Path) -> None:
    """Remove a working folder, but never the only copy of a study that was to be replaced."""
    if has_replaced(folder):
        for part in folder.iterdir():
            if part.name != ASIDE:
                shutil.rmtree(part, ignore_errors=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)


def move_in(folder: Path, bids_dir: Path, units: Sequence[Path]) -> None:
    """Swap new folders in by renaming; put everything back if one of them fails.

    Parameters
    ----------
    folder
        Working folder; the new ones are below its ``bids``.
    bids_dir
        The dataset.
    units
        Folders to replace or add, as paths inside the dataset. One that is not new is removed.
    """
    undo: list[tuple[Path, Path]] = []
    try:
        for unit in units:
            new, old, aside = folder / "bids" / unit, bids_dir / unit, folder / ASIDE / unit
            for source, goal in ((old, aside), (new, old)):
                if source.exists():
                    goal.parent.mkdir(parents=True, exist_ok=True)
                    source.rename(goal)
                    undo.append((goal, source))
    except BaseException:
        _put_back(undo)
        raise
    shutil.rmtree(folder / ASIDE, ignore_errors=True)


def has_replaced(folder: Path) -> bool:
    """Tell whether a working folder holds a study that was moved out of the dataset."""
    return any(path.is_file() for path in (folder / ASIDE).rglob("*"))


def bring_back(folder: Path, bids_dir: Path) -> bool:
    """Bring back what a killed conversion had moved aside and not replaced; True if there was any.

    Parameters
    ----------
    folder
        Its working folder.
    bids_dir
        The dataset.
    """
    restored = False
    for path in sorted((folder / ASIDE).rglob("*")):
        # Studies are folders of data types, which hold the files.
        if not path.is_file():
            continue
        unit = path.relative_to(folder / ASIDE).parent.parent
        if not (bids_dir / unit).exists():
            (bids_dir / unit).parent.mkdir(parents=True, exist_ok=True)
            (folder / ASIDE / unit).rename(bids_dir / unit)
            restored = True
    shutil.rmtree(folder / ASIDE, ignore_errors=True)
    return restored


def _put_back(undo: list[tuple[Path, Path]]) -> None:
    """Undo renamings, as many as can be undone."""
    try:
        while undo:
            goal, source = undo[-1]
            goal.rename(source)
            undo.pop()
    except OSError as error:
        raise InputError(
            "The new study could not be moved in, nor the earlier one back.",
            where="BIDS",
            fix="move the earlier one back from the hidden folder beside the dataset whose name "
            "has '-converting-' in it.",
        ) from error
