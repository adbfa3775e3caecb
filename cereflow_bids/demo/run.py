"""The demo: simulated scans through the ordinary commands, and the truth beside the result."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from cereflow_bids.demo.scans import PHILIPS_DELAY, PHILIPS_DURATION, DemoScan
from cereflow_bids.errors import CereflowError, UsageError

_MARK = ".cereflow-demo"
_PARTS = ("zips", "bids", "work", "out")


@dataclass(frozen=True)
class DemoFolders:
    """Where the demo puts things."""

    root: Path

    @property
    def zips(self) -> Path:
        """What a user would upload."""
        return self.root / "zips"

    @property
    def bids(self) -> Path:
        """The converted dataset."""
        return self.root / "bids"

    @property
    def work(self) -> Path:
        """Intermediate results."""
        return self.root / "work"

    @property
    def out(self) -> Path:
        """Maps, tables and reports."""
        return self.root / "out"

    @property
    def comparison(self) -> Path:
        """True against recovered CBF."""
        return self.root / "true_vs_recovered.csv"


def run_demo(root: Path, *, nprocs: int = 1, seed: int = 1, console: Console | None = None) -> int:
    """Simulate, convert, quantify, summarise and compare.

    Parameters
    ----------
    root
        Folder of the demo; made anew if it is an earlier demo's.
    nprocs
        Processes for the participants.
    seed
        Of the simulation.
    console
        Where to report.

    Returns
    -------
    int
        0, or 1 if a region is off by more than 10 % or was not recovered.

    Raises
    ------
    CereflowError
        If an ordinary command fails, with its exit code in the text.
    """
    from cereflow_bids.demo import comparison
    from cereflow_bids.demo.scans import write_scans

    console = console or Console()
    folders = DemoFolders(root.resolve())
    _prepare(folders)
    with _Step(console, "Simulating two participants on three scanners"):
        scans = write_scans(folders.zips, seed)
    _run_commands(folders, scans, nprocs, console)
    table = comparison.compare(scans, folders.out)
    table.to_csv(folders.comparison, index=False, na_rep="n/a", float_format="%.3f")
    comparison.show(table, console)
    _say_where(folders, console)
    wrong = comparison.complaints(table)
    for line in wrong or [_SUCCESS]:
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    return 1 if wrong else 0


_SUCCESS = (
    "Every region came out within 10 % of the truth. The low flow on the left of sub-02 is part "
    "of the simulation. CONFLICT lines above are no fault: the options were for the Philips scan, "
    "and the other headers know their own values."
)


class _Step:
    """Tell what is being done and how long it took."""

    def __init__(self, console: Console, what: str) -> None:
        self.console, self.what = console, what

    def __enter__(self) -> None:
        self.start = time.monotonic()
        self.console.print(f"{self.what} …", highlight=False, soft_wrap=True, markup=False)

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.console.print(f"  {time.monotonic() - self.start:.0f} s", highlight=False)


def _prepare(folders: DemoFolders) -> None:
    """Make the folder, clearing what an earlier demo left; touch nothing that is not a demo's."""
    root = folders.root
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        if not (root / _MARK).is_file():
            raise UsageError(
                "the folder is not empty and was not made by an earlier demo.",
                where=str(root),
                fix="name a new or empty folder.",
            )
        for part in _PARTS:
            if (root / part).exists():
                shutil.rmtree(root / part)
        for path in (folders.comparison, folders.bids.with_name("bids.key.json")):
            path.unlink(missing_ok=True)
    root.mkdir(parents=True, exist_ok=True)
    (root / _MARK).write_text("made by cereflow-demo; it may be cleared by it\n")


def _run_commands(
    folders: DemoFolders, scans: list[DemoScan], nprocs: int, console: Console
) -> None:
    """Run the three ordinary commands, with nothing special about them."""
    from cereflow_bids.cli import cereflow, convert

    labelling = ["--post-labeling-delay", str(PHILIPS_DELAY)]
    labelling += ["--labeling-duration", str(PHILIPS_DURATION)]
    zips = [str(scan.archive) for scan in scans]
    bids, out = str(folders.bids), str(folders.out)
    participant = ["participant", "-w", str(folders.work), "--nprocs", str(nprocs)]
    steps = (
        ("cereflow-convert", convert.main, [*zips, bids, *labelling]),
        ("cereflow", cereflow.main, [bids, out, *participant]),
        ("cereflow", cereflow.main, [bids, out, "group"]),
    )
    for name, command, arguments in steps:
        line = " ".join([name, *arguments])
        with _Step(console, line):
            code = command(arguments)
        if code:
            raise CereflowError(
                f"the command ended with exit code {code}.",
                where=line,
                fix=f"read what it printed above, and the files in {folders.out / 'logs'}.",
            )


def _say_where(folders: DemoFolders, console: Console) -> None:
    """Print the pages to open."""
    console.print("Look at:")
    pages = [*sorted(folders.out.glob("*.html")), *sorted(folders.out.glob("*.pdf"))]
    for path in [*pages, folders.comparison]:
        console.print(f"  {path}", highlight=False, soft_wrap=True, markup=False)
