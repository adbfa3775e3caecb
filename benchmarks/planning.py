"""Seconds and peak memory of planning a large dataset: ``cereflow … participant --dry-run``.

    python benchmarks/planning.py [--participants 1000] [--sessions 1]

Writes a dataset of tiny images (each with its sidecar, aslcontext.tsv, M0 and T1w) and plans it
without an index, while an index is made that later calls reuse, and with that index. Memory is the
peak of the one process that plans.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np

ASL = {
    "ArterialSpinLabelingType": "PCASL",
    "MRAcquisitionType": "3D",
    "MagneticFieldStrength": 3,
    "PostLabelingDelay": 1.8,
    "LabelingDuration": 1.8,
    "BackgroundSuppression": False,
    "M0Type": "Separate",
    "RepetitionTimePreparation": 4.5,
    "EchoTime": 0.01,
}
CONTEXT = "volume_type\ncontrol\nlabel\n"
PLAN = """
import sys, resource
from pathlib import Path
from cereflow_bids.cli.cereflow import parser, _settings
from cereflow_bids.workflow.plan import make_plan
settings = _settings(parser().parse_args(sys.argv[1:]))
plan = make_plan(settings)
print(len(plan.todo), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
COMMAND = """
import sys, resource
from cereflow_bids.cli.cereflow import main
code = main(sys.argv[1:])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
sys.exit(code)
"""


def dataset(folder: Path, participants: int, sessions: int = 1) -> Path:
    """Write a dataset whose images are links to three tiny ones."""
    images = folder / "images"
    images.mkdir(parents=True)
    bids = folder / "bids"
    bids.mkdir()
    for suffix, shape in (("asl", (4, 4, 4, 2)), ("m0scan", (4, 4, 4)), ("T1w", (4, 4, 4))):
        volumes = np.full(shape, 100, np.float32)
        nib.save(nib.Nifti1Image(volumes, np.eye(4)), images / f"{suffix}.nii.gz")
    description = {"Name": "planning", "BIDSVersion": "1.10.0"}
    (bids / "dataset_description.json").write_text(json.dumps(description))
    people = [
        f"sub-{number:04d}\t{20 + number % 60}\t0.{40 + number % 6}"
        for number in range(1, participants + 1)
    ]
    (bids / "participants.tsv").write_text(
        "\n".join(["participant_id\tage\thaematocrit", *people])
    )
    for number in range(1, participants + 1):
        for session in range(1, sessions + 1):
            prefix = f"sub-{number:04d}"
            place = bids / prefix
            if sessions > 1:
                prefix += f"_ses-{session}"
                place = place / f"ses-{session}"
            _write(place, prefix, images)
    return bids


def _write(place: Path, prefix: str, images: Path) -> None:
    for name in ("perf", "anat"):
        (place / name).mkdir(parents=True)
    for kind, suffix in (("perf", "asl"), ("perf", "m0scan"), ("anat", "T1w")):
        os.link(images / f"{suffix}.nii.gz", place / kind / f"{prefix}_{suffix}.nii.gz")
    perf = place / "perf"
    (perf / f"{prefix}_asl.json").write_text(json.dumps(ASL))
    (perf / f"{prefix}_aslcontext.tsv").write_text(CONTEXT)
    intended = [f"{perf.relative_to(place).as_posix()}/{prefix}_asl.nii.gz"]
    m0 = {"RepetitionTimePreparation": 6.0, "EchoTime": 0.01, "IntendedFor": intended}
    (perf / f"{prefix}_m0scan.json").write_text(json.dumps(m0))
    t1w = {"Manufacturer": "Philips", "MagneticFieldStrength": 3}
    (place / "anat" / f"{prefix}_T1w.json").write_text(json.dumps(t1w))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--participants", type=int, default=1000)
    parser.add_argument("--sessions", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bids = dataset(folder, chosen.participants, chosen.sessions)
        runs = chosen.participants * chosen.sessions
        print(f"{runs} runs of {chosen.participants} participants")
        print(f"{'call':<28}{'wall s':>8}{'CPU s':>8}{'peak MB':>9}")
        words = [str(bids), str(folder / "out"), "participant", "--skip-bids-validation"]
        kept = [*words, "--bids-database-dir", str(folder / "index")]
        _measure("--dry-run", COMMAND, [*words, "--dry-run"])
        one = ["--participant-label", "0001", "--dry-run"]
        _measure("one participant, --dry-run", COMMAND, [*words, *one])
        _measure("index made and kept", PLAN, kept)
        _measure("index reused", PLAN, kept)
    return 0


def _measure(title: str, program: str, words: list[str]) -> None:
    import subprocess

    before = os.times()
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=True
    )
    wall = time.monotonic() - start
    after = os.times()
    cpu = sum(after[2:4]) - sum(before[2:4])
    peak = float(done.stdout.split()[-1])
    print(f"{title:<28}{wall:>8.1f}{cpu:>8.1f}{peak:>9.0f}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
