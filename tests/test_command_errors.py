"""What a newcomer mistypes: a short error that says what to do, the right exit code, no harm."""

import argparse
import json
import re

import pytest
import quick_steps

from cereflow_bids.cli import cereflow, convert, demo, status
from cereflow_bids.cli.numbers import Number, Numbers

COMMANDS = {
    "cereflow": cereflow.main,
    "cereflow-convert": convert.main,
    "cereflow-demo": demo.main,
    "cereflow-status": status.main,
}
WITH_DATASET = "cereflow bids out participant --skip-bids-validation"


def call(line: str) -> int:
    program, *words = line.split()
    try:
        return COMMANDS[program](words)
    except SystemExit as stop:
        return int(stop.code or 0)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    quick_steps.dataset(tmp_path / "bids", ("01", "02"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("cereflow", "the following arguments are required: bids_dir, output_dir"),
        ("cereflow nowhere out participant", "nowhere: there is no such folder. To fix: check"),
        ("cereflow bids out particpant", "(choose from 'participant', 'group')"),
        ("cereflow empty out participant", "no dataset_description.json"),
        ("cereflow bids bids participant", "which is never written to. To fix: choose another"),
        ("cereflow bids file participant", "file: output_dir is a file, and has to be a folder."),
        (f"{WITH_DATASET} --work-dir file", "--work-dir is a file"),
        (f"{WITH_DATASET} --work-dir bids/work", "To fix: choose one outside of it."),
        (f"{WITH_DATASET} --participant-label 01,02", "write several with blanks between them."),
        ("cereflow file out participant", "file: there is no such folder."),
        ("cereflow bids out group", "there is no run to summarise. To fix: first run `cereflow"),
        ("cereflow bids out group --dry-run", "--dry-run is for the participant level"),
        ("cereflow bids out group --participant-label 01", "all runs that are done"),
        (f"{WITH_DATASET} --participant-label 99 --dry-run", "99 is not in the dataset"),
        (f"{WITH_DATASET} --participant-label 99 --dry-run", "choose from 01, 02."),
        (f"{WITH_DATASET} --session-label 7", "no _asl image matches. To fix: check"),
        (f"{WITH_DATASET} --haematocrit 42", "42 is not a fraction from 0.1 to 0.7."),
        (f"{WITH_DATASET} --partic 01", "Did you mean --participant-label?"),
        (f"{WITH_DATASET} --hematocrti=0.4", "Did you mean --hematocrit?"),
        (f"{WITH_DATASET} --nprocs two", "'two' is not a whole number from 1 on."),
        (f"{WITH_DATASET} --bids-filter-file nowhere.json", "the filter file cannot be read"),
        (f"{WITH_DATASET} --use-plugin nowhere.yaml", "nowhere.yaml"),
        (f"{WITH_DATASET} --atlas nowhere.nii.gz", "nowhere.nii.gz"),
        ("cereflow-status", "the following arguments are required: output_dir"),
        ("cereflow-status empty", "no run is known here. To fix: give the output folder"),
        ("cereflow-status nowhere", "there is no such folder"),
        ("cereflow-status --jsn empty", "Did you mean --json?"),
        ("cereflow-convert", "the following arguments are required: INPUT ... BIDS"),
        ("cereflow-convert nowhere.zip new", "There is no such file or folder"),
        ("cereflow-convert empty", "One path alone must be a BIDS dataset"),
        ("cereflow-convert --post empty new", "Did you mean --post-labeling-delay?"),
        ("cereflow-convert --bolus-cutoff 700 empty new", "Give seconds, not milliseconds"),
        ("cereflow-demo", "the following arguments are required: folder"),
        ("cereflow-demo bids", "bids"),
    ],
)
def test_a_mistyped_command_says_what_to_do(line, said, place, capsys):
    before = sorted(place.rglob("*"))
    assert call(line) == 2
    out, error = capsys.readouterr()
    assert said in error
    assert "Traceback" not in error
    assert not out
    assert len(error.splitlines()) <= 5
    assert sorted(place.rglob("*")) == before


def test_nothing_is_suggested_where_nothing_is_near(capsys):
    assert call("cereflow-status --colour empty") == 2
    assert "Did you mean" not in capsys.readouterr().err


def test_of_many_participants_those_alike_are_named(place, capsys):
    for number in range(1000):
        (place / "bids" / f"sub-{number:04}").mkdir()
    assert call(f"{WITH_DATASET} --participant-label 00421 --dry-run") == 2
    error = capsys.readouterr().err
    assert {"0042", "0421"} <= set(re.findall(r"\d{4}", error.partition("choose from")[2]))
    assert "and 997 others" in error
    assert len(error) < 300


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({}, 0, "to do    sub-01"),
        ({"PostLabelingDelay": None}, 3, "not now  sub-01"),
        ({"PostLabelingDelay": -1}, 1, "not now  sub-01"),
    ],
)
def test_a_dry_run_ends_as_the_call_would(change, code, said, place, capsys):
    path = place / "bids" / "sub-01" / "perf" / "sub-01_asl.json"
    sidecar = json.loads(path.read_text()) | change
    path.write_text(json.dumps({key: value for key, value in sidecar.items() if value}))
    assert call(f"{WITH_DATASET} --dry-run") == code
    shown = capsys.readouterr().out
    assert said in shown
    assert "to do    sub-02" in shown
    assert not (place / "out").exists()


@pytest.mark.parametrize(
    ("number", "text", "right"),
    [
        (Number(), "0", True),
        (Number(), "inf", False),
        (Number(), "nan", False),
        (Number(above=True), "0", False),
        (Number(above=True), "1e-9", True),
        (Number(0.1, 0.7), "0.7", True),
        (Number(0.1, 0.7), "0.7001", False),
        (Number(1, whole=True), "1", True),
        (Number(1, whole=True), "1.0", False),
        (Number(1, whole=True), "0", False),
        (Numbers(Number(0, 10, above=True)), "0.5 10", True),
        (Numbers(Number(0, 10, above=True)), "0.5 11", False),
        (Numbers(Number()), " ", False),
    ],
)
def test_limits(number, text, right):
    if right:
        assert number(text) is not None
    else:
        with pytest.raises(argparse.ArgumentTypeError):
            number(text)
