"""Files of which only the link is there, as git-annex and DataLad leave them."""

from __future__ import annotations

import shlex
from pathlib import Path

from cereflow_bids.errors import InputError


def require_content(path: Path, where: str = "") -> None:
    """Refuse a link that leads nowhere; a file that is missing altogether is not its business.

    Parameters
    ----------
    path
        The file.
    where
        Its place in the dataset, for the message; its name if not given.

    Raises
    ------
    InputError
        With the command that fetches the content.
    """
    if is_dangling(path):
        place = where or path.name
        raise InputError(
            "it is a link, and the content it leads to is not here.",
            where=place,
            fix=f"fetch it, in the folder of the dataset: datalad get {shlex.quote(place)}, or "
            "git annex get.",
        )


def is_dangling(path: Path) -> bool:
    """Tell whether a path is a link that leads nowhere."""
    return path.is_symlink() and not path.exists()
