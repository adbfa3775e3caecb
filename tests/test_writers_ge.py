"""The GE writer against dcm2niix: geometry, values, order, sidecar."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from writer_checks import OBLIQUE, STUDY, asymmetric_volume, convert, same_place

from cereflow_bids.demo.writers import ge


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ge")
    perfusion, density = asymmetric_volume(1, low=-50, high=3000), asymmetric_volume(2, high=9000)
    ge.write(folder / "dicom", STUDY, perfusion, density, OBLIQUE)
    return perfusion, density, convert(folder / "dicom", folder / "nifti")


def test_two_images_with_exact_values_in_place(written):
    perfusion, density, files = written
    images = {_sidecar(path)["ImageType"][0]: nib.load(path) for path in files}
    assert set(images) == {"DERIVED", "ORIGINAL"}
    np.testing.assert_array_equal(same_place(images["DERIVED"], OBLIQUE), perfusion)
    np.testing.assert_array_equal(same_place(images["ORIGINAL"], OBLIQUE), density)


def test_sidecar_tells_the_labelling(written):
    sidecars = [_sidecar(path) for path in written[2]]
    for sidecar in sidecars:
        assert sidecar["Manufacturer"] == "GE"
        assert sidecar["PostLabelingDelay"] == pytest.approx(2.025)
        assert sidecar["LabelingDuration"] == pytest.approx(1.45)
        assert sidecar["NumberOfExcitations"] == 3
        assert sidecar["NumberOfAverages"] == 3
    kinds = {sidecar["ImageType"][0]: sidecar["ArterialSpinLabelingType"] for sidecar in sidecars}
    assert kinds == {"DERIVED": "PCASL", "ORIGINAL": "CASL"}


def test_values_that_do_not_fit_are_refused(tmp_path):
    volume = np.full((4, 4, 2), 4e4)
    with pytest.raises(ValueError, match="do not fit"):
        ge.write(tmp_path, STUDY, volume, volume, OBLIQUE)


def _sidecar(path: Path) -> dict:
    return json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
