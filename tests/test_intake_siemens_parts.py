"""Which Siemens series belong together, when their slices were read, what they are for."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from siemens_uploads import AFFINE, STUDY, pairs, volumes
from written_dicom import convert, sidecar

from cereflow_bids.demo.writers import siemens as ve
from cereflow_bids.demo.writers import siemens_slices, siemens_xa, siemens_xa_classic
from cereflow_bids.demo.writers.siemens_protocol import (
    SiemensProtocol,
    pulsed,
)
from cereflow_bids.intake import heuristic
from cereflow_bids.intake.headers.series import Series, index
from cereflow_bids.intake.parameters.labeling import Part
from cereflow_bids.intake.vendors import siemens
from cereflow_bids.intake.vendors.siemens_parts import slice_times


def series(folder: Path) -> list[Series]:
    return index(sorted(path for path in folder.rglob("*") if path.is_file()))


# -- parts of one acquisition --------------------------------------------------------------------


def parts(folder: Path, *protocols: SiemensProtocol) -> list[Part | None]:
    for place, protocol in enumerate(protocols):
        target = folder / f"{place}"
        ve.write(target, STUDY, volumes(pairs(1)), AFFINE, protocol=protocol)
    return [siemens.read(one).part for one in series(folder)]


def test_series_that_differ_in_their_delay_alone_are_parts(tmp_path: Path) -> None:
    one = SiemensProtocol(post_labeling_delay=1.0, series_number=1)
    other = replace(one, post_labeling_delay=2.0, series_number=2, series_description="later")
    first, second = parts(tmp_path, one, other)
    assert first is not None
    assert first.by == "delay"
    assert first == second


@pytest.mark.parametrize(
    "change", [{"labeling_blocks": 60}, {"suppression": 1}, {"sequence": "other_pcasl_ve11c"}]
)
def test_another_labelling_is_another_acquisition(change: dict[str, Any], tmp_path: Path) -> None:
    one = SiemensProtocol(post_labeling_delay=1.0, series_number=1)
    first, second = parts(
        tmp_path, one, replace(one, post_labeling_delay=2.0, series_number=2, **change)
    )
    assert first != second


def test_another_bolus_is_another_acquisition(tmp_path: Path) -> None:
    first, second = parts(
        tmp_path,
        pulsed(bolus=0.7, series_number=1),
        pulsed(bolus=0.8, inversion_time=2.2, series_number=2),
    )
    assert first != second


def test_another_slab_is_another_acquisition(tmp_path: Path) -> None:
    for place, affine in enumerate((AFFINE, AFFINE + np.eye(4, 4, 3))):
        protocol = SiemensProtocol(series_number=place, post_labeling_delay=1.0 + place)
        ve.write(tmp_path / f"{place}", STUDY, volumes(pairs(1)), affine, protocol=protocol)
    first, second = (siemens.read(one).part for one in series(tmp_path))
    assert first != second


def test_only_the_interoperability_export_has_series_of_one_volume(tmp_path: Path) -> None:
    siemens_xa_classic.write(tmp_path / "classic", STUDY, volumes(pairs(1)), AFFINE)
    siemens_xa.write(tmp_path / "xa", STUDY, volumes([300.0]), AFFINE, ["CONTROL"])
    slices = siemens_slices.research(30, "ns", 1.0)
    siemens_slices.write(tmp_path / "ns", STUDY, volumes([300.0]), AFFINE, slices)
    found = {one.number: siemens.read(one).part for one in series(tmp_path / "classic")}
    assert [part.by for part in found.values() if part] == ["volume", "volume"]
    (enhanced,) = series(tmp_path / "xa")
    part = siemens.read(enhanced).part
    assert part is not None
    assert part.by == "delay"
    (research,) = series(tmp_path / "ns")
    part = siemens.read(research).part
    assert part is not None
    assert (part.by, part.role) == ("pair", "second")


# -- times ---------------------------------------------------------------------------------------


def test_a_3d_volume_has_no_slice_times(tmp_path: Path) -> None:
    siemens_xa_classic.write(tmp_path, STUDY, volumes(pairs(1)), AFFINE)
    for path in tmp_path.rglob("*.dcm"):
        image = dcmread(path)
        image.MRAcquisitionType = "3D"
        image.save_as(path)
    for one in series(tmp_path):
        assert slice_times(one) is not None
        assert "SliceTiming" not in siemens.read(one).parameters


@pytest.mark.parametrize("downwards", [False, True])
def test_slice_times_are_those_of_dcm2niix(downwards: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    levels = rng.uniform(0, 4000, (12, 14, 6, 2))
    siemens_xa_classic.write(tmp_path / "dicom", STUDY, levels, AFFINE)
    if downwards:
        for folder in (tmp_path / "dicom").iterdir():
            _turn(sorted(folder.iterdir()))
    (image,) = convert(tmp_path / "dicom", tmp_path / "nifti")
    expected = sidecar(image)["SliceTiming"]
    assert (expected[0] > expected[-1]) == downwards
    for one in series(tmp_path / "dicom"):
        times = slice_times(one)
        assert times is not None
        np.testing.assert_allclose(times.value, expected, atol=1e-6)


def _turn(paths: list[Path]) -> None:
    """Let the slices be read in the opposite order."""
    images = [dcmread(path) for path in paths]
    clocks = [(image.AcquisitionTime, image[0x0021, 0x1104].value) for image in images]
    for place, (image, (time, shift)) in enumerate(zip(images, clocks[::-1], strict=True)):
        image.AcquisitionTime, image[0x0021, 0x1104].value = time, shift
        image.InstanceNumber = len(images) - place
        image.save_as(paths[place])


# -- roles ---------------------------------------------------------------------------------------

ASL_TYPE = ("ORIGINAL", "PRIMARY", "ASL", "NONE")
PLAIN = ("ORIGINAL", "PRIMARY", "M", "ND")


@pytest.mark.parametrize(
    ("name", "image_type", "rule"),
    [
        ("tgse_pcasl_pld5", ASL_TYPE, "siemens-asl"),
        ("asl_3d_tra_p2_iso", PLAIN, "siemens-asl"),
        ("Parameter_Fit", PLAIN, "siemens-asl"),
        ("Parameter_Fit", ("DERIVED", "PRIMARY", "ASL"), "siemens-fitted-maps"),
        ("tgse_pcasl_m0", ASL_TYPE, "siemens-m0"),
        ("pd_tse_tra", PLAIN, "siemens-m0"),
        ("M0_asl", ASL_TYPE, "siemens-m0"),
        ("m0tra_3d", PLAIN, "siemens-m0"),
        ("PWI_asl", ASL_TYPE, "siemens-product-map"),
        ("Perfusion_Weighted", ("DERIVED", "PRIMARY", "ASL"), "siemens-product-map"),
        ("MoCoSeries", (*ASL_TYPE, "MOCO"), "siemens-product-map"),
        ("ns_TE00_TI1700", PLAIN, "siemens-research"),
        ("tgse_ss_TE00_TI900", PLAIN, "siemens-research"),
        ("ss_TE00_TI4000", PLAIN, "siemens-research-m0"),
        ("ns_TE00_TI4000", PLAIN, "siemens-research-m0-other"),
        ("ep2d_bold_rest", PLAIN, ""),
        ("t2_tse_tra", PLAIN, ""),
    ],
)
def test_what_a_siemens_series_is_taken_for(
    name: str, image_type: tuple[str, ...], rule: str
) -> None:
    traits = heuristic.rules().Traits("SIEMENS", name, name, image_type, "3D")
    assert heuristic.rules().role(traits).rule == rule
