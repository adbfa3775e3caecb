"""The DICOM writers against dcm2niix: geometry, values, order, sidecar."""

import warnings

import nibabel as nib
import numpy as np
import pydicom
import pytest
from written_dicom import OBLIQUE, SHAPE, STUDY, asymmetric, convert, in_place, sidecar

from cereflow_bids.demo.writers import csa, ge, philips, siemens
from cereflow_bids.demo.writers.dicom import pack, stack

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "The DICOM readers are highly experimental", UserWarning)
    from nibabel.nicom import csareader

# GE


@pytest.fixture(scope="module")
def ge_series(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ge")
    perfusion, density = asymmetric(1, low=-50, high=3000), asymmetric(2, high=9000)
    ge.write(folder / "dicom", STUDY, perfusion, density, OBLIQUE)
    return perfusion, density, convert(folder / "dicom", folder / "nifti")


def test_ge_gives_two_images_with_exact_values_in_place(ge_series):
    perfusion, density, files = ge_series
    images = {sidecar(path)["ImageType"][0]: path for path in files}
    assert set(images) == {"DERIVED", "ORIGINAL"}
    np.testing.assert_array_equal(in_place(images["DERIVED"]), perfusion)
    np.testing.assert_array_equal(in_place(images["ORIGINAL"]), density)


def test_ge_sidecars_tell_the_labelling(ge_series):
    sidecars = [sidecar(path) for path in ge_series[2]]
    for content in sidecars:
        assert content["Manufacturer"] == "GE"
        assert content["PostLabelingDelay"] == pytest.approx(2.025)
        assert content["LabelingDuration"] == pytest.approx(1.45)
        assert content["NumberOfExcitations"] == 3
        assert content["NumberOfAverages"] == 3
    kinds = {content["ImageType"][0]: content["ArterialSpinLabelingType"] for content in sidecars}
    assert kinds == {"DERIVED": "PCASL", "ORIGINAL": "CASL"}


def test_values_that_do_not_fit_are_refused(tmp_path):
    volume = np.full((4, 4, 2), 4e4)
    with pytest.raises(ValueError, match="do not fit"):
        ge.write(tmp_path, STUDY, volume, volume, OBLIQUE)


# Siemens


@pytest.fixture(scope="module")
def siemens_series(tmp_path_factory):
    folder = tmp_path_factory.mktemp("siemens")
    volumes = np.stack([asymmetric(seed, high=4095) for seed in range(4)], axis=-1)
    paths = siemens.write(folder / "dicom", STUDY, volumes, OBLIQUE)
    (image,) = convert(folder / "dicom", folder / "nifti")
    return volumes, paths, image


def test_siemens_gives_one_series_with_exact_values_in_place_and_order(siemens_series):
    volumes, _, image = siemens_series
    np.testing.assert_array_equal(in_place(image), volumes)


def test_converter_reads_the_siemens_protocol_print(siemens_series):
    content = sidecar(siemens_series[2])
    assert content["ArterialSpinLabelingType"] == "PCASL"
    assert content["NumRFBlocks"] == 90
    assert content["LabelingDuration"] == pytest.approx(1.8)  # the converter's mistake: the delay
    assert content["PulseSequenceDetails"] == r"%CustomerSeq%\tgse_pcasl_ve11c"
    assert content["MRAcquisitionType"] == "3D"
    assert content["RepetitionTimeExcitation"] == pytest.approx(3.48)
    assert content["PhaseEncodingDirection"] == "j-"


def test_siemens_private_headers_are_read_by_others(siemens_series):
    image = pydicom.dcmread(siemens_series[1][0])
    header = csareader.get_csa_header(image, "image")
    assert csareader.get_n_mosaic(header) == SHAPE[2]
    np.testing.assert_allclose(
        csareader.get_slice_normal(header),
        np.cross(image.ImageOrientationPatient[:3], image.ImageOrientationPatient[3:]),
        atol=1e-7,
    )


def test_private_entries_survive_a_reader():
    entries = [csa.Entry("Empty", "IS"), csa.Entry("Seven", "FD", [0.5] * 7, 0)]
    tags = csareader.read(csa.encode(entries))["tags"]
    assert tags["Empty"]["items"] == []
    assert tags["Seven"]["items"] == [0.5] * 7


def test_siemens_label_duration_follows_the_blocks():
    assert siemens.SiemensProtocol(labeling_blocks=82).labeling_duration == pytest.approx(1.5088)


# Philips


@pytest.fixture(scope="module")
def philips_series(tmp_path_factory):
    folder = tmp_path_factory.mktemp("philips")
    volumes = np.stack([asymmetric(seed, high=28e6) for seed in range(6)], axis=-1)
    paths = philips.write_source(folder / "dicom", STUDY, volumes, OBLIQUE)
    (image,) = convert(folder / "dicom", folder / "nifti")
    return volumes, paths, image


def test_philips_values_within_quantisation_in_acquired_order(philips_series):
    volumes, _, image = philips_series
    found = in_place(image)
    assert found.shape == volumes.shape
    assert np.abs(found - volumes).max() <= 0.501 * volumes.max() / 4095


def test_philips_sidecar_has_no_labelling(philips_series):
    content = sidecar(philips_series[2])
    assert content["Manufacturer"] == "Philips"
    assert content["SequenceName"] == "GraSE"
    assert content["ImageType"][2:4] == ["M", "SE"]
    assert content["RepetitionTimeExcitation"] == pytest.approx(4.25)
    assert not {"PostLabelingDelay", "LabelingDuration", "ArterialSpinLabelingType"} & set(content)


def test_philips_private_elements_are_where_the_real_ones_are(philips_series):
    images = [pydicom.dcmread(path, stop_before_pixels=True) for path in philips_series[1]]
    assert [image[0x2005, 0x1429].value for image in images[::10]] == ["CONTROL", "LABEL"] * 3
    assert [image.TemporalPositionIdentifier for image in images[::10]] == [1, 1, 2, 2, 3, 3]
    assert images[0][0x2005, 0x140A].value == images[0].RescaleSlope
    assert images[0][0x2005, 0x100E].value == pytest.approx(4095 / 28e6)


def test_philips_console_map_is_in_physiological_units(tmp_path):
    cbf = asymmetric(1, high=90)
    philips.write_cbf(tmp_path / "dicom", STUDY, cbf, OBLIQUE)
    (image,) = convert(tmp_path / "dicom", tmp_path / "nifti")
    np.testing.assert_allclose(in_place(image), cbf, atol=1e-4)
    assert "PERFUSION" in sidecar(image)["ImageType"]


# All


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR"])
def test_storage_order_of_the_array_does_not_move_the_head(codes):
    image = nib.Nifti1Image(asymmetric(3, high=100), OBLIQUE)
    change = nib.orientations.ornt_transform(
        nib.io_orientation(OBLIQUE), nib.orientations.axcodes2ornt(codes)
    )
    turned = image.as_reoriented(change)
    expected, found = (stack(i.get_fdata(), i.affine) for i in (image, turned))
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    np.testing.assert_allclose(found.positions, expected.positions, atol=1e-9)


def test_identity_is_in_every_file_and_every_text_is_searchable(
    ge_series, siemens_series, philips_series
):
    assert all(
        "CANARY" in text or "W1" in text or text.isdigit() for text in STUDY.identity.texts()
    )
    for path in (siemens_series[1][0], philips_series[1][0]):
        content = path.read_bytes()
        assert all(text.encode() in content for text in STUDY.identity.texts())


def test_same_files_give_the_same_archive(tmp_path):
    volume = asymmetric(1, high=100)
    for copy in ("a", "b"):
        ge.write(tmp_path / copy, STUDY, volume, volume, OBLIQUE)
        pack(tmp_path / copy, tmp_path / f"{copy}.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
