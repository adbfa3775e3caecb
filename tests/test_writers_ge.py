"""The GE writers against dcm2niix: what each series becomes, its values, its private tags."""

from dataclasses import replace

import numpy as np
import pydicom
import pytest
from written_dicom import OBLIQUE, STUDY, asymmetric, convert, in_place, sidecar

from cereflow_bids.demo.writers import ge, ge_easl, ge_t1w


def test_each_delay_is_a_series_with_its_own_delay_and_excitations(tmp_path):
    delays = {7: (1.0, 4), 8: (1.525, 3), 9: (2.525, 2)}
    for number, (delay, excitations) in delays.items():
        protocol = ge.GeProtocol(
            post_labeling_delay=delay, excitations=excitations, series_number=number
        )
        volume = asymmetric(number, high=900)
        ge.write(
            tmp_path / "dicom" / str(number), STUDY, volume, volume, OBLIQUE, protocol=protocol
        )
    found = [sidecar(path) for path in convert(tmp_path / "dicom", tmp_path / "nifti")]
    told = [(one["SeriesNumber"], one["PostLabelingDelay"]) for one in found]
    assert sorted(told) == [(number, delays[number][0]) for number in (7, 7, 8, 8, 9, 9)]
    assert {one["SeriesNumber"]: one["NumberOfExcitations"] for one in found} == {7: 4, 8: 3, 9: 2}


def test_console_map_is_a_series_of_its_own(tmp_path):
    cbf = asymmetric(1, high=90)
    ge.write_cbf(tmp_path / "dicom", STUDY, cbf, OBLIQUE)
    (image,) = convert(tmp_path / "dicom", tmp_path / "nifti")
    np.testing.assert_array_equal(in_place(image), cbf)
    assert sidecar(image)["ImageType"][:4] == ["DERIVED", "PRIMARY", "CBF", "CBF"]
    assert sidecar(image)["SeriesNumber"] == 700


def test_old_software_is_told(tmp_path):
    volume = asymmetric(1, high=90)
    protocol = ge.GeProtocol(software=ge.OLD_SOFTWARE)
    ge.write(tmp_path / "dicom", STUDY, volume, volume, OBLIQUE, protocol=protocol)
    found = [sidecar(path) for path in convert(tmp_path / "dicom", tmp_path / "nifti")]
    assert all("release:15.0" in one["SoftwareVersions"] for one in found)


@pytest.fixture(scope="module")
def easl_series(tmp_path_factory):
    """The raw series: seven decoded images and a density image, and dcm2niix's reading."""
    folder = tmp_path_factory.mktemp("easl")
    decoded = np.stack([asymmetric(seed, high=100 * seed + 100) for seed in range(7)], axis=-1)
    density = asymmetric(9, high=9000)
    paths = ge_easl.write_raw(folder / "dicom", STUDY, decoded, density, OBLIQUE)
    return decoded, density, paths, convert(folder / "dicom", folder / "nifti")


def test_easl_is_split_into_decoded_images_in_order_and_density(easl_series):
    decoded, density, _, files = easl_series
    kinds = {sidecar(path)["ArterialSpinLabelingType"]: path for path in files}
    assert set(kinds) == {"PCASL", "CASL"}
    np.testing.assert_array_equal(in_place(kinds["PCASL"]), decoded)
    np.testing.assert_array_equal(in_place(kinds["CASL"]), density)


def test_easl_tells_its_delays_in_private_tags_only(easl_series):
    header = pydicom.dcmread(easl_series[2][0], stop_before_pixels=True)
    assert header[0x0019, 0x109E].value == "easl"
    told = [float(header[0x0019, element].value) for element in (0x10AB, 0x10AC, 0x10AD, 0x10AE)]
    assert told == [1.0, 3.5, 7.0, 0.0]
    assert header.InversionTime == 700
    assert header[0x0043, 0x10A5].value == 4000


def test_easl_without_private_tags(tmp_path):
    protocol = ge_easl.EaslProtocol(delays=3, told=False)
    decoded = np.stack([asymmetric(seed, high=100) for seed in range(3)], axis=-1)
    paths = ge_easl.write_raw(
        tmp_path, STUDY, decoded, decoded[..., 0], OBLIQUE, protocol=protocol
    )
    header = pydicom.dcmread(paths[0], stop_before_pixels=True)
    assert (0x0019, 0x10AB) not in header
    assert len(paths) == 4 * decoded.shape[2]


def test_easl_maps_are_series_of_their_own_in_their_own_units(tmp_path):
    flow, delay = asymmetric(1, high=90), asymmetric(2, high=2400) / 1000
    protocol = replace(ge_easl.EaslProtocol(), series_number=5)
    ge_easl.write_flow(tmp_path / "dicom/flow", STUDY, flow, OBLIQUE, protocol=protocol)
    ge_easl.write_transit_delay(tmp_path / "dicom/att", STUDY, delay, OBLIQUE, protocol=protocol)
    images = {
        sidecar(path)["SeriesDescription"]: path
        for path in convert(tmp_path / "dicom", tmp_path / "nifti")
    }
    assert set(images) == {"eASL: Transit corrected Flow", "eASL: Transit delay"}
    np.testing.assert_array_equal(in_place(images["eASL: Transit corrected Flow"]), flow)
    np.testing.assert_allclose(in_place(images["eASL: Transit delay"]), 1000 * delay)


def test_t1w_is_one_image(tmp_path):
    volume = asymmetric(1, high=900)
    ge_t1w.write(tmp_path / "dicom", STUDY, volume, OBLIQUE)
    (image,) = convert(tmp_path / "dicom", tmp_path / "nifti")
    np.testing.assert_array_equal(in_place(image), volume)
    content = sidecar(image)
    assert content["MRAcquisitionType"] == "3D"
    assert content["InversionTime"] == pytest.approx(0.45)
    assert "ArterialSpinLabelingType" not in content
