"""Enhanced Philips files of any index layout: our order is dcm2niix's, or the series is refused.

dcm2niix mixes slices, without a word, where the dimension indices do not tell frames apart.
"""

import subprocess
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from cereflow_bids.demo.writers import philips
from cereflow_bids.demo.writers.study import Identity, Study
from cereflow_bids.intake.headers.series import index
from cereflow_bids.intake.vendors.philips_volumes import volumes

STUDY = Study(Identity.canary("PO"), "20230405", "101010")
SLICES = 5
THREE_PHASES = replace(philips.MULTIPHASE, phases=3)
# Stack, place in it, repeat (T), phase and label: the order in which the writer has them.
WRITTEN = "SITPL"


def acquired(count: int) -> np.ndarray:
    """Voxels are 100 × the place of the volume in the order of acquisition, plus the slice."""
    values = 100.0 * np.arange(1, count + 1) + 5 * np.arange(SLICES)[:, np.newaxis]
    return np.broadcast_to(values, (8, 9, *values.shape)).copy()


def relayout(path: Path, layout: str, software: str) -> None:
    """Give the frames other dimension indices; release 11 lists them the other way round."""
    image = pydicom.dcmread(path)
    pointers = dict(zip(WRITTEN, image.DimensionIndexSequence, strict=True))
    for group in image.PerFrameFunctionalGroupsSequence:
        content = group.FrameContentSequence[0]
        values = dict(zip(WRITTEN, content.DimensionIndexValues, strict=True))
        content.DimensionIndexValues = [values[letter] for letter in layout]
    listed = layout[::-1] if software.startswith("11") else layout
    image.DimensionIndexSequence = [pointers[letter] for letter in listed]
    image.save_as(path)


def converted(dicom: Path) -> list[int] | None:
    """Return the place of each volume that dcm2niix gives, or None where it mixes slices."""
    from dcm2niix import bin as dcm2niix

    nifti = dicom.with_name("nifti")
    nifti.mkdir()
    command = [dcm2niix, "-z", "n", "-f", "%s", "-o", str(nifti), str(dicom)]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = nifti.glob("*.nii")
    found = nib.as_closest_canonical(nib.load(path)).get_fdata()[4, 4]
    steps = np.diff(found, axis=0)
    return [round(value / 100) for value in found[0]] if (abs(steps - 5) < 1).all() else None


@pytest.mark.parametrize("layout", ["SIL", "SI", "SITL", "SILT", "SIPLT", "SITPL"])
@pytest.mark.parametrize("software", ["5.7.1", "11.1"])
@pytest.mark.parametrize("protocol", [philips.PhilipsProtocol(), THREE_PHASES])
def test_our_order_is_that_of_dcm2niix_or_there_is_none(
    protocol: philips.PhilipsProtocol, software: str, layout: str, tmp_path: Path
) -> None:
    protocol = replace(protocol, software=(software, f"{software}.1"))
    (path,) = philips.write_source(
        tmp_path / "dicom",
        STUDY,
        acquired(12),
        np.diag([3.0, 3.0, 5.0, 1.0]),
        protocol=protocol,
        enhanced=True,
    )
    relayout(path, layout, software)
    (series,) = index([path])
    ours = [
        1
        + (2 * (volume.repeat - 1) + (volume.kind == "label")) * protocol.phases
        + (volume.phase - 1)
        for volume in volumes(series)
    ]
    assert (ours or None) == converted(tmp_path / "dicom")
