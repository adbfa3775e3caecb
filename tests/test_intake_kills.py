"""Conversions killed at random moments and run again: as if nothing had happened."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bids_validation import validator_errors
from intake_uploads import philips_zip, siemens_zip, visit

# A few in every run; `CEREFLOW_KILLS=30` for the full count.
KILLS = int(os.environ.get("CEREFLOW_KILLS", "4"))
COMPLETE = ("--post-labeling-delay", "2.0", "--labeling-duration", "1.8", "--quiet")
PENDING = ("--post-labeling-delay", "2.0", "--quiet")


def command(inputs: list[Path], dataset: Path, said: tuple[str, ...]) -> list[str]:
    launch = [sys.executable, "-m", "cereflow_bids.cli.convert"]
    return [*launch, *said, *map(str, inputs), str(dataset)]


def run(inputs: list[Path], dataset: Path, said: tuple[str, ...]) -> None:
    done = subprocess.run(command(inputs, dataset, said), capture_output=True, check=False)
    assert done.returncode == (0 if said == COMPLETE else 3), done.stderr


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("uploads")
    return [
        siemens_zip(folder, visit("A"), "a.zip"),
        philips_zip(folder, visit("P")),
        siemens_zip(folder, visit("A", "20220101"), "a2.zip"),
    ]


@pytest.fixture(scope="module")
def undisturbed(
    inputs: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, ...], tuple[dict[str, bytes], float]]:
    """Return what lies beside the key file after a whole run, and how long that took."""
    found = {}
    for said in (COMPLETE, PENDING):
        folder = tmp_path_factory.mktemp("undisturbed")
        began = time.monotonic()
        run(inputs, folder / "bids", said)
        found[said] = (public(folder), time.monotonic() - began)
    return found


def public(folder: Path) -> dict[str, bytes]:
    """Return all files, but for the key file, whose marks need not be the same."""
    return {name: raw for name, raw in content(folder).items() if name != "bids.key.json"}


@pytest.mark.parametrize("seed", range(KILLS))
def test_killed_and_run_again(
    seed: int,
    inputs: list[Path],
    undisturbed: dict[tuple[str, ...], tuple[dict[str, bytes], float]],
    tmp_path: Path,
) -> None:
    said = PENDING if seed % 4 == 3 else COMPLETE
    expected, seconds = undisturbed[said]
    dataset = tmp_path / "bids"
    process = subprocess.Popen(
        command(inputs, dataset, said),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(random.Random(seed).uniform(0.02, 1.0) * seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if said == COMPLETE and (dataset / "participants.tsv").is_file():
        assert validator_errors(dataset) == [], "what is there already is valid"
    run(inputs, dataset, said)
    assert public(tmp_path) == expected
    assert (tmp_path / "bids.key.json").is_file()
