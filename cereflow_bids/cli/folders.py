"""Folders that a command is given: which it takes, and which it refuses."""

from __future__ import annotations

from pathlib import Path

from cereflow_bids.errors import UsageError


def check_folders(bids_dir: Path, output_dir: Path) -> None:
    """Refuse what would write into the raw data."""
    if not bids_dir.is_dir():
        raise UsageError("there is no such folder.", where=str(bids_dir), fix="check the path.")
    check_outside(bids_dir, output_dir, "output_dir")


def check_outside(bids_dir: Path, folder: Path, option: str) -> None:
    """Refuse a folder in the raw dataset, unless under its derivatives/, and what is no folder."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(
            f"{option} is a file, and has to be a folder.",
            where=str(folder),
            fix="choose a new or an empty folder, or that of an earlier call.",
        )
    raw, inside = bids_dir.resolve(), folder.resolve()
    if not inside.is_relative_to(raw):
        return
    parts = inside.relative_to(raw).parts
    if not parts or parts[0] != "derivatives" or len(parts) < 2:
        raise UsageError(
            f"{option} lies inside the raw dataset, which is never written to.",
            where=str(folder),
            fix=f"choose another one, such as {bids_dir / 'derivatives' / 'cereflow'}."
            if option == "output_dir"
            else "choose one outside of it.",
        )
