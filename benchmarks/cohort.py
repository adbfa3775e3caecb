"""Wall time and memory of a cohort, from BIDS to the group report; is everyone accounted for?

    python benchmarks/cohort.py [--participants 200] [--nprocs 2] [--stand-ins]

The participants are copies of one phantom of the test data. Memory is sampled every second: the
process that leads, and it with all its workers (Linux, pages that are shared count once); the mean
over the second tenth of the participants is told beside the mean over the last tenth. Growth would
show there. With ``--stand-ins`` steps only copy what they are given, as in the tests of faults,
in one process and without the group level: planning, nipype, records and files are the real ones,
and a cohort takes minutes and not an hour.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from participant import _tree_kilobytes

PROJECT = Path(__file__).resolve().parent.parent
PHANTOM = "varied_single_clean"


def dataset(source: Path, bids: Path, participants: int) -> Path:
    """Write a dataset whose participants are copies of the first one of another."""
    bids.mkdir(parents=True)
    shutil.copyfile(source / "dataset_description.json", bids / "dataset_description.json")
    for number in range(1, participants + 1):
        perf = bids / f"sub-{number:04d}" / "perf"
        perf.mkdir(parents=True)
        for path in (source / "sub-01" / "perf").iterdir():
            shutil.copyfile(path, perf / path.name.replace("sub-01", f"sub-{number:04d}"))
    return bids


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--participants", type=int, default=200)
    parser.add_argument("--nprocs", type=int, default=2)
    parser.add_argument("--stand-ins", action="store_true", help="steps without arithmetic")
    chosen = parser.parse_args()
    data = Path(os.environ.get("CEREFLOW_TEST_DATA", PROJECT.parent / "shared" / "data"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if chosen.stand_ins:
            return _without_arithmetic(folder, chosen.participants)
        bids = dataset(data / "phantoms" / PHANTOM, folder / "bids", chosen.participants)
        words = ["-w", str(folder / "work"), "--nprocs", str(chosen.nprocs)]
        words += ["--skip-bids-validation", "--clean-workdir"]
        _measure("participant", bids, folder / "out", words)
        _measure("group", bids, folder / "out", [])
        _tell_status(bids, folder / "out", chosen.participants)
    return 0


def _without_arithmetic(folder: Path, participants: int) -> int:
    sys.path.insert(0, str(PROJECT / "tests"))
    import quick_command
    import quick_steps

    labels = tuple(f"{number:04d}" for number in range(1, participants + 1))
    bids = quick_steps.dataset(folder / "bids", labels)
    words = ["-w", str(folder / "work"), "--nprocs", "1", "--ignore", "t1w"]
    words += ["--skip-bids-validation", "--clean-workdir"]
    environment = quick_command.environment(folder / "bin")
    _measure("participant", bids, folder / "out", words, environment)
    _tell_status(bids, folder / "out", participants)
    return 0


def _tell_status(bids: Path, out: Path, participants: int) -> None:
    program = Path(sys.executable).parent / "cereflow-status"
    words = [program, str(out), "--bids", str(bids), "--json"]
    told = subprocess.run(words, capture_output=True, text=True, check=False)
    print(f"status of {participants} participants: {json.loads(told.stdout)['counts']}")


def _measure(
    level: str, bids: Path, out: Path, words: list[str], environment: dict[str, str] | None = None
) -> None:
    """Run one level, and print its time and memory."""
    program = Path(sys.executable).parent / "cereflow"
    if environment:
        program = Path(environment["PATH"].partition(os.pathsep)[0]) / "cereflow"
    start = time.monotonic()
    process = subprocess.Popen(
        [program, str(bids), str(out), level, *words], stdout=subprocess.DEVNULL, env=environment
    )
    samples: list[tuple[int, int, int]] = []
    while process.poll() is None:
        done = len(list(out.glob("sub-*/perf/sub-????_cbf.nii.gz")))
        samples.append((done, _own_kilobytes(process.pid), _tree_kilobytes(process.pid)))
        time.sleep(1)
    wall = time.monotonic() - start
    peak = [max(sample[k] for sample in samples) / 1024 for k in (1, 2)]
    print(
        f"{level}: exit code {process.returncode}, {wall:.0f} s, peak {peak[0]:.0f} MB of the "
        f"leading process, {peak[1]:.0f} MB in all",
        flush=True,
    )
    count = len(list(bids.glob("sub-*")))
    early = [one for one in samples if 0.1 * count <= one[0] < 0.2 * count]
    late = [one for one in samples if 0.9 * count <= one[0] < count]
    if level == "participant" and early and late:
        for k, what in ((1, "leading process"), (2, "all")):
            means = [sum(one[k] for one in some) / len(some) / 1024 for some in (early, late)]
            print(f"  {what}: {means[0]:.0f} MB early, {means[1]:.0f} MB late", flush=True)


def _own_kilobytes(pid: int) -> int:
    """Return the proportional set size of one process, kB; 0 when it has ended."""
    try:
        return int(Path(f"/proc/{pid}/smaps_rollup").read_text().split("Pss:")[1].split()[0])
    except (OSError, IndexError):
        return 0


if __name__ == "__main__":
    raise SystemExit(main())
