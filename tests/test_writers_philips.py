"""The Philips writer against dcm2niix: geometry, scaling, order, sidecar."""

import json

import nibabel as nib
import numpy as np
import pydicom
import pytest
from writer_checks import OBLIQUE, STUDY, asymmetric_volume, convert, same_place

from cereflow_bids.demo.writers import philips


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    volumes = np.stack([asymmetric_volume(seed, high=28e6) for seed in range(6)], axis=-1)
    paths = philips.write_source(folder / "dicom", STUDY, volumes, OBLIQUE)
    (image,) = convert(folder / "dicom", folder / "nifti")
    return volumes, paths, image


def test_values_within_quantisation_in_acquired_order(source):
    volumes, _, image = source
    step = volumes.max() / 4095
    found = same_place(nib.load(image), OBLIQUE)
    assert found.shape == volumes.shape
    assert np.abs(found - volumes).max() <= 0.501 * step


def test_sidecar_has_no_labelling(source):
    (path,) = source[2].parent.glob("*.json")
    sidecar = json.loads(path.read_text())
    assert sidecar["Manufacturer"] == "Philips"
    assert sidecar["SequenceName"] == "GraSE"
    assert sidecar["ImageType"][2:4] == ["M", "SE"]
    assert sidecar["RepetitionTimeExcitation"] == pytest.approx(4.25)
    assert not {"PostLabelingDelay", "LabelingDuration", "ArterialSpinLabelingType"} & set(sidecar)


def test_private_elements_are_where_the_real_ones_are(source):
    paths = source[1]
    images = [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]
    assert [image[0x2005, 0x1429].value for image in images[::10]] == ["CONTROL", "LABEL"] * 3
    assert [image.TemporalPositionIdentifier for image in images[::10]] == [1, 1, 2, 2, 3, 3]
    assert images[0][0x2005, 0x140A].value == images[0].RescaleSlope
    assert images[0][0x2005, 0x100E].value == pytest.approx(4095 / 28e6)


def test_console_map_is_in_physiological_units(tmp_path):
    cbf = asymmetric_volume(1, high=90)
    philips.write_cbf(tmp_path / "dicom", STUDY, cbf, OBLIQUE)
    (image,) = convert(tmp_path / "dicom", tmp_path / "nifti")
    np.testing.assert_allclose(same_place(nib.load(image), OBLIQUE), cbf, atol=1e-4)
    (sidecar,) = image.parent.glob("*.json")
    assert "PERFUSION" in json.loads(sidecar.read_text())["ImageType"]
