"""cereflow-status: each run's state, told without doubt, to people and to programs."""

import json
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest

from cereflow_bids.bids import calls
from cereflow_bids.bids.calls import Claims, call_at_work, claims
from cereflow_bids.bids.overview import CALLS, Entry, as_json, overview
from cereflow_bids.bids.reactivity_record import ReactivityRecord, write_reactivity
from cereflow_bids.bids.status import State, Status, read_statuses, write_status
from cereflow_bids.cli import participant
from cereflow_bids.cli.status import main
from cereflow_bids.errors import PendingError
from cereflow_bids.workflow.anatomy import Anatomy
from cereflow_bids.workflow.plan import Plan
from cereflow_bids.workflow.progress import recording
from cereflow_bids.workflow.settings import Settings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "processing.md"


def write(out: Path, run: str, state: str, **more) -> None:
    write_status(out, Status(run, run.partition("_")[0].removeprefix("sub-"), state, **more))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Return a folder with a run in each state that a record can have."""
    folder = tmp_path / "out"
    write(folder, "sub-01", "done", step="Deposit")
    write(folder, "sub-02", "failed", step="Reference", message="No [brain].", fix="Look.")
    write(folder, "sub-03_run-1", "waiting")
    write(folder, "sub-03_run-2", "queued", step="Motion")
    write(folder, "sub-04", "running", step="Tissue")
    write(folder, "sub-05", "pending", missing=("PostLabelingDelay",), fix="Add it.")
    write(folder, "sub-06", "stopped", step="Motion", message="Stopped by the user.")
    return folder


def states(out: Path, capsys, *words: str) -> dict[str, dict]:
    capsys.readouterr()
    main([str(out), "--json", *words])
    told = json.loads(capsys.readouterr().out)
    return {one["name"]: one for one in told["runs"] + told["reactivity"]}


def test_each_state_is_told_while_the_call_is_at_work(out, capsys):
    with claims(out.joinpath(*CALLS)) as mine:
        for name in ("sub-03", "sub-04"):
            assert mine.take(name) is None
        assert main([str(out)]) == 1
        told = capsys.readouterr().out
        found = states(out, capsys)
    for run, state in {
        "sub-01": "done",
        "sub-02": "failed",
        "sub-03_run-1": "waiting",
        "sub-03_run-2": "queued",
        "sub-04": "running",
        "sub-05": "pending",
        "sub-06": "stopped",
    }.items():
        assert re.search(rf"^{run} +{state} ", told, re.M), told
        assert found[run]["state"] == state
        assert found[run]["certain"]
    assert re.search(r"^sub-04 +running +Tissue +20\d\d-\d\d-\d\d \d\d:\d\d:\d\d", told, re.M)
    assert "failed: sub-02: No [brain].\n  To fix: Look." in told
    assert "Missing: PostLabelingDelay." in told
    assert found["sub-05"]["missing"] == ["PostLabelingDelay"]


def test_what_a_dead_process_left_is_doubted(out, capsys):
    assert main([str(out)]) == 1
    told = capsys.readouterr().out
    assert re.search(r"^sub-04 +stopped\? +Tissue +20", told, re.M)
    assert "gone; it stopped in step Tissue." in told
    assert "sub-03_run-1: the process that was at work on it is gone; it stopped before" in told
    one = states(out, capsys)["sub-04"]
    assert (one["state"], one["certain"]) == ("stopped", False)
    assert "same command again" in one["fix"]


@pytest.mark.parametrize(
    ("kept", "code"),
    [
        (["sub-01"], 0),
        (["sub-01", "sub-05"], 3),
        (["sub-01", "sub-05", "sub-04"], 4),
        (["sub-01", "sub-05", "sub-04", "sub-02"], 1),
        (["sub-01", "sub-06"], 1),
    ],
)
def test_the_exit_code_says_the_worst(out, kept, code, capsys):
    for record in (out / "logs" / "status").iterdir():
        if record.stem not in kept:
            record.unlink()
    with claims(out.joinpath(*CALLS)) as mine:
        mine.take("sub-04")
        assert main([str(out)]) == code
        assert main([str(out), "--json"]) == code
    assert f'"exit_code": {code}' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("state", "code"),
    [("done", 0), ("pending", 3)]
    + [(state, 1) for state in get_args(State) if state not in ("done", "pending")],
)
def test_a_call_ends_well_only_when_every_run_has(state, code, tmp_path, monkeypatch):
    # Another call may be at any point of a run that this one left to it.
    statuses = [Status("sub-01", "01", state, message="left out"), Status("sub-02", "02", "done")]
    monkeypatch.setattr(participant, "make_plan", lambda *_, **__: Plan((), (), (), {}))
    monkeypatch.setattr(participant, "run_participants", lambda *_: statuses)
    settings = Settings(tmp_path, tmp_path / "out", tmp_path / "work", validate=False)
    assert participant.run(settings) == code


def test_a_failed_reactivity_map_is_a_failure(tmp_path, capsys):
    write(tmp_path, "sub-01", "done")
    record = ReactivityRecord("sub-01_ses-1", "refused", message="Both runs are the same.")
    write_reactivity(tmp_path, record)
    assert main([str(tmp_path)]) == 0
    assert re.search(r"^sub-01_ses-1 reactivity +refused", capsys.readouterr().out, re.M)
    write_reactivity(tmp_path, ReactivityRecord("sub-01_ses-1", "failed", message="Broken."))
    assert main([str(tmp_path)]) == 1
    assert states(tmp_path, capsys)["sub-01_ses-1"]["message"] == "Broken."


def test_the_dataset_adds_what_no_call_has_taken_up(tmp_path, capsys):
    bids, out = tmp_path / "bids", tmp_path / "not there yet"
    for run in ("sub-07/perf/sub-07_run-1_asl.nii.gz", "sub-08/ses-1/perf/sub-08_ses-1_asl.nii"):
        (bids / run).parent.mkdir(parents=True)
        (bids / run).touch()
    entry = {
        "run": "sub-09/perf/sub-09_asl.nii.gz",
        "series": "JOHN DOE",
        "missing": ["LabelingDuration"],
        "flags": ["--labeling-duration SECONDS"],
    }
    (tmp_path / "bids.pending.json").write_text(json.dumps({"pending": [entry]}))
    assert main([str(out), "--bids", str(bids)]) == 4
    assert "DOE" not in capsys.readouterr().out
    found = states(out, capsys, "--bids", str(bids))
    assert {run: one["state"] for run, one in found.items()} == {
        "sub-07_run-1": "waiting",
        "sub-08_ses-1": "waiting",
        "sub-09": "pending",
    }
    assert found["sub-09"]["missing"] == ["LabelingDuration"]
    assert "--labeling-duration SECONDS" in found["sub-09"]["fix"]
    write(out, "sub-07_run-1", "done")
    assert states(out, capsys, "--bids", str(bids))["sub-07_run-1"]["state"] == "done"
    assert not out.joinpath(*CALLS).exists(), "it only reads"


def test_a_folder_that_is_nobodys_output_is_a_usage_error(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert main([str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.count("To fix:") == 2


def test_the_json_form_is_the_documented_one(out):
    told = as_json(overview(out))
    first, second = re.search(
        r"`--json`.*?\n(\|.*?)\n\n(\|.*?)\n\n", PAGE.read_text(), re.S
    ).groups()

    def named(table: str) -> list[str]:
        return re.findall(r"`(\w+)`", " ".join(row.split("|")[1] for row in table.splitlines()))

    assert named(first) == list(told)
    assert named(second) == list(told["runs"][0])
    assert {field.name for field in fields(Entry)} == {*told["runs"][0], "kind"}


def test_the_missing_parameter_reaches_the_record_from_the_sidecar():
    import pickle

    error = PendingError("x.", where="w", fix="f.", missing=("FlipAngle",))
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.missing, copy.where, copy.exit_code) == (("FlipAngle",), "w", 3)


class Node:
    """What nipype hands to its status callback, as far as it matters."""

    def __init__(self, run: str, interface: object) -> None:
        self.fullname = f"participants.{run}.{type(interface).__name__}"
        self.interface = interface
        self.inputs = SimpleNamespace(run=SimpleNamespace(stem=run))


def test_the_record_follows_steps_that_are_handed_over_and_not_begun(tmp_path):
    """Between steps only the main process knows; while one runs only the step itself does."""
    motion, mask, tissue = (Node("sub-01", type(name, (), {})()) for name in ("A", "B", "C"))
    heard = []
    tell = recording(lambda node, status: heard.append(status), tmp_path)

    def record() -> tuple[str, str]:
        (status,) = read_statuses(tmp_path)
        return status.state, status.step

    write(tmp_path, "sub-01", "waiting")
    tell(motion, "start")
    assert record() == ("queued", "A")
    write(tmp_path, "sub-01", "running", step="A")
    tell(motion, "end")
    assert record() == ("waiting", "A")
    tell(mask, "start")
    write(tmp_path, "sub-01", "running", step="B")
    tell(tissue, "start")
    assert record() == ("running", "B"), "one of its steps is at work"
    write(tmp_path, "sub-01", "running", step="C")
    tell(mask, "end")
    assert record() == ("running", "C")
    tell(mask, "start")
    write(tmp_path, "sub-01", "running", step="B")
    tell(mask, "end")
    assert record() == ("running", "C"), "which had begun before and is not over"
    write(tmp_path, "sub-01", "failed", step="C", message="No.")
    tell(tissue, "exception")
    tell(motion, "start")
    assert record() == ("failed", "C")
    assert len(heard) == 9, "every event is passed on"
    tell(SimpleNamespace(inputs=SimpleNamespace(), fullname="reports.sub_01"), "start")


def test_all_runs_of_a_t1w_image_are_told_that_it_is_at_work(tmp_path):
    runs = ["sub-01_run-1", "sub-01_run-2"]
    for run in runs:
        write(tmp_path, run, "waiting")
    head = Node("sub-01", Anatomy(out_dir=str(tmp_path), runs=runs))
    head.inputs = SimpleNamespace(t1w="t1w", runs=runs)
    tell = recording(lambda node, status: None, tmp_path)
    tell(head, "start")
    assert [status.state for status in read_statuses(tmp_path)] == ["queued"] * 2
    head.interface._tell(state="running")
    write(tmp_path, runs[0], "failed")
    head.interface._tell(state="running")
    told = {status.run: (status.state, status.step) for status in read_statuses(tmp_path)}
    assert told == {runs[0]: ("failed", ""), runs[1]: ("running", "Anatomy")}
    tell(head, "end")
    assert [status.state for status in read_statuses(tmp_path)] == ["failed", "waiting"]


# -- who is at work ------------------------------------------------------------------------------


def test_a_name_is_taken_once_and_free_again(tmp_path):
    with claims(tmp_path) as mine, claims(tmp_path) as other:
        assert mine.take("sub-01") is None
        holder = other.take("sub-01")
        assert holder is not None and holder.pid == os.getpid()
        assert other.take("sub-02") is None
        mine.release("sub-01")
        assert other.take("sub-01") is None
    assert list(tmp_path.iterdir()) == []


HOLD = """
import sys, time
from pathlib import Path
from cereflow_bids.bids.calls import claims
with claims(Path(sys.argv[1])) as mine:
    mine.take("sub-01")
    print("taken", flush=True)
    time.sleep(600)
