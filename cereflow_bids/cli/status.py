"""``cereflow-status``: every run of an output folder, and what became of it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cereflow_bids import __version__
from cereflow_bids.cli.grammar import Grammar
from cereflow_bids.errors import CereflowError, UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from cereflow_bids.bids.overview import Entry

EPILOG = """\
exit codes: 0 all done; 1 some failed or stopped; 2 wrong usage; 3 parameters are pending;
4 some are waiting, queued or running, and none has failed so far.
"""

COLOURS = {"failed": "red", "stopped": "red", "pending": "yellow", "done": "green"}
WIDE = 200


def parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    built = Grammar(
        prog="cereflow-status",
        description="Show every run as waiting, queued, running, done, failed, stopped or "
        "pending.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    built.add_argument("output_dir", type=Path, help="output folder of cereflow; only read")
    built.add_argument("--json", action="store_true", help="write JSON instead of a table")
    built.add_argument(
        "--bids",
        type=Path,
        metavar="BIDS",
        help="dataset: its runs that no call has taken up yet are listed as well, and those that "
        "wait for a parameter since their conversion",
    )
    built.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return built


def main(argv: Sequence[str] | None = None) -> int:
    """Show the state of all runs and return the exit code."""
    arguments = parser().parse_args(argv)
    from cereflow_bids.bids.overview import as_json, exit_code

    try:
        entries = _entries(arguments)
    except CereflowError as error:
        print(f"cereflow-status: {error}", file=sys.stderr)
        return error.exit_code
    if arguments.json:
        print(json.dumps(as_json(entries), indent=1))
    else:
        _show(entries)
    return exit_code(entries)


def _entries(arguments: argparse.Namespace) -> list[Entry]:
    from cereflow_bids.bids.overview import overview

    out_dir, bids_dir = arguments.output_dir, arguments.bids
    for folder in (out_dir, bids_dir):
        # Before the first call there is no output folder yet, which the dataset makes up for.
        if folder is not None and not folder.is_dir() and (bids_dir is None or folder != out_dir):
            raise UsageError("there is no such folder.", where=str(folder), fix="check the path.")
    entries = overview(out_dir, *_expected(bids_dir))
    if not entries:
        raise UsageError(
            "no run is known here.",
            where=str(out_dir),
            fix="give the output folder of cereflow, and the dataset with --bids.",
        )
    return entries


def _expected(bids_dir: Path | None) -> tuple[list[str], Sequence[Any]]:
    """Return the runs of the dataset, and what conversion says is pending."""
    if bids_dir is None:
        return [], ()
    from cereflow_bids.intake.layout import pending

    images = bids_dir.glob("sub-*/**/*_asl.nii*")
    runs = {image.name.rpartition("_asl.")[0] for image in images}
    try:
        waiting = pending.listed(bids_dir)
    except (ValueError, KeyError, OSError) as error:
        raise UsageError(
            "the list of pending runs cannot be read.",
            where=pending.list_file(bids_dir).name,
            fix="convert once more, which writes it anew.",
        ) from error
    return sorted(runs), waiting


def _show(entries: Sequence[Entry]) -> None:
    from rich.console import Console
    from rich.text import Text

    from cereflow_bids.bids.overview import NOT_BEGUN, counts

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDE)
    console.print(_table(entries))
    for entry in entries:
        missing = f" Missing: {', '.join(entry.missing)}." if entry.missing else ""
        if (entry.message or missing) and entry.message != NOT_BEGUN:
            word = "note" if entry.state == "done" else _word(entry)
            console.print(Text(f"{word}: {entry.name}: {entry.message}{missing}"), soft_wrap=True)
        if entry.fix:
            console.print(Text(f"  To fix: {entry.fix}"), soft_wrap=True)
    told = ", ".join(f"{number} {state}" for state, number in counts(entries).items())
    console.print(told)


def _table(entries: Sequence[Entry]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("Run", "State", "Step", "Since (UTC)"):
        table.add_column(title, no_wrap=title != "Run", overflow="fold")
    for entry in entries:
        name = entry.name if entry.kind == "run" else f"{entry.name} reactivity"
        since = entry.since.removesuffix("+00:00").replace("T", " ")
        state = Text(_word(entry), style=COLOURS.get(entry.state, ""))
        table.add_row(Text(name), state, Text(entry.step), Text(since))
    return table


def _word(entry: Entry) -> str:
    return entry.state if entry.certain else f"{entry.state}?"


if __name__ == "__main__":
    sys.exit(main())
