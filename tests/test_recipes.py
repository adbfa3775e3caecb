"""The recipes for clusters: linted, and submitted as they say themselves, to stand-ins."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import quick_command
import quick_steps
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


@pytest.mark.parametrize("script", [one for one in SCRIPTS if "array" in one.stem])
def test_an_array_takes_a_container_as_the_docs_say(place, script, tmp_path):
    text = (RECIPES.parent / "hpc.md").read_text(encoding="utf-8")
    (told,) = re.findall(r"^export CEREFLOW=(.*)$", text, re.M)
    (tmp_path / "the bids").rename(tmp_path / "bids")
    place |= {"BIDS": str(tmp_path / "bids")}
    export = f'export CEREFLOW={told}; printf %s "$CEREFLOW"'
    place["CEREFLOW"] = subprocess.check_output(["bash", "-c", export], env=place, text=True)
    assert submit(script, place).returncode == 0
    taken = [parser().parse_args(words) for words in calls(place)]
    assert [one.participant_label for one in taken] == [[f"sub-{label}"] for label in LABELS]
    bound = Path(place["JOURNAL"] + ".container").read_text()
    for folder in (f"{place['BIDS']}:{place['BIDS']}:ro", place["OUT"], place["WORK"]):
        assert f"--bind {folder} " in bound


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


BABS_CALL = """#!/bin/bash
set -e -u
subid=$1
mkdir -p "${PWD}/.git/tmp/wkdir" "${PWD}/%(output)s"
singularity run -B "${PWD}" %(flags)s containers/cereflow/image \\
    "${PWD}/inputs/data/BIDS" "${PWD}/%(output)s" participant %(words)s %(selects)s "${subid}"
"""
# The options that singularity takes with a value, then the image; what follows is for cereflow.
SINGULARITY = """#!/bin/bash
[ "$1" = run ] || exit 9
shift
while [ "$1" != containers/cereflow/image ]; do
    case $1 in -B | --workdir) shift 2 ;; -*) shift ;; *) exit 8 ;; esac
done
shift
exec cereflow "$@"
"""


def annexed(dataset: Path) -> None:
    """Put the content of each image where git-annex has it, not to be written to."""
    for path in sorted(dataset.glob("sub-*/*/*.nii.gz")):
        key = dataset / ".git" / "annex" / "objects" / f"MD5E-{path.parts[-3]}-{path.name}"
        key.parent.mkdir(parents=True, exist_ok=True)
        path.rename(key)
        key.chmod(0o444)
        path.symlink_to(os.path.relpath(key, path.parent))


def babs_call(content: dict) -> str:
    """Return the script that BABS makes of its configuration, without DataLad and the ZIP."""
    arguments = dict(content["bids_app_args"])
    selects = arguments.pop("$SUBJECT_SELECTION_FLAG")
    work = '"${PWD}/.git/tmp/wkdir"'
    words = [f"{k} {work if v == '$BABS_TMPDIR' else v}" for k, v in arguments.items()]
    (folder,) = content["zip_foldernames"]
    flags = " ".join(content["singularity_args"])
    return BABS_CALL % {
        "output": f"outputs/{folder}",
        "flags": flags,
        "words": " ".join(words),
        "selects": selects,
    }


def test_babs_gets_what_it_zips(tmp_path):
    """In a clone with the content of one participant, and links to that of the others."""
    analysis = tmp_path / "analysis"
    dataset = quick_steps.dataset(analysis / "inputs" / "data" / "BIDS", ("01", "02"))
    annexed(dataset)
    for key in dataset.glob(".git/annex/objects/*sub-02*"):
        key.unlink()
    content = yaml.safe_load((RECIPES / "babs.yaml").read_text())
    script = analysis / "call.sh"
    script.write_text(babs_call(content))
    environment = quick_command.environment(tmp_path / "commands")
    singularity = tmp_path / "commands" / "singularity"
    singularity.write_text(SINGULARITY)
    singularity.chmod(0o755)
    words = ["bash", script, "sub-01"]
    ended = subprocess.run(
        words, env=environment, cwd=analysis, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    out = analysis / "outputs" / "cereflow"
    assert (out / "sub-01.html").is_file()
    assert (out / "sub-01" / "perf" / "sub-01_cbf.nii.gz").is_file()
    assert not list(out.glob("**/*sub-02*"))
    assert {path.name for path in analysis.iterdir()} == {".git", "call.sh", "inputs", "outputs"}
