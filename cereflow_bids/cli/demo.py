"""``cereflow-demo``: simulated vendor scans through the ordinary commands."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from cereflow_bids import __version__
from cereflow_bids.cli.grammar import Grammar
from cereflow_bids.cli.numbers import COUNT, Number
from cereflow_bids.errors import CereflowError


def parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    built = Grammar(
        prog="cereflow-demo",
        description="Simulate two participants on GE, Siemens and Philips, write the scans as "
        "vendor DICOM in ZIPs, run cereflow-convert and cereflow on them, and compare the CBF "
        "found in every region with the truth. Exit code 0: every region found, and all within "
        "10 percent.",
    )
    built.add_argument("folder", type=Path, help="new or empty folder, or an earlier demo's")
    processes = min(2, os.cpu_count() or 1)
    built.add_argument(
        "--nprocs", type=COUNT, default=processes, help="processes (default: %(default)s)"
    )
    built.add_argument(
        "--seed", type=Number(whole=True), default=1, help="of the simulation (default: 1)"
    )
    built.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return built


def main(argv: list[str] | None = None) -> int:
    """Run the demo and return the exit code."""
    arguments = parser().parse_args(argv)
    from cereflow_bids.demo.run import run_demo

    try:
        return run_demo(arguments.folder, nprocs=arguments.nprocs, seed=arguments.seed)
    except CereflowError as error:
        print(f"cereflow-demo: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
