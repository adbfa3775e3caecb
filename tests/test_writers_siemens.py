"""The writers of Siemens DICOM against dcm2niix: geometry, values, order, sidecar."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from written_dicom import OBLIQUE, STUDY, asymmetric, convert, in_place, sidecar

from cereflow_bids.demo.writers import siemens, siemens_slices, siemens_xa, siemens_xa_classic
from cereflow_bids.demo.writers.siemens_protocol import (
    DELAYS,
    NOT_SUPPRESSED,
    SiemensProtocol,
    pulsed,
    several_delays,
)
from cereflow_bids.demo.writers.siemens_xa_protocol import XaProtocol, product

Written = tuple[np.ndarray, Path]


def stacked(count: int, high: float = 4095) -> np.ndarray:
    return np.stack([asymmetric(seed, high=high) for seed in range(count)], axis=-1)


def one_image(folder: Path) -> Path:
    (image,) = convert(folder, folder.with_name(f"{folder.name}-nifti"))
    return image


def mosaics(folder: Path, count: int, protocol: SiemensProtocol) -> dict[str, Any]:
    """Write `count` mosaics, check voxels, place and order, and return the sidecar."""
    volumes = stacked(count)
    paths = siemens.write(folder, STUDY, volumes, OBLIQUE, protocol=protocol)
    assert len(paths) == count, "one file per volume"
    image = one_image(folder)
    np.testing.assert_array_equal(in_place(image), volumes)
    return sidecar(image)


def printed(path: Path) -> str:
    """Return the protocol print of a classic VE image."""
    return pydicom.dcmread(path)[0x0029, 0x1020].value.decode("latin-1")


# -- VE mosaics ----------------------------------------------------------------------------------


def test_one_delay_is_ten_mosaics(tmp_path: Path) -> None:
    content = mosaics(tmp_path / "dicom", 10, SiemensProtocol())
    assert content["ArterialSpinLabelingType"] == "PCASL"
    assert "SliceTiming" not in content


@pytest.mark.parametrize("repeats", [(2, 2, 2, 3, 3), ()])
def test_five_delays_are_twenty_six_mosaics(repeats: tuple[int, ...], tmp_path: Path) -> None:
    protocol = several_delays(DELAYS, repeats)
    content = mosaics(tmp_path / "dicom", 26, protocol)
    assert content["SeriesDescription"] == "tgse_pcasl_pld5"
    assert "LabelingDuration" not in content, "adFree[2] is not there to be mistaken for it"
    text = printed(tmp_path / "dicom" / "0001.dcm")
    assert ("sWipMemBlock.alFree[4]\t = \t2500000" in text) == bool(repeats)
    assert ("sWipMemBlock.alFree[10]\t = \t3" in text) == bool(repeats)


def test_separate_m0_is_a_series_of_the_same_sequence(tmp_path: Path) -> None:
    protocol = SiemensProtocol(
        series_number=16, series_description="tgse_pcasl_m0", suppression=NOT_SUPPRESSED
    )
    content = mosaics(tmp_path / "dicom", 2, protocol)
    assert content["SeriesNumber"] == 16
    assert "sAsl.ulSuppressionMode\t = \t1" in printed(tmp_path / "dicom" / "0001.dcm")


def test_product_pasl_in_3d_tells_its_inversion_times(tmp_path: Path) -> None:
    content = mosaics(tmp_path / "dicom", 4, pulsed(bolus=0.8, inversion_time=2.0))
    assert content["ArterialSpinLabelingType"] == "PASL"
    assert content["PASLType"] == "FAIR QII"
    assert (content["BolusDuration"], content["InversionTime"]) == (0.8, 2.0)
    assert content["MRAcquisitionType"] == "3D"
    assert "SliceTiming" not in content


def test_product_pasl_in_2d_has_slice_times(tmp_path: Path) -> None:
    protocol = pulsed(three_dimensional=False, series_description="asl_2d_tra")
    content = mosaics(tmp_path / "dicom", 3, protocol)
    assert content["MRAcquisitionType"] == "2D"
    assert content["PASLType"] == "PICORE"
    np.testing.assert_allclose(content["SliceTiming"], np.arange(10) * 0.0375, atol=1e-6)


# -- XA ------------------------------------------------------------------------------------------

CONTEXTS = ("M_ZERO_SCAN", "LABEL", "CONTROL", "LABEL", "CONTROL")


@pytest.fixture(scope="module")
def enhanced(tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("enhanced") / "dicom"
    protocol = XaProtocol(labeling_duration=1.5, delays=(0.5, 2.0))
    volumes = stacked(5)
    siemens_xa.write(
        folder,
        STUDY,
        volumes,
        OBLIQUE,
        CONTEXTS,
        protocol=protocol,
        delays=(0.5, 0.5, 0.5, 2.0, 2.0),
    )
    return volumes, folder


def test_enhanced_is_one_file_per_volume_and_one_series(enhanced: Written) -> None:
    volumes, folder = enhanced
    assert len(list(folder.iterdir())) == 5
    image = one_image(folder)
    np.testing.assert_array_equal(in_place(image), volumes)
    content = sidecar(image)
    assert content["ArterialSpinLabelingType"] == "PCASL"
    assert content["LabelingDuration"] == pytest.approx(1.5)
    assert content["RepetitionTime"] == pytest.approx(4.8)
    np.testing.assert_allclose(content["SliceTiming"], np.arange(10) * 0.0375, atol=1e-6)


def test_enhanced_private_elements_are_where_the_real_ones_are(
    enhanced: Written, data_dir: Path, tmp_path: Path
) -> None:
    import zipfile

    with zipfile.ZipFile(data_dir / "zips/siemens_xa30_asl2d_t1.zip") as archive:
        names = sorted(name for name in archive.namelist() if "/25_" in f"/{name}")
        (tmp_path / "real.dcm").write_bytes(archive.read([n for n in names if "." in n][1]))
    for path in (tmp_path / "real.dcm", sorted(enhanced[1].iterdir())[1]):
        image = pydicom.dcmread(path, stop_before_pixels=True)
        shared = image.SharedFunctionalGroupsSequence[0][0x0021, 0x10FE].value[0]
        assert b"sAsl.sPostLabelingDelay[0]" in shared[0x0021, 0x1019].value
        frame = image.PerFrameFunctionalGroupsSequence[0]
        context = frame[0x0018, 0x9251].value[0][0x0018, 0x9257].value
        delay = frame[0x0021, 0x11FE].value[0][0x0021, 0x1189].value
        assert context == "LABEL"
        assert delay == {"real.dcm": 1800.0}.get(path.name, 500.0)


def test_interoperability_gives_each_volume_a_series(tmp_path: Path) -> None:
    volumes = stacked(3)
    siemens_xa_classic.write(tmp_path / "dicom", STUDY, volumes, OBLIQUE)
    folders = sorted((tmp_path / "dicom").iterdir())
    headers = [pydicom.dcmread(next(iter(folder.iterdir()))) for folder in folders]
    assert [int(header.SeriesNumber) for header in headers] == [25, 26, 27]
    assert len({header.SeriesInstanceUID for header in headers}) == 3
    for number, folder in enumerate(folders):
        image = one_image(folder)
        np.testing.assert_array_equal(in_place(image), volumes[..., number])
    first = pydicom.dcmread(folders[1] / "0001.dcm"), pydicom.dcmread(folders[1] / "0002.dcm")
    assert [str(one.AcquisitionTime) for one in first] == ["101504.800000", "101504.837500"]


def test_interoperability_can_number_all_series_alike_and_drop_the_protocol(
    tmp_path: Path,
) -> None:
    protocol = XaProtocol(number_step=0)
    paths = siemens_xa_classic.write(
        tmp_path, STUDY, stacked(2), OBLIQUE, protocol=protocol, with_protocol=False
    )
    headers = [pydicom.dcmread(path) for path in paths]
    assert {int(header.SeriesNumber) for header in headers} == {25}
    assert len({header.SeriesInstanceUID for header in headers}) == 2
    assert not any((0x0021, 0x1019) in header for header in headers)


def test_product_keeps_the_protocol_name(tmp_path: Path) -> None:
    protocol = product(XaProtocol(), 27, "relCBF", "RCBF")
    siemens_xa.write(tmp_path / "dicom", STUDY, stacked(1), OBLIQUE, [""], protocol=protocol)
    content = sidecar(one_image(tmp_path / "dicom"))
    assert (content["SeriesDescription"], content["ProtocolName"]) == ("relCBF", "asl_2d_tra")
    assert content["ImageType"][:4] == ["DERIVED", "PRIMARY", "ASL", "RCBF"]


# -- single slices -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        (siemens_slices.MPRAGE, {"MRAcquisitionType": "3D", "InversionTime": 0.9}),
        (siemens_slices.THICK_T1, {"MRAcquisitionType": "2D", "FlipAngle": 70}),
        (siemens_slices.PROTON_DENSITY, {"MRAcquisitionType": "2D", "RepetitionTime": 6}),
    ],
)
def test_slices_make_a_volume_in_place(
    protocol: siemens_slices.SliceProtocol, expected: dict[str, Any], tmp_path: Path
) -> None:
    volume = asymmetric(1, high=4095)
    siemens_slices.write(tmp_path / "dicom", STUDY, volume, OBLIQUE, protocol)
    image = one_image(tmp_path / "dicom")
    np.testing.assert_array_equal(in_place(image), volume)
    assert expected.items() <= sidecar(image).items()


def test_research_series_has_all_repeats_of_one_kind(tmp_path: Path) -> None:
    volumes = stacked(3)
    protocol = siemens_slices.research(21, "ns", 1.7)
    siemens_slices.write(tmp_path / "dicom", STUDY, volumes, OBLIQUE, protocol)
    image = one_image(tmp_path / "dicom")
    np.testing.assert_array_equal(in_place(image), volumes)
    assert sidecar(image)["SeriesDescription"] == "ns_TE00_TI1700"


def test_colours_survive(tmp_path: Path) -> None:
    channels = stacked(3, high=255)
    protocol = siemens_slices.SliceProtocol(
        29, "relCBF", image_type=("DERIVED", "SECONDARY", "ASL", "RCBF")
    )
    siemens_slices.write_colour(tmp_path / "dicom", STUDY, channels, OBLIQUE, protocol)
    image = nib.load(one_image(tmp_path / "dicom"))
    assert image.header["datatype"] == 128, "NIfTI's code for red, green and blue"
    found = np.asarray(nib.as_closest_canonical(image).dataobj)
    red_green_blue = np.stack([found[name] for name in "RGB"], axis=-1)
    np.testing.assert_array_equal(red_green_blue, channels)


@pytest.mark.parametrize(
    "write",
    [
        lambda folder, volume: siemens.write(folder, STUDY, volume[..., np.newaxis], OBLIQUE),
        lambda folder, volume: siemens_slices.write(
            folder, STUDY, volume, OBLIQUE, siemens_slices.MPRAGE
        ),
        lambda folder, volume: siemens_xa.write(
            folder, STUDY, volume[..., np.newaxis], OBLIQUE, [""]
        ),
        lambda folder, volume: siemens_slices.write_colour(
            folder, STUDY, np.stack([volume] * 3, axis=-1), OBLIQUE, siemens_slices.MPRAGE
        ),
    ],
)
def test_values_that_do_not_fit_are_refused(
    write: Callable[[Path, np.ndarray], Any], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        write(tmp_path, np.full((4, 4, 2), 4e4))
