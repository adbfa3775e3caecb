"""The folder beside the dataset where patients are made ready, and the way from there into it."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cereflow_bids.errors import InputError, UsageError

_ASIDE = "replaced"


@contextmanager
def staging_folder(bids_dir: Path) -> Iterator[Path]:
    """Make a private folder on the dataset's own disk, so that moving in is a rename.

    Raises
    ------
    UsageError
        If nothing can be written there.
    """
    prefix = f".{bids_dir.name}-converting-"
    try:
        bids_dir.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=bids_dir.parent))
    except OSError as error:
        raise UsageError(
            f"The folder above the dataset cannot be written to: {error.strerror}.",
            where="BIDS",
            fix="choose a folder that you may write beside.",
        ) from error
    try:
        yield folder
    finally:
        for part in folder.iterdir():
            discard(part)
        if not any(folder.iterdir()):
            folder.rmdir()


def discard(folder: Path) -> None:
    """Remove a working folder, but never the only copy of a study that was to be replaced."""
    if any(path.is_file() for path in (folder / _ASIDE).rglob("*")):
        for part in folder.iterdir():
            if part.name != _ASIDE:
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
            new, old, aside = folder / "bids" / unit, bids_dir / unit, folder / _ASIDE / unit
            for source, goal in ((old, aside), (new, old)):
                if source.exists():
                    goal.parent.mkdir(parents=True, exist_ok=True)
                    source.rename(goal)
                    undo.append((goal, source))
    except BaseException:
        _put_back(undo)
        raise
    shutil.rmtree(folder / _ASIDE, ignore_errors=True)


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
