"""The working folder holds identified DICOM: it goes however the conversion ends."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cereflow_bids.cli.convert import main
from cereflow_bids.demo.writers import siemens
from cereflow_bids.demo.writers.dicom import pack
from cereflow_bids.demo.writers.study import Identity, Study
from cereflow_bids.intake.layout.staging import staging_folder

STUDY = Study(Identity.canary("Z"), "20210203", "101010")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Write one small Siemens study with M0 and pairs."""
    levels = np.array([1500.0, 300, 295, 300, 295, 300])
    stack = np.zeros((16, 18, 6, len(levels)))
    stack[3:13, 3:15, 1:5] = levels
    siemens.write(tmp_path / "made" / "dicom", STUDY, stack, np.diag([3.75, 3.75, 4.0, 1.0]))
    return pack(tmp_path / "made" / "dicom", tmp_path / "made" / "siemens.zip")


def _stoppable() -> None:
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def started(source: Path, dataset: Path) -> subprocess.Popen[bytes]:
    """Start a conversion and wait until HeuDiConv is at work in the working folder."""
    command = [sys.executable, "-m", "cereflow_bids.cli.convert", str(source), str(dataset)]
    # A shell's background jobs ignore some signals, and a child would inherit that.
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=_stoppable,  # noqa: PLW1509  (no threads here)
    )
    patience = time.monotonic() + 60
    while not list(dataset.parent.glob(".bids-converting-*/study-*/work/batch-*/tmp")):
        assert process.poll() is None, "the conversion ended before it could be stopped"
        assert time.monotonic() < patience
        time.sleep(0.01)
    return process


@pytest.mark.parametrize("request_", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_request_to_stop_removes_the_working_folder(
    request_: signal.Signals, source: Path, tmp_path: Path
) -> None:
    process = started(source, tmp_path / "work" / "bids")
    process.send_signal(request_)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + request_
    assert b"stopped; unfinished work has been removed" in said
    assert b"Traceback" not in said
    assert b"CANARY" not in said
    # Children of HeuDiConv that lived on would write here again.
    time.sleep(0.5)
    assert list((tmp_path / "work").iterdir()) == []


def until_unlocked(folder: Path) -> None:
    """Wait for the children of a killed process: they hold its lock while they live."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for _ in range(6000):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            time.sleep(0.01)
    finally:
        os.close(handle)
    raise AssertionError("a child of the killed process holds the lock for ever")


def test_leftovers_of_a_killed_process_go_at_the_next_start(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = tmp_path / "work" / "bids"
    process = started(source, dataset)
    process.kill()
    process.communicate(timeout=60)
    (leftover,) = dataset.parent.glob(".bids-converting-*")
    assert any(path.is_file() for path in leftover.rglob("*"))
    until_unlocked(leftover)
    assert main([str(source), str(dataset), "--quiet"]) == 0
    assert sorted(path.name for path in dataset.parent.iterdir()) == ["bids", "bids.key.json"]
    said = capsys.readouterr().out
    assert said.count("An earlier conversion was killed; its working folder") == 1


def fabricated(parent: Path, name: str = ".bids-converting-dead") -> Path:
    folder = parent / name
    (folder / "input-001").mkdir(parents=True)
    (folder / "input-001" / "000001").write_bytes(b"CANARY")
    return folder


def test_a_folder_whose_process_lives_is_left_alone(tmp_path: Path) -> None:
    dead, other = fabricated(tmp_path), fabricated(tmp_path, ".photos-converting-dead")
    said: list[str] = []
    with staging_folder(tmp_path / "bids", said.append) as first:
        assert not dead.exists()
        assert len(said) == 1
        with staging_folder(tmp_path / "bids", said.append) as second:
            assert first.is_dir()
            assert second.is_dir()
        assert len(said) == 1
    assert [path.name for path in tmp_path.iterdir()] == [other.name]


def test_a_folder_of_a_process_killed_at_its_very_start_goes(tmp_path: Path) -> None:
    (tmp_path / ".bids-converting-empty").mkdir()
    with staging_folder(tmp_path / "bids", print):
        assert not (tmp_path / ".bids-converting-empty").exists()


def test_a_study_that_a_killed_process_was_replacing_is_put_back(tmp_path: Path) -> None:
    dead, dataset = fabricated(tmp_path), tmp_path / "bids"
    aside = dead / "study-000000" / "replaced"
    for unit in ("sub-01", "derivatives/console/sub-01", "sub-02/ses-01"):
        (aside / unit / "perf").mkdir(parents=True)
        (aside / unit / "perf" / "image.nii.gz").write_bytes(b"replaced")
    # Of this one the new version had been moved in before the kill.
    (dataset / "sub-02/ses-01/perf").mkdir(parents=True)
    (dataset / "sub-02/ses-01/perf/image.nii.gz").write_bytes(b"new")
    said: list[str] = []
    with staging_folder(dataset, said.append):
        assert not dead.exists()
    assert (dataset / "sub-01/perf/image.nii.gz").read_bytes() == b"replaced"
    assert (dataset / "derivatives/console/sub-01/perf/image.nii.gz").is_file()
    assert (dataset / "sub-02/ses-01/perf/image.nii.gz").read_bytes() == b"new"
    (sentence,) = said
    assert "the study that it was replacing is back" in sentence


def test_signal_handlers_are_put_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with staging_folder(tmp_path / "bids", print):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
