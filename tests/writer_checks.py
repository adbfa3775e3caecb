"""What the tests of the DICOM writers share: a volume with a marker, dcm2niix, a comparison."""

import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np

from cereflow_bids.demo.writers.dicom import Identity, Study

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


def asymmetric_volume(seed: int, *, low: int = 0, high: int) -> np.ndarray:
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


def same_place(image: nib.Nifti1Image, affine: np.ndarray) -> np.ndarray:
    """Return the voxels in the order of a right-front-up `affine`, which `image` must have."""
    turned = nib.as_closest_canonical(image)
    np.testing.assert_allclose(turned.affine, affine, atol=1e-4)
    return turned.get_fdata()
