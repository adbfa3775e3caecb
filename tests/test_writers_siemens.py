"""The Siemens writer against dcm2niix and nibabel: mosaic, private headers, sidecar."""

import json
import warnings

import nibabel as nib
import numpy as np
import pydicom
import pytest
from writer_checks import OBLIQUE, STUDY, asymmetric_volume, convert, same_place

from cereflow_bids.demo.writers import csa, siemens

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "The DICOM readers are highly experimental", UserWarning)
    from nibabel.nicom import csareader


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("siemens")
    volumes = np.stack([asymmetric_volume(seed, high=4095) for seed in range(4)], axis=-1)
    paths = siemens.write(folder / "dicom", STUDY, volumes, OBLIQUE)
    (image,) = convert(folder / "dicom", folder / "nifti")
    return volumes, paths, image


def test_one_series_with_exact_values_in_place_and_order(written):
    volumes, _, image = written
    np.testing.assert_array_equal(same_place(nib.load(image), OBLIQUE), volumes)


def test_converter_reads_the_protocol_print(written):
    sidecar = json.loads(written[2].with_name("15_pcasl_3d.json").read_text())
    assert sidecar["ArterialSpinLabelingType"] == "PCASL"
    assert sidecar["NumRFBlocks"] == 90
    assert sidecar["LabelingDuration"] == pytest.approx(1.8)  # the converter's mistake: the delay
    assert sidecar["PulseSequenceDetails"] == r"%CustomerSeq%\tgse_pcasl_ve11c"
    assert sidecar["MRAcquisitionType"] == "3D"
    assert sidecar["RepetitionTimeExcitation"] == pytest.approx(3.48)
    assert sidecar["PhaseEncodingDirection"] == "j-"


def test_private_headers_are_read_by_others(written):
    image = pydicom.dcmread(written[1][0])
    header = csareader.get_csa_header(image, "image")
    assert csareader.get_n_mosaic(header) == 10
    np.testing.assert_allclose(
        csareader.get_slice_normal(header),
        np.cross(image.ImageOrientationPatient[:3], image.ImageOrientationPatient[3:]),
        atol=1e-7,
    )


def test_entries_survive_a_reader():
    entries = [csa.Entry("Empty", "IS"), csa.Entry("Seven", "FD", [0.5] * 7, 0)]
    tags = csareader.read(csa.encode(entries))["tags"]
    assert tags["Empty"]["items"] == []
    assert tags["Seven"]["items"] == [0.5] * 7


def test_label_duration_follows_the_blocks():
    assert siemens.SiemensProtocol(labeling_blocks=82).labeling_duration == pytest.approx(1.5088)
