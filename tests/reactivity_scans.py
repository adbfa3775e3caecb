"""A small BIDS dataset of a digital head, scanned twice: at rest, and moved under a stimulus."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from cereflow_bids.demo import brain, simulation

PAIRS = 4
SHAPE, VOXEL = (56, 64, 30), (3.8, 3.8, 5.0)
SCAN = simulation.Scan(
    labeling_duration=1.8,
    post_labeling_delay=1.8,
    recovery=6.0,
    echo_time=0.012,
    gain=6000,
    noise=0.0001,
)
SIDECAR: dict[str, Any] = {
    "Manufacturer": "Siemens",
    "MagneticFieldStrength": 3,
    "MRAcquisitionType": "3D",
    "ArterialSpinLabelingType": "PCASL",
    "PostLabelingDelay": 1.8,
    "LabelingDuration": 1.8,
    "BackgroundSuppression": True,
    "M0Type": "Included",
    "RepetitionTimePreparation": 6.0,
    "EchoTime": 0.012,
    "TotalAcquiredPairs": PAIRS,
    "LabelingEfficiency": 0.85,
}
TYPES = ("m0scan", "n/a", *(("label", "control") * PAIRS))


def motion() -> np.ndarray:
    """Return how the head moves between the scans (4, 4): 5 mm and 4 degrees."""
    angle = np.radians(4)
    move = np.eye(4)
    move[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    move[:3, 3] = (3, -4, 0)
    return move


def head() -> brain.Head:
    """Return the head at rest."""
    return brain.participant(11)


def sampled(person: brain.Head, *, factor: float = 1.0, moved: bool = False) -> brain.SampledHead:
    """Return what a scan sees of the head; the grid is that of the head at rest."""
    grid = brain.scan_grid(person, SHAPE, VOXEL, 0)
    if moved:
        person = replace(person, placement=motion() @ person.placement)
    return brain.sample(replace(person, flow=person.flow * np.float32(factor)), SHAPE, grid)


def write_run(
    bids: Path, stem: str, seen: brain.SampledHead, *, seed: int, **changes: Any
) -> None:
    """Write one run; a key that is changed to None is left out of the sidecar."""
    folder = bids / stem.split("_", maxsplit=1)[0] / "perf"
    folder.mkdir(parents=True, exist_ok=True)
    series = simulation.siemens_series(seen, SCAN, np.random.default_rng(seed), pairs=PAIRS)
    image = nib.Nifti1Image(series.astype(np.float32), seen.affine)
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, folder / f"{stem}_asl.nii.gz")
    content = {key: value for key, value in (SIDECAR | changes).items() if value is not None}
    (folder / f"{stem}_asl.json").write_text(json.dumps(content))
    (folder / f"{stem}_aslcontext.tsv").write_text("\n".join(("volume_type", *TYPES)) + "\n")


def describe(bids: Path) -> None:
    """Make the folder a dataset."""
    bids.mkdir(parents=True, exist_ok=True)
    content = {"Name": "two states", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (bids / "dataset_description.json").write_text(json.dumps(content))
    (bids / "README").write_text("A digital head at rest and under a stimulus.\n")
