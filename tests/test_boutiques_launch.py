"""Real scans through the descriptors: conversion, participant and group, launched by bosh."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

PROJECT = Path(__file__).resolve().parent.parent
BOSH = Path(sys.executable).parent / "bosh"


class Launched(NamedTuple):
    """How a launch ended: exit code, all that bosh said, output files by id, what is missing."""

    code: int
    said: str
    outputs: dict[str, str]
    missing: list[str]


def launch(folder: Path, name: str, invocation: dict[str, object]) -> Launched:
    """Launch a command outside of a container, in a folder."""
    (folder / "invocation.json").write_text(json.dumps(invocation))
    words = [BOSH, "exec", "launch", PROJECT / name, "invocation.json"]
    options = ["--no-container", "--skip-data-collection"]
    path = f"{BOSH.parent}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        [*words, *options],
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    said = re.sub(r"\x1b\[\d*m", "", ended.stdout + ended.stderr)
    found, _, missing = said.rpartition("Output files")[2].partition("Missing files")
    outputs = {key: path for path, key in re.findall(r"- (\S+) \((\w+), ", found)}
    return Launched(ended.returncode, said, outputs, re.findall(r"- (\S+) \(", missing))


def test_a_real_upload_becomes_maps_and_tables(data_dir, tmp_path):
    import nibabel as nib

    archive = data_dir / "zips" / "siemens_pcasl3d_1delay.zip"
    converted = launch(tmp_path, "boutiques_convert.json", {"archives": [str(archive)]})
    assert (converted.code, converted.missing) == (0, []), converted.said
    assert set(converted.outputs) == {"dataset", "asl", "key"}
    given = {"bids_dir": "bids", "participant_label": ["sub-01"], "nprocs": 1}
    done = launch(tmp_path, "boutiques.json", given)
    assert (done.code, done.missing) == (0, []), done.said
    expected = {"output", "cbf", "cbf_standard_error", "m0", "regions", "quality", "report_pdf"}
    assert expected | {"status_records"} <= set(done.outputs)
    assert "cbf_sessions" not in done.outputs
    for path in done.outputs.values():
        assert (tmp_path / path).exists()
    image = nib.load(tmp_path / "cereflow" / "sub-01" / "perf" / "sub-01_cbf.nii.gz")
    values = image.get_fdata()
    assert 15 < values[values != 0].mean() < 80
    group = launch(tmp_path, "boutiques.json", {"bids_dir": "bids", "analysis_level": "group"})
    assert (group.code, group.missing) == (0, []), group.said
    assert {"group_table", "group_dictionary", "group_pdf"} <= set(group.outputs)


@pytest.mark.parametrize(
    ("name", "invocation", "meaning"),
    [
        (
            "boutiques.json",
            {"bids_dir": "nowhere"},
            "nowhere: there is no such folder.",
        ),
        (
            "boutiques_convert.json",
            {"archives": ["nowhere.zip"]},
            "There is no such file or folder.",
        ),
    ],
)
def test_a_failure_has_the_exit_code_and_its_meaning(name, invocation, meaning, tmp_path):
    ended = launch(tmp_path, name, invocation)
    assert ended.code == 2
    assert meaning in ended.said
    codes = json.loads((PROJECT / name).read_text(encoding="utf-8"))["error-codes"]
    told = next(one["description"] for one in codes if one["code"] == 2)
    assert told in ended.said
    assert "Traceback" not in ended.said
