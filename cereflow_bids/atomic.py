"""Files that are whole or not there."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from pathlib import Path


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write under a temporary name in the same folder, then rename: a reader sees all or nothing.

    Parameters
    ----------
    path
        Where the file shall be; folders are made.
    write
        Writes the content to the path it is given. That one keeps the endings of `path`, because
        writers choose the format by them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A number of the process would not do: machines that share a disk have the same ones.
    temporary = path.with_name(f".{uuid.uuid4().hex[:12]}-{path.name}")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text_atomically(path: Path, text: str) -> None:
    """Write text, UTF-8, with the same line ends everywhere; see `write_atomically`."""
    write_atomically(path, lambda place: place.write_text(text, encoding="utf-8", newline="\n"))


def name_of_leftover(path: Path) -> str | None:
    """Return what a file would have become that a killed process left; None for other files."""
    found = re.fullmatch(r"\.[0-9a-f]{12}-(.+)", path.name)
    return found[1] if found else None
