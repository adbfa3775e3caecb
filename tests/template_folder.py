"""A folder as templateflow's, with one template: the packaged one, moved by a known affine map."""

from pathlib import Path

import nibabel as nib
import numpy as np

from cereflow_bids.imaging.resampling import resample
from cereflow_bids.imaging.standard_space import downsample
from cereflow_bids.resources import template

NAME = "MNI152NLin2009cAsym"
FAR = np.array([[1.06, 0.03, 0, 2], [-0.03, 0.95, 0.05, -7], [0, -0.05, 1.04, 5], [0, 0, 0, 1.0]])
"""From points of that template to points of the packaged one, mm."""


def write_template(folder: Path) -> Path:
    """Write it at 1 mm, with a mask at 1 and 2 mm, and return the folder."""
    image = nib.load(template("T1w"))
    data = image.get_fdata(dtype=np.float32)
    shape = tuple(n - n % 2 for n in data.shape)
    moved = np.maximum(resample(data, image.affine, shape, image.affine, world=FAR, order=1), 0)
    brain = moved > 0.1 * moved.max()
    place = folder / f"tpl-{NAME}"
    place.mkdir(parents=True)
    coarse, coarse_affine = downsample(brain, image.affine, 2)
    images = {
        "res-01_T1w": (moved, image.affine),
        "res-01_desc-brain_mask": (brain.astype(np.uint8), image.affine),
        "res-02_desc-brain_mask": ((coarse > 0.5).astype(np.uint8), coarse_affine),
    }
    for name, (array, affine) in images.items():
        nib.save(nib.Nifti1Image(array, affine), place / f"tpl-{NAME}_{name}.nii.gz")
    (place / "template_description.json").write_text('{"Name": "moved", "Identifier": "moved"}')
    return folder
