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
OPTIONS = ("--post-labeling-delay", "2.0", "--labeling-duration", "1.8", "--quiet")


def command(inputs: list[Path], dataset: Path) -> list[str]:
    launch = [sys.executable, "-m", "cereflow_bids.cli.convert"]
    return [*launch, *OPTIONS, *map(str, inputs), str(dataset)]


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
) -> tuple[dict[str, bytes], float]:
    dataset = tmp_path_factory.mktemp("undisturbed") / "bids"
    began = time.monotonic()
    subprocess.run(command(inputs, dataset), check=True, capture_output=True)
    assert validator_errors(dataset) == []
    return content(dataset), time.monotonic() - began


@pytest.mark.parametrize("seed", range(KILLS))
def test_killed_and_run_again(
    seed: int, inputs: list[Path], undisturbed: tuple[dict[str, bytes], float], tmp_path: Path
) -> None:
    expected, seconds = undisturbed
    dataset = tmp_path / "bids"
    process = subprocess.Popen(
        command(inputs, dataset),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(random.Random(seed).uniform(0.02, 1.0) * seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if (dataset / "dataset_description.json").is_file():
        assert validator_errors(dataset) == [], "what is there already is valid"
    subprocess.run(command(inputs, dataset), check=True, capture_output=True)
    assert content(dataset) == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bids", "bids.key.json"]
