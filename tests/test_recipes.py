"""The recipes for clusters: linted, and submitted as they say themselves, to stand-ins."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cereflow_bids.cli.cereflow import parser

RECIPES = Path(__file__).resolve().parent.parent / "docs" / "recipes"
SCRIPTS = sorted(RECIPES.glob("*.sh"))
LABELS = ("01", "02", "A3")

# Each runs the tasks here, one after the other, with what the scheduler sets.
ARRAYS = {
    "sbatch": """#!/bin/bash
range=${1#--array=1-}; for i in $(seq "${range%\\%50}"); do
    SLURM_ARRAY_TASK_ID=$i SLURM_CPUS_PER_TASK=1 bash "$2"; done""",
    "qsub": """#!/bin/bash
[ "$1" = -V ] || exit 9
for i in $(seq "${3#1-}"); do case $2 in
    -J) PBS_ARRAY_INDEX=$i PBS_O_WORKDIR=$PWD bash "$4" ;;
    -t) SGE_TASK_ID=$i bash "$4" ;;
esac; done""",
}
CEREFLOW = """#!/bin/bash
printf '%s\\n' "$*" >> "$JOURNAL"
case "$*" in *"$FAILS"*) exit "$CODE" ;; esac
"""
APPTAINER = """#!/bin/bash
printf '%s\\n' "$*" >> "$JOURNAL.container"
while [ "$1" != cereflow.sif ]; do shift; done; shift; exec cereflow "$@"
"""


@pytest.fixture
def place(tmp_path):
    """Return an environment in which stand-ins are found; one folder has a blank in its name."""
    commands = {**ARRAYS, "cereflow": CEREFLOW, "apptainer": APPTAINER}
    for name, text in commands.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    for label in LABELS:
        (tmp_path / "the bids" / f"sub-{label}").mkdir(parents=True)
    (tmp_path / "the bids" / "sub-file.txt").write_text("no participant")
    (tmp_path / "work").mkdir()
    return os.environ | {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "JOURNAL": str(tmp_path / "journal.txt"),
        "FAILS": "nobody",
        "BIDS": str(tmp_path / "the bids"),
        "OUT": str(tmp_path / "out"),
        "WORK": str(tmp_path / "work"),
        "SIF": "cereflow.sif",
    }


def submit(script: Path, environment: dict[str, str]) -> subprocess.CompletedProcess:
    """Give the very command that stands at the head of a recipe."""
    head = script.read_text().partition("\nset -")[0]
    (command,) = re.findall(r"^#   (?:\w+=\S+ )*((?:sbatch|qsub|bash) .*)$", head, re.M)
    words = ["bash", "-c", command]
    return subprocess.run(
        words, env=environment, cwd=RECIPES, capture_output=True, text=True, check=False
    )


def calls(environment: dict[str, str]) -> list[list[str]]:
    lines = Path(environment["JOURNAL"]).read_text().splitlines()
    # The one folder with a blank in its name.
    joined = [line.replace("the bids", "the_bids").split() for line in lines]
    return [[word.replace("the_bids", "the bids") for word in words] for words in joined]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_each_participant_gets_one_call(place, script):
    ended = submit(script, place)
    assert ended.returncode == 0, ended.stderr
    taken = [parser().parse_args(words) for words in calls(place)]
    assert [one.participant_label for one in taken] == [[f"sub-{label}"] for label in LABELS]
    folders = {(str(one.bids_dir), str(one.output_dir), str(one.work_dir)) for one in taken}
    if script.stem == "apptainer_loop":
        assert folders == {("/bids", "/out", "/work")}
        bound = Path(place["JOURNAL"] + ".container").read_text()
        assert f"--bind {place['BIDS']}:/bids:ro" in bound
    else:
        assert folders == {(place["BIDS"], place["OUT"], place["WORK"])}
    assert {one.nprocs for one in taken} == {1}


@pytest.mark.parametrize(
    ("code", "ends", "count"), [(1, 1, 3), (3, 3, 3), (137, 1, 3), (143, 143, 2)]
)
def test_the_loop_goes_on_after_a_failure_and_tells_it(place, code, ends, count):
    ended = submit(RECIPES / "apptainer_loop.sh", place | {"FAILS": "sub-02", "CODE": str(code)})
    assert ended.returncode == ends
    assert len(calls(place)) == count


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_recipes_are_sound_shell(script):
    subprocess.run(["bash", "-n", script], check=True)
    linter = shutil.which("shellcheck", path=str(Path(sys.executable).parent))
    linter = linter or shutil.which("shellcheck")
    assert linter, "pip install 'cereflow-bids[dev]'"
    done = subprocess.run([linter, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_options_of_the_babs_configuration_exist():
    content = yaml.safe_load((RECIPES / "babs.yaml").read_text())
    words = ["bids", "out", "participant"]
    for name, value in content["bids_app_args"].items():
        flag = value if name == "$SUBJECT_SELECTION_FLAG" else name
        words += [flag, "01"] if flag == value else [flag, *([value] if value else [])]
    taken = parser().parse_args(words)
    assert taken.participant_label == ["01"]
    assert taken.mem_mb == 3500
