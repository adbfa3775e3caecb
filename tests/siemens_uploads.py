"""Siemens uploads as tests need them: volumes of one value each, converted and read back."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dcm2niix
import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from cereflow_bids.cli.convert import main
from cereflow_bids.demo.writers.dicom import pack
from cereflow_bids.demo.writers.study import Identity, Study
from cereflow_bids.resources import packaged_folder

SHAPE = (12, 14, 6)
AFFINE = np.array([[4.0, 0, 0, -22.0], [0, 4.0, 0, -26.0], [0, 0, 5.0, -12.0], [0, 0, 0, 1.0]])
STUDY = Study(Identity.canary("SI"), "20210203", "101010")
M0, CONTROL, LABEL = 1500, 300, 290
_INSIDE = (6, 7, 3)


def volumes(values: Sequence[float]) -> NDArray[np.float64]:
    """Return volumes whose head has the given values, ``(x, y, z, volumes)``."""
    stack = np.zeros((*SHAPE, len(values)))
    stack[2:10, 2:12, 1:5] = values
    return stack


def pairs(count: int, *, label_first: bool = True) -> list[float]:
    """Return the values of `count` pairs, each volume with a value of its own."""
    found: list[float] = []
    for number in range(count):
        pair = [float(LABEL + number % 5), float(CONTROL + number % 5)]
        found += pair if label_first else pair[::-1]
    return found


def convert(folder: Path, *options: Any) -> tuple[int, Path]:
    """Pack all of `folder` as a user would, convert it, and return exit code and dataset."""
    archive = pack(folder, folder.with_name("upload.zip"))
    dataset = folder.with_name("bids")
    code = main([str(part) for part in (archive, dataset, *options, "--quiet")])
    return code, dataset


def sidecar(dataset: Path, name: str = "asl") -> dict[str, Any]:
    """Return the JSON of a perfusion image."""
    content: dict[str, Any] = json.loads(
        (dataset / f"sub-01/perf/sub-01_{name}.json").read_text("utf-8")
    )
    return content


def types(dataset: Path) -> list[str]:
    """Return the volume types that the dataset gives."""
    text = (dataset / "sub-01/perf/sub-01_aslcontext.tsv").read_text("utf-8")
    return text.split()[1:]


def values(dataset: Path, name: str = "asl") -> list[float]:
    """Return the value inside the head of each volume of a perfusion image."""
    image = nib.as_closest_canonical(nib.load(dataset / f"sub-01/perf/sub-01_{name}.nii.gz"))
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-3)
    found = image.get_fdata()[_INSIDE]
    return [float(value) for value in np.atleast_1d(found)]


def images(dataset: Path) -> set[str]:
    """Return the names of all images in the dataset."""
    return {path.name.removesuffix(".nii.gz") for path in dataset.rglob("*.nii.gz")}


def pending(dataset: Path) -> list[dict[str, Any]]:
    """Return what the list of pending runs says."""
    text = dataset.with_name("bids.pending.json").read_text("utf-8")
    found: list[dict[str, Any]] = json.loads(text)["pending"]
    return found


def left_out(said: str) -> dict[int, str]:
    """Return number and reason of every series that the summary says was left out."""
    found = re.findall(r"[sS]eries (\d+) (?:was left out: |is called )(.*)", said)
    return {int(number): why for number, why in found}


def plain_heudiconv(folder: Path) -> set[str]:
    """Run heudiconv itself with our heuristic on `folder`; return the names of its images."""
    out = folder.with_name("heudiconv")
    path = os.pathsep.join((str(Path(dcm2niix.bin).parent), os.environ.get("PATH", "")))
    launch = "import sys; from heudiconv.cli.run import main; sys.exit(main())"
    heuristic = packaged_folder("heuristics") / "cereflow.py"
    command = [sys.executable, "-c", launch, "--files", folder, "-s", "01", "-o", out]
    command += ["-f", heuristic, "-c", "dcm2niix", "-b", "notop", "--minmeta"]
    environment = {**os.environ, "PATH": path, "NO_ET": "1"}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return images(out)
