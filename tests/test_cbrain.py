"""The descriptor as CBRAIN uses it: one subject in a dataset made for it, one folder that is kept.

What the platform does is told in docs/cbrain.md, with the modules of its code that do it.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import quick_command
import quick_steps

PROJECT = Path(__file__).resolve().parent.parent
DATASET = "CbrainBidsSingleSubject"


class Task:
    """A task of the platform: its work folder, and the files that were chosen for it."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder / "task", environment
        self.folder.mkdir()
        self.descriptor = json.loads((PROJECT / "boutiques.json").read_text(encoding="utf-8"))
        # The platform has containers of its own.
        del self.descriptor["container-image"]
        self.custom = self.descriptor["custom"]

    def available(self, path: Path) -> str:
        """Link a folder from the platform's cache into the work folder."""
        (self.folder / path.name).symlink_to(path)
        return path.name

    def subject(self, path: Path, table: str = "") -> dict[str, object]:
        """Make a dataset of one subject; return what the form is filled with."""
        name = self.available(path)
        dataset = self.folder / DATASET
        shutil.copytree(path, dataset / name)
        described = {"Name": DATASET, "BIDSVersion": "1.4.1", "Authors": ["TODO"]}
        (dataset / "dataset_description.json").write_text(json.dumps(described))
        (dataset / "participants.tsv").write_text(table or f"participant_id\n{name}\n")
        maker = self.custom["cbrain:integrator_modules"]["BoutiquesBidsSingleSubjectMaker"]
        inputs = {one["id"]: one for one in self.descriptor["inputs"]}
        key = inputs[maker["dataset_input_id"]]["value-key"]
        line = self.descriptor["command-line"].replace(key, DATASET, 1)
        self.descriptor["command-line"] = f"true {key} ; {line}"
        label = name if maker["keep_sub_prefix"] else name.removeprefix("sub-")
        chosen = maker["subjects_input_id"]
        value = [label] if inputs[chosen].get("list") else label
        return {maker["dataset_input_id"]: name, chosen: value}

    def run(self, invocation: dict[str, object]) -> subprocess.CompletedProcess:
        """Let bosh make the command line, and run it in a plain shell in the work folder."""
        (self.folder / "boutiques.json").write_text(json.dumps(self.descriptor))
        (self.folder / "invoke.json").write_text(json.dumps(invocation))
        bosh = [Path(sys.executable).parent / "bosh", "exec", "simulate", "-i", "invoke.json"]
        made = subprocess.run(
            [*bosh, "boutiques.json"], cwd=self.folder, capture_output=True, text=True, check=True
        )
        script = "#!/bin/bash\n" + made.stdout.partition("Generated Command:")[2]
        (self.folder / "science.sh").write_text(script)
        home = self.environment | {"HOME": str(self.folder)}
        return subprocess.run(
            ["bash", "science.sh"],
            cwd=self.folder,
            env=home,
            capture_output=True,
            text=True,
            check=False,
        )

    def kept(self, output_dir: str) -> list[str]:
        """Return what the platform files: every output that it is not told to ignore."""
        found = []
        for output in self.descriptor["output-files"]:
            if output["id"] not in self.custom["cbrain:ignore_outputs"]:
                pattern = output["path-template"].replace("[OUTPUT_DIR]", output_dir)
                names = [str(path.relative_to(self.folder)) for path in self.folder.glob(pattern)]
                assert names or output["optional"], output["id"]
                found += names
        return found


@pytest.fixture
def task(tmp_path):
    return Task(tmp_path, quick_command.environment(tmp_path / "commands"))


@pytest.fixture
def dataset(tmp_path):
    return quick_steps.dataset(tmp_path / "cache" / "data", ("01", "02"))


# In the process itself: what is replaced there is not in a worker.
QUICK = {"nprocs": 1}


def test_a_subject_alone_is_processed_and_one_folder_kept(task, dataset):
    before = {path: path.stat().st_mtime_ns for path in dataset.rglob("*")}
    form = task.subject(dataset / "sub-01")
    assert form == {"bids_dir": "sub-01", "participant_label": ["sub-01"]}
    form |= QUICK | {"output_dir": "sub-01-4711"}
    ended = task.run(form)
    assert ended.returncode == 0, ended.stderr
    assert task.kept("sub-01-4711") == ["sub-01-4711"]
    out = task.folder / "sub-01-4711"
    assert (out / "sub-01.html").is_file()
    assert json.loads((out / "dataset_description.json").read_text())["DatasetType"]
    assert {path: path.stat().st_mtime_ns for path in dataset.rglob("*")} == before
    # What lies beside it is what the platform is told to throw away.
    (cleaned,) = task.custom["cbrain:integrator_modules"]["BoutiquesPostProcessingCleaner"]
    work = next(one for one in task.descriptor["inputs"] if one["value-key"] == cleaned)
    own = {"sub-01", DATASET, "boutiques.json", "invoke.json", "science.sh"}
    left = {path.name for path in task.folder.iterdir() if not path.name.startswith(".")} - own
    assert left == {out.name, work["default-value"]}
    # The platform can repeat a task in its folder.
    image = out / "sub-01" / "perf" / "sub-01_cbf.nii.gz"
    first = image.stat().st_mtime_ns
    assert task.run(form).returncode == 0
    assert image.stat().st_mtime_ns == first


def test_a_whole_dataset_is_taken_with_a_list_of_subjects(task, dataset):
    form = {"bids_dir": task.available(dataset), "participant_label": ["sub-02", "01"]}
    ended = task.run(form | QUICK)
    assert ended.returncode == 0, ended.stderr
    assert task.kept("cereflow") == ["cereflow"]
    found = {path.name for path in (task.folder / "cereflow").glob("sub-*.html")}
    assert found == {"sub-01.html", "sub-02.html"}


def test_a_subject_whose_parameters_lay_above_it_fails_and_says_which(task, dataset):
    """The platform hands on the subject's folder, and not what is inherited from above it."""
    sidecar = dataset / "sub-01" / "perf" / "sub-01_asl.json"
    sidecar.rename(dataset / "asl.json")
    # Nor does it care whether a table of the user's has the subject.
    form = task.subject(dataset / "sub-01", "participant_id\tage\nsub-77\t40\n")
    ended = task.run(form | QUICK)
    assert ended.returncode == 1
    assert "sub-01_asl.nii.gz: ArterialSpinLabelingType" in ended.stderr
    assert "Traceback" not in ended.stderr
