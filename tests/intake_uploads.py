"""Small uploads of the three vendors, written as DICOM, and their conversion."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.cli.convert import main
from cereflow_bids.demo.writers import philips, siemens
from cereflow_bids.demo.writers.dicom import pack
from cereflow_bids.demo.writers.study import Identity, Study

SHAPE = (16, 18, 6)
AFFINE = np.array([[3.75, 0, 0, -30.0], [0, 3.75, 0, -40.0], [0, 0, 4.0, -10.0], [0, 0, 0, 1.0]])


def visit(tag: str, date: str = "20210203", **more: Any) -> Study:
    return Study(Identity.canary(tag), date, "101010", **more)


def head(value: float) -> NDArray[np.float64]:
    inside = np.zeros(SHAPE)
    inside[3:13, 3:15, 1:5] = value
    return inside


def siemens_zip(folder: Path, study: Study, name: str = "siemens.zip") -> Path:
    control, label = head(300), head(295)
    stack = np.stack([head(1500), control, label, control, label, control], axis=-1)
    siemens.write(folder / name / "dicom", study, stack, AFFINE)
    return pack(folder / name / "dicom", folder / f"packed-{name}")


def philips_zip(folder: Path, study: Study) -> Path:
    stack = np.stack([head(8), head(8), head(0.4), head(0.39)], axis=-1)
    philips.write_source(folder / "philips" / "source", study, stack, AFFINE)
    philips.write_cbf(folder / "philips" / "cbf", study, head(50), AFFINE)
    return pack(folder / "philips", folder / "philips.zip")


def convert(*arguments: Any) -> int:
    return main([str(argument) for argument in arguments] + ["--quiet"])


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return content


def voxels(seed: int, high: int) -> NDArray[np.float64]:
    """Return whole numbers of every tenth below `high`: every voxel of every volume its own."""
    low = high - high // 10
    return np.random.default_rng(seed).integers(low, high + 1, SHAPE).astype(float)


def dataset_bytes(dataset: Path) -> dict[str, bytes]:
    """Return the content of every file of a dataset."""
    files = (path for path in dataset.rglob("*") if path.is_file())
    return {path.relative_to(dataset).as_posix(): path.read_bytes() for path in files}
