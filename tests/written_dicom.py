"""Arrays and a grid to write as DICOM, and dcm2niix's reading of what was written."""

import json
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np

from cereflow_bids.demo.writers.study import Identity, Study

SHAPE = (20, 24, 10)
STUDY = Study(Identity.canary("W1"), "20300102", "101500")
_TILT = np.deg2rad(5)
# Axial, 5° about the front-back axis; x to the right, y to the front, z up.
OBLIQUE = np.array(
    [
        [1.9 * np.cos(_TILT), 0, -4 * np.sin(_TILT), -20.0],
        [0, 1.9, 0, -31.0],
        [1.9 * np.sin(_TILT), 0, 4 * np.cos(_TILT), -12.0],
        [0, 0, 0, 1],
    ]
)


def asymmetric(seed: int, *, low: float = 0, high: float) -> np.ndarray:
    """Whole numbers between `low` and `high`, with a bright block left, front and top."""
    volume = np.random.default_rng(seed).integers(low, high // 2, SHAPE).astype(float)
    volume[2:5, 18:22, 7:9] = high
    return volume


def convert(dicom: Path, nifti: Path) -> list[Path]:
    """Run dcm2niix as HeuDiConv does and return the images."""
    from dcm2niix import bin as dcm2niix

    nifti.mkdir()
    command = [dcm2niix, "-b", "y", "-z", "y", "-f", "%s_%d", "-o", str(nifti), str(dicom)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return sorted(nifti.glob("*.nii.gz"))


def in_place(path: Path) -> np.ndarray:
    """Return the voxels in the order of OBLIQUE, which the image must have."""
    turned = nib.as_closest_canonical(nib.load(path))
    np.testing.assert_allclose(turned.affine, OBLIQUE, atol=1e-4)
    return turned.get_fdata()


def sidecar(path: Path) -> dict:
    """Return the JSON beside an image."""
    return json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
