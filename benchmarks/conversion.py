"""Speed of conversion beside its two parts alone, and memory over many studies.

    python benchmarks/conversion.py [ZIP] [--repeats 5]
    python benchmarks/conversion.py --studies 1000 [--nprocs 2]

Without arguments it takes the Philips scan of the test data, and prints wall times of
``cereflow-convert`` from the ZIP, and of dcm2niix and HeuDiConv alone from the unpacked folder,
each into an empty folder, in turn. With ``--studies`` it writes that many small uploads of as many
patients, converts them in one command, and prints time and the converter's own memory on the way.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
SCAN = "philips_pcasl3d_1delay_t1.zip"
LABELING = ("--post-labeling-delay", "2.0", "--labeling-duration", "1.8")
HEUDICONV = "import sys; from heudiconv.cli.run import main; sys.exit(main())"
TENTHS = 10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("zip", nargs="?", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--studies", type=int)
    parser.add_argument("--nprocs", type=int, default=2)
    arguments = parser.parse_args()
    data = Path(os.environ.get("CEREFLOW_TEST_DATA", PROJECT.parent / "shared" / "data"))
    with tempfile.TemporaryDirectory() as folder:
        if arguments.studies:
            _many(arguments.studies, arguments.nprocs, Path(folder))
        else:
            _speed(arguments.zip or data / "zips" / SCAN, arguments.repeats, Path(folder))
    return 0


# -- one study -----------------------------------------------------------------------------------


def _speed(archive: Path, repeats: int, folder: Path) -> None:
    import dcm2niix

    source = folder / "dicom"
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(source)
    files = sum(path.is_file() for path in source.rglob("*"))
    heuristic = PROJECT / "heuristics" / "cereflow.py"
    heudiconv = [sys.executable, "-c", HEUDICONV, "--files", source, "-s", "01", "-f", heuristic]
    heudiconv += ["-c", "dcm2niix", "-b", "-o"]
    convert = [Path(sys.executable).parent / "cereflow-convert", archive, *LABELING, "--quiet"]
    commands = {
        "cereflow-convert, from the ZIP": (convert, ()),
        "dcm2niix, from the folder": ([dcm2niix.bin, "-b", "y", "-z", "y", "-o"], (source,)),
        "HeuDiConv --minmeta, from the folder": (heudiconv, ("--minmeta",)),
        "HeuDiConv as it is, from the folder": (heudiconv, ()),
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(repeats):
        for name, (words, after) in commands.items():
            target = folder / f"{number}-{len(name)}"
            if "dcm2niix" in name:
                target.mkdir()
            times[name].append(_timed([*words, target, *after]))
    print(f"{files} files; median of {repeats} (lowest to highest)")
    for name, seconds in times.items():
        middle, low, high = statistics.median(seconds), min(seconds), max(seconds)
        speed = f"{files / middle:6.0f} files/s"
        print(f"{name:<38}{middle:6.2f} s ({low:.2f} to {high:.2f}) {speed}")
    ours, converter, short, _ = (statistics.median(one) for one in times.values())
    print(f"over HeuDiConv --minmeta alone:          {100 * (ours / short - 1):+.0f} %")
    print(
        f"over dcm2niix, then HeuDiConv --minmeta: {100 * (ours / (short + converter) - 1):+.0f} %"
    )


def _timed(command: list[object]) -> float:
    import dcm2niix

    path = os.pathsep.join((str(Path(dcm2niix.bin).parent), os.environ["PATH"]))
    began = time.monotonic()
    subprocess.run(
        [str(word) for word in command],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PATH": path, "NO_ET": "1"},
    )
    return time.monotonic() - began


# -- many studies --------------------------------------------------------------------------------


def _many(count: int, nprocs: int, folder: Path) -> None:
    from cereflow_bids.intake.conversion import ConversionOptions, Progress, convert

    inputs = [_upload(number, folder / "uploads") for number in range(count)]
    size = sum(path.stat().st_size for path in inputs)
    print(f"{count} uploads, {size / 1e6:.0f} MB; {nprocs} at a time")
    print(f"{'stage':<12}{'done':>8}{'s':>8}{'peak MB':>9}{'staged MB':>11}")
    began = time.monotonic()

    def show(at: Progress) -> None:
        if at.done % max(at.total // TENTHS, 1) == 0:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            seconds = time.monotonic() - began
            staged = _size(folder, ".bids-converting-*") / 1e6
            print(
                f"{at.stage:<12}{at.done:>8}{seconds:>8.0f}{peak:>9.0f}{staged:>11.1f}", flush=True
            )

    done = convert(inputs, folder / "bids", ConversionOptions(nprocs=nprocs, progress=show))
    seconds = time.monotonic() - began
    print(f"{len(done.runs)} runs, {len(done.failures)} failed, {count / seconds:.2f} studies/s")


def _upload(number: int, folder: Path) -> Path:
    """Write one small Siemens study of a patient of its own."""
    from cereflow_bids.demo.writers import siemens
    from cereflow_bids.demo.writers.dicom import pack
    from cereflow_bids.demo.writers.study import Identity, Study

    head = np.zeros((16, 18, 6))
    head[3:13, 3:15, 1:5] = 1
    volumes = np.stack([head * value for value in (1500, 300, 295, 300, 295, 300)], axis=-1)
    study = Study(Identity.canary(f"{number:05d}"), "20210203", "101010")
    siemens.write(folder / f"{number:05d}", study, volumes, np.diag([3.75, 3.75, 4.0, 1.0]))
    return pack(folder / f"{number:05d}", folder / f"{number:05d}.zip")


def _size(folder: Path, pattern: str) -> int:
    """Return the bytes below the folders of that name; what is removed meanwhile is none."""
    total = 0
    for root in folder.glob(pattern):
        for parent, _, names in os.walk(root):
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    total += Path(parent, name).lstat().st_size
    return total


if __name__ == "__main__":
    sys.exit(main())
