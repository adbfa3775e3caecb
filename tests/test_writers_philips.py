"""The Philips DICOM writers against dcm2niix: which volumes, in which order, with which values."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from cereflow_bids.demo.writers import philips
from cereflow_bids.demo.writers.study import Identity, Study

SHAPE = (8, 10, 4)
STUDY = Study(Identity.canary("P1"), "20300102", "101500")
AFFINE = np.array([[3.0, 0, 0, -11.0], [0, 3.0, 0, -13.0], [0, 0, 5.0, -7.0], [0, 0, 0, 1.0]])
SHORT_MULTIPHASE = replace(philips.MULTIPHASE, phases=3)
CONTROL_FIRST, ALL_CONTROLS_FIRST = [1, 2, 3, 4, 5, 6], [1, 3, 5, 2, 4, 6]


def counted(number: int) -> np.ndarray:
    """Volumes whose voxels are 100 × their place in the order of acquisition, plus the slice."""
    places = 100.0 * np.arange(1, number + 1) + np.arange(SHAPE[2])[:, np.newaxis]
    return np.broadcast_to(places, (*SHAPE[:2], *places.shape)).copy()


def convert(dicom: Path) -> list[tuple[nib.Nifti1Image, dict]]:
    """Run dcm2niix as HeuDiConv does; return images and sidecars."""
    from dcm2niix import bin as dcm2niix

    nifti = dicom.with_name(f"{dicom.name}-nifti")
    nifti.mkdir()
    command = [dcm2niix, "-b", "y", "-z", "y", "-f", "%s_%d", "-o", str(nifti), str(dicom)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return [
        (
            nib.as_closest_canonical(nib.load(path)),
            json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text()),
        )
        for path in sorted(nifti.glob("*.nii.gz"))
    ]


def places(image: nib.Nifti1Image) -> list[int]:
    """Return the place in the order of acquisition of each volume, checking every slice."""
    found = image.get_fdata()
    order = [round(value / 100) for value in found[0, 0, 0]]
    np.testing.assert_allclose(found, counted(max(order))[..., np.array(order) - 1], atol=0.2)
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-4)
    return order


@pytest.mark.parametrize("protocol", [philips.PhilipsProtocol(), philips.PCASL_2D])
@pytest.mark.parametrize(
    ("enhanced", "software", "expected"),
    [
        (False, "5.7.1", CONTROL_FIRST),
        (True, "5.7.1", ALL_CONTROLS_FIRST),
        # From release 11 on, dcm2niix sorts enhanced frames by its own rule.
        (True, "11.1", CONTROL_FIRST),
    ],
)
def test_order_that_dcm2niix_gives_one_delay(protocol, enhanced, software, expected, tmp_path):
    protocol = replace(protocol, software=(software, f"{software}.1"))
    paths = philips.write_source(
        tmp_path / "dicom", STUDY, counted(6), AFFINE, protocol=protocol, enhanced=enhanced
    )
    assert len(paths) == (1 if enhanced else 6 * SHAPE[2])
    ((image, sidecar),) = convert(tmp_path / "dicom")
    assert places(image) == expected
    assert sidecar["UsePhilipsFloatNotDisplayScaling"] == 1
    assert sidecar["MRAcquisitionType"] == protocol.dimension
    # Neither export tells when a slice was acquired.
    assert "SliceTiming" not in sidecar


@pytest.mark.parametrize(
    ("enhanced", "software", "expected"),
    [
        (False, "5.7.1", list(range(1, 13))),
        (True, "5.7.1", [1, 7, 2, 8, 3, 9, 4, 10, 5, 11, 6, 12]),
        (True, "11.1", [1, 4, 2, 5, 3, 6, 7, 10, 8, 11, 9, 12]),
    ],
)
def test_order_that_dcm2niix_gives_several_phases(enhanced, software, expected, tmp_path):
    protocol = replace(SHORT_MULTIPHASE, software=(software, f"{software}.1"))
    philips.write_source(
        tmp_path / "dicom", STUDY, counted(12), AFFINE, protocol=protocol, enhanced=enhanced
    )
    ((image, sidecar),) = convert(tmp_path / "dicom")
    assert places(image) == expected
    assert sidecar["FlipAngle"] == 40
    assert 0.25 in (sidecar["RepetitionTime"], sidecar.get("RepetitionTimeExcitation"))


def test_multiphase_delays_differ_by_phase_and_slice_alone(tmp_path):
    paths = philips.write_source(tmp_path, STUDY, counted(12), AFFINE, protocol=SHORT_MULTIPHASE)
    images = [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]
    times = [float(image.TriggerTime) for image in images]
    one_label = [300, 330, 360, 390, 550, 580, 610, 640, 800, 830, 860, 890]
    assert times == one_label * 4
    assert [image[0x2001, 0x1008].value for image in images[:: SHAPE[2]]] == [1, 2, 3] * 4
    assert [image[0x2005, 0x1429].value for image in images[::12]] == ["CONTROL", "LABEL"] * 2
    assert {image.TemporalPositionIdentifier for image in images[:24]} == {1}
    assert images[-1][0x2005, 0x10A0].value == 8.0


def test_trigger_time_of_one_delay_is_the_start_of_the_dynamic(tmp_path):
    paths = philips.write_source(tmp_path, STUDY, counted(4), AFFINE)
    images = [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]
    assert [float(image.TriggerTime) for image in images[:: SHAPE[2]]] == [0, 0, 127500, 127500]
    assert images[-1][0x2005, 0x10A0].value == 127.5


def test_enhanced_frames_tell_label_repeat_phase_and_scaling(tmp_path):
    (path,) = philips.write_source(
        tmp_path, STUDY, counted(12), AFFINE, protocol=SHORT_MULTIPHASE, enhanced=True
    )
    image = pydicom.dcmread(path)
    assert image.SOPClassUID.name == "Enhanced MR Image Storage"
    assert image.NumberOfFrames == 12 * SHAPE[2]
    assert list(image.ImageType) == ["ORIGINAL", "PRIMARY", "PERFUSION", "NONE"]
    groups = image.PerFrameFunctionalGroupsSequence
    own = [group[0x2005, 0x140F].value[0] for group in groups]
    assert [one[0x2005, 0x1429].value for one in own[:: 6 * SHAPE[2]]] == ["CONTROL", "LABEL"]
    (scale,) = {one[0x2005, 0x100E].value for one in own}
    assert scale == pytest.approx(4095 / 1203)
    assert [g.FrameContentSequence[0].TemporalPositionIndex for g in groups[:: SHAPE[2]]] == (
        [1, 1, 1, 2, 2, 2] * 2
    )
    assert [float(one.TriggerTime) for one in own[: SHAPE[2]]] == [300, 330, 360, 390]


@pytest.mark.parametrize("enhanced", [False, True])
def test_console_map_is_real_valued_and_in_physiological_units(enhanced, tmp_path):
    cbf = counted(1)[..., 0] / 10
    philips.write_cbf(tmp_path / "dicom", STUDY, cbf, AFFINE, enhanced=enhanced)
    ((image, sidecar),) = convert(tmp_path / "dicom")
    np.testing.assert_allclose(image.get_fdata(), cbf, atol=1e-4)
    assert "PERFUSION" in sidecar["ImageType"]
    assert ("REAL" in sidecar["ImageType"]) is enhanced


def test_series_of_several_delays_have_scales_of_their_own(tmp_path):
    for number, factor in ((1903, 1), (2003, 3)):
        protocol = philips.PhilipsProtocol(source_number=number)
        philips.write_source(
            tmp_path / "dicom" / str(number), STUDY, factor * counted(4), AFFINE, protocol=protocol
        )
    (one, first), (three, second) = convert(tmp_path / "dicom")
    assert first["PhilipsScaleSlope"] == pytest.approx(3 * second["PhilipsScaleSlope"], rel=1e-4)
    assert places(one) == [1, 2, 3, 4]
    np.testing.assert_allclose(three.get_fdata(), 3 * counted(4), atol=0.2)


def test_separate_m0_and_t1w(tmp_path):
    volume = counted(1)[..., 0]
    philips.write_m0(tmp_path / "dicom" / "m0", STUDY, volume, AFFINE)
    philips.write_t1w(tmp_path / "dicom" / "t1", STUDY, volume, AFFINE)
    (m0, m0_says), (t1, t1_says) = convert(tmp_path / "dicom")
    for image in (m0, t1):
        np.testing.assert_allclose(image.get_fdata(), volume, atol=0.1)
    assert (m0_says["SeriesNumber"], m0_says["RepetitionTime"]) == (2001, 10)
    assert (t1_says["SeriesNumber"], t1_says["FlipAngle"]) == (301, 9)
    assert t1_says["MRAcquisitionType"] == "3D"


def test_half_a_dynamic_is_refused(tmp_path):
    with pytest.raises(ValueError, match="5 volumes are no whole number of dynamics of 2"):
        philips.write_source(tmp_path, STUDY, counted(5), AFFINE)
