"""The option of `cereflow` that hands in anatomy which other software has prepared."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cereflow_bids.errors import UsageError

if TYPE_CHECKING:
    from cereflow_bids.bids.derivative_folders import DerivativeFolder


def add_derivatives(group: Any) -> None:
    """Add the option to a group of a parser."""
    group.add_argument(
        "--derivatives",
        nargs="+",
        default=[],
        metavar="[NAME=]PATH",
        help="output folders of fMRIPrep or sMRIPrep, or subjects folders of FreeSurfer: T1w "
        "image, brain and tissues are taken from the first that has the participant",
    )


def derivatives_of(arguments: argparse.Namespace) -> tuple[DerivativeFolder, ...]:
    """Return the folders that were given.

    Raises
    ------
    UsageError
        If one is of no use, would be written to, or anatomy is to be ignored.
    """
    from cereflow_bids.bids.derivative_folders import open_folders
    from cereflow_bids.bids.precomputed import require_anatomy

    if not arguments.derivatives:
        return ()
    if "t1w" in arguments.ignore:
        raise UsageError(
            "--ignore t1w and --derivatives contradict each other: one leaves anatomy out, the "
            "other hands it in.",
            fix="give one of them.",
        )
    folders = open_folders(arguments.derivatives)
    written = {
        "output_dir": arguments.output_dir,
        "--work-dir": arguments.work_dir,
        "--bids-database-dir": arguments.bids_database_dir,
    }
    for option, path in written.items():
        if path is not None and any(_is_in(path, folder) for folder in folders):
            raise UsageError(
                f"{option} lies inside the derivatives, which are never written to.",
                where=str(path),
                fix="choose another one.",
            )
    require_anatomy(folders)
    return folders


def _is_in(path: Path, folder: DerivativeFolder) -> bool:
    return path.resolve().is_relative_to(folder.path)
