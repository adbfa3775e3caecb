"""Wall time and peak memory of one participant, without and with its T1w, from BIDS to report.

    python benchmarks/participant.py [--nprocs 2] [ZIP …]

Without arguments it takes the Philips and the Siemens pCASL scans of the test data. Each ZIP is
converted first; only ``cereflow … participant`` is measured, into empty folders, without the T1w
and, where there is one, with it. Memory is the sum
over the process and all its children of their proportional set size, sampled ten times a second
(Linux); pages that processes share count once.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
SCANS = ("philips_pcasl3d_1delay_t1.zip", "siemens_pcasl3d_1delay.zip")
LABELING = ("--post-labeling-delay", "2.0", "--labeling-duration", "1.8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("zips", nargs="*", type=Path)
    parser.add_argument("--nprocs", type=int, default=2)
    arguments = parser.parse_args()
    data = Path(os.environ.get("CEREFLOW_TEST_DATA", PROJECT.parent / "shared" / "data"))
    zips = arguments.zips or [data / "zips" / name for name in SCANS]
    print(f"{'scan':<32}{'T1w':>6}{'wall s':>8}{'peak MB':>9}{'GM CBF':>8}")
    for archive in zips:
        with tempfile.TemporaryDirectory() as folder:
            bids = _converted(archive, Path(folder))
            ways = {"no": ("--ignore", "t1w")}
            if list(bids.glob("sub-*/**/*_T1w.nii.gz")):
                ways["yes"] = ()
            for told, options in ways.items():
                words = [*options, "--nprocs", str(arguments.nprocs)]
                measured = _measure(bids, Path(folder) / told, words)
                print(f"{archive.stem:<32}{told:>6}{measured}", flush=True)
    return 0


def _converted(archive: Path, folder: Path) -> Path:
    bids = folder / "bids"
    # What a header holds wins over these; the Philips header holds neither.
    options = LABELING if archive.name.startswith("philips") else ()
    program = Path(sys.executable).parent
    convert = [program / "cereflow-convert", archive, bids, *options, "--quiet"]
    subprocess.run([str(word) for word in convert], check=True, stdout=subprocess.DEVNULL)
    return bids


def _measure(bids: Path, folder: Path, options: list[str]) -> str:
    out = folder / "out"
    program = Path(sys.executable).parent / "cereflow"
    words = [program, bids, out, "participant", "-w", folder / "work", *options]
    start = time.monotonic()
    process = subprocess.Popen([str(word) for word in words], stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, _tree_kilobytes(process.pid))
        time.sleep(0.1)
    wall = time.monotonic() - start
    if process.returncode:
        raise SystemExit(f"cereflow ended with exit code {process.returncode}")
    table = next(out.glob("sub-*/perf/*qualitycontrol_cbf.tsv")).read_text().splitlines()
    gm = dict(zip(*(line.split("\t") for line in table), strict=True))["gm_mean_cbf"]
    return f"{wall:>8.1f}{peak / 1024:>9.0f}{float(gm):>8.1f}"


def _tree_kilobytes(pid: int) -> int:
    """Return the proportional set size of a process and its descendants, kB."""
    total = 0
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        try:
            rollup = Path(f"/proc/{one}/smaps_rollup").read_text()
            for task in Path(f"/proc/{one}/task").iterdir():
                waiting += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue  # it ended between two looks
        total += int(rollup.split("Pss:")[1].split()[0])
    return total


if __name__ == "__main__":
    raise SystemExit(main())