"""


def test_a_killed_process_blocks_nobody(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"taken\n"
    with claims(tmp_path) as mine:
        assert mine.take("sub-01").pid == process.pid
        process.kill()
        process.communicate()
        assert call_at_work(tmp_path, "sub-01") is None
        assert mine.take("sub-01") is None


def test_a_call_on_another_machine_is_dead_after_long_silence(tmp_path, monkeypatch):
    with claims(tmp_path) as other:
        other.take("sub-01")
        (record,) = tmp_path.glob("*.json")
        there = json.loads(record.read_text()) | {"machine": "another", "pid": 2**22 + 1}
        record.write_text(json.dumps(there))
        with claims(tmp_path) as mine:
            assert mine.take("sub-01") is not None, "it may well be alive"
            silent = record.stat().st_mtime - calls.SILENT_SECONDS - 1
            os.utime(record, (silent, silent))
            assert mine.take("sub-01") is None


def test_a_living_call_is_heard_of(tmp_path, monkeypatch):
    monkeypatch.setattr(calls, "BEAT_SECONDS", 0.01)
    with claims(tmp_path):
        (record,) = tmp_path.glob("*.json")
        os.utime(record, (0, 0))
        import time

        deadline = time.monotonic() + 20
        while record.stat().st_mtime == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize("links", [True, False])
def test_many_at_once_share_without_a_double(tmp_path, links, monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    if not links:

        def refuse(*_words):
            raise PermissionError(1, "no hard links here")

        monkeypatch.setattr(calls.os, "link", refuse)
    # What a dead call left is fought for, too.
    (tmp_path / "sub-0.lock").write_text("0" * 32)

    def take(_number: int) -> set[str]:
        with claims(tmp_path) as mine:
            got = {name for name in map("sub-{}".format, range(20)) if mine.take(name) is None}
            taken.append(got)
            barrier.wait(60)
        return got

    import threading

    barrier, taken = threading.Barrier(4), []
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(take, range(4)))
    assert sum(map(len, found)) == len(set().union(*found)) == 20


def test_no_name_of_machine_or_user_is_written(tmp_path):
    import getpass
    import platform

    with claims(tmp_path) as mine:
        assert isinstance(mine, Claims)
        (record,) = tmp_path.glob("*.json")
        content = json.loads(record.read_text())
    assert set(content) == {"token", "machine", "pid", "began", "since"}
    assert not {platform.node(), getpass.getuser()} & set(map(str, content.values()))
