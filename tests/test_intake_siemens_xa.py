"""Siemens XA, from ZIP to BIDS: enhanced files, and the interoperability export."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bids_validation import validator_errors
from pydicom import dcmread
from siemens_uploads import (
    AFFINE,
    M0,
    STUDY,
    convert,
    images,
    left_out,
    pairs,
    sidecar,
    types,
    values,
    volumes,
)

from cereflow_bids.demo.writers import siemens_xa, siemens_xa_classic
from cereflow_bids.demo.writers.siemens_protocol import SUPPRESSED
from cereflow_bids.demo.writers.siemens_xa_protocol import XaProtocol, product

# -- XA, enhanced --------------------------------------------------------------------------------

TAGS = ["M_ZERO_SCAN", *["LABEL", "CONTROL"] * 3]
LEVELS = [400.0, *pairs(3)]


def xa(
    folder: Path, levels: list[float], tags: list[str], protocol: XaProtocol, **more: Any
) -> None:
    target = folder / f"{protocol.first_number:03d}"
    siemens_xa.write(target, STUDY, volumes(levels), AFFINE, tags, protocol=protocol, **more)


def test_enhanced_with_its_products(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    protocol = XaProtocol(labeling_duration=1.5, delays=(2.0,))
    xa(tmp_path / "dicom", LEVELS, TAGS, protocol)
    xa(tmp_path / "dicom", [9], [""], product(protocol, 27, "Perfusion_Weighted", "SUBTRACTION"))
    xa(tmp_path / "dicom", [50], [""], product(protocol, 28, "relCBF", "RCBF"))
    code, dataset = convert(tmp_path / "dicom")
    assert code == 0
    assert images(dataset) == {"sub-01_asl"}
    assert set(left_out(capsys.readouterr().out)) == {27, 28}
    assert types(dataset) == ["m0scan", *["label", "control"] * 3]
    assert values(dataset) == LEVELS
    asl = sidecar(dataset)
    assert (asl["LabelingDuration"], asl["PostLabelingDelay"]) == (1.5, 2.0)
    assert asl["BackgroundSuppression"] is False
    assert asl["M0Type"] == "Included"
    np.testing.assert_allclose(asl["SliceTiming"], np.arange(6) * 0.0375, atol=1e-6)
    assert validator_errors(dataset) == []


SEVERAL = XaProtocol(
    labeling_duration=1.5,
    delays=(0.5, 1.0, 2.0),
    acquisition_type="3D",
    sequence=r"%SiemensSeq%\tgse_asl",
    series_description="asl_3d_tra_multi",
    suppression=SUPPRESSED,
)


def test_enhanced_with_several_delays_told_by_each_image(tmp_path: Path) -> None:
    delays = [0.5, 0.5, 0.5, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0]
    tags = ["M_ZERO_SCAN", *["LABEL", "CONTROL"] * 4]
    xa(tmp_path / "dicom", [M0, *pairs(4)], tags, SEVERAL, delays=delays)
    code, dataset = convert(tmp_path / "dicom")
    assert code == 0
    asl = sidecar(dataset)
    assert asl["PostLabelingDelay"] == [0.0, *delays[1:]]
    assert asl["LabelingDuration"] == 1.5
    assert asl["BackgroundSuppression"] is True
    assert "SliceTiming" not in asl
    assert validator_errors(dataset) == []


def test_enhanced_with_several_delays_and_repeats_unknown(tmp_path: Path) -> None:
    tags = ["M_ZERO_SCAN", *["LABEL", "CONTROL"] * 4]
    xa(tmp_path / "dicom", [M0, *pairs(4)], tags, SEVERAL)
    assert convert(tmp_path / "dicom")[0] == 3
    code, dataset = convert(tmp_path / "dicom", "--repeats-per-delay", 1, 2, 1)
    assert code == 0
    assert sidecar(dataset)["PostLabelingDelay"] == [0, 0.5, 0.5, 1, 1, 1, 1, 2, 2]


@pytest.mark.parametrize("interoperable", [False, True])
def test_without_a_protocol_each_volume_has_the_delay_of_its_own_image(
    interoperable: bool, tmp_path: Path
) -> None:
    delays = [0.5, 0.5, 0.5, 1.0, 1.0, 2.0, 2.0]
    stack, folder = volumes([M0, *pairs(3)]), tmp_path / "dicom"
    if interoperable:
        siemens_xa_classic.write(folder, STUDY, stack, AFFINE, delays=delays)
    else:
        siemens_xa.write(folder, STUDY, stack, AFFINE, TAGS, delays=delays)
    for path in folder.rglob("*.dcm"):
        image = dcmread(path)
        for place in (image, *image.get("SharedFunctionalGroupsSequence", ())):
            for tag in ((0x0021, 0x1019), (0x0021, 0x10FE)):
                if tag in place:
                    del place[tag]
        image.save_as(path)
    options = ("--labeling-type", "PCASL", "--labeling-duration", 1.8)
    code, dataset = convert(folder, *options)
    assert code == 0
    asl = sidecar(dataset)
    assert asl["PostLabelingDelay"] == [0, *delays[1:]]
    assert asl["CereflowOrigins"]["PostLabelingDelay"] == "header (0021,1189)"


def test_a_delay_of_zero_means_that_durations_differ(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    protocol = replace(SEVERAL, delays=(0.0, 0.5, 1.0))
    xa(tmp_path / "dicom", LEVELS, TAGS, protocol)
    code, dataset = convert(tmp_path / "dicom")
    assert code == 3
    assert "labelling then lasts differently long" in capsys.readouterr().out
    assert not {"PostLabelingDelay", "LabelingDuration"} & set(sidecar(dataset))


SHIFTED = ["LABEL", *["CONTROL", "LABEL"] * 3]


@pytest.mark.parametrize("comments", [["M0_SCAN", *["LABEL", "CONTROL"] * 3], []])
def test_tags_that_come_one_volume_late_are_not_followed(
    comments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    protocol = XaProtocol(acquisition_type="3D", suppression=8, protocol_name="pcasl_3d")
    xa(tmp_path / "dicom", [M0, *pairs(3)], SHIFTED, protocol, comments=comments)
    code, dataset = convert(tmp_path / "dicom")
    assert code == 0
    assert types(dataset) == ["m0scan", *["label", "control"] * 3]
    asl = sidecar(dataset)
    assert asl["BackgroundSuppression"] is True
    told = "header" if comments else "inferred from the signal"
    assert asl["CereflowOrigins"]["M0Type"] == told
    assert ("name each volume by the one after it" in capsys.readouterr().out) != bool(comments)


# -- XA, interoperability ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "protocol_name", "count"),
    [(1, "asl_2d_tra", 3), (2, "tgse_asl", 3), (0, "tgse_asl", 1)],
)
def test_interoperability_export_is_joined_in_order(
    step: int, protocol_name: str, count: int, tmp_path: Path
) -> None:
    levels = [M0, *pairs(count)]
    protocol = XaProtocol(
        labeling_duration=1.5,
        delays=(2.0,),
        number_step=step,
        protocol_name=protocol_name,
        suppression=SUPPRESSED,
    )
    comments = ["M0_SCAN", *["LABEL", "CONTROL"] * count] if step == 2 else []
    siemens_xa_classic.write(
        tmp_path / "dicom", STUDY, volumes(levels), AFFINE, protocol=protocol, comments=comments
    )
    code, dataset = convert(tmp_path / "dicom")
    assert code == 0
    assert images(dataset) == {"sub-01_asl"}
    assert values(dataset) == levels
    assert types(dataset) == ["m0scan", *["label", "control"] * count]
    asl = sidecar(dataset)
    assert (asl["LabelingDuration"], asl["PostLabelingDelay"]) == (1.5, 2.0)
    assert asl["ArterialSpinLabelingType"] == "PCASL"
    told = "header" if comments else "inferred from the signal"
    assert asl["CereflowOrigins"]["M0Type"] == told
    np.testing.assert_allclose(asl["SliceTiming"], np.arange(6) * 0.0375, atol=1e-6)
    assert len(asl["CereflowSeries"]) == len(levels)
    assert validator_errors(dataset) == []


def test_interoperability_export_with_several_delays_waits_for_their_repeats(
    tmp_path: Path,
) -> None:
    protocol = replace(SEVERAL, delays=(0.5, 1.0))
    levels = volumes([M0, *pairs(3)])
    siemens_xa_classic.write(tmp_path / "dicom", STUDY, levels, AFFINE, protocol=protocol)
    assert convert(tmp_path / "dicom")[0] == 3
    code, dataset = convert(tmp_path / "dicom", "--repeats-per-delay", 1, 2)
    assert code == 0
    assert sidecar(dataset)["PostLabelingDelay"] == [0, 0.5, 0.5, 1, 1, 1, 1]
    assert validator_errors(dataset) == []


def test_interoperability_export_without_protocol_asks_for_everything(tmp_path: Path) -> None:
    siemens_xa_classic.write(
        tmp_path / "dicom", STUDY, volumes([M0, *pairs(3)]), AFFINE, with_protocol=False
    )
    assert convert(tmp_path / "dicom")[0] == 3
    options = ("--labeling-type", "PASL", "--post-labeling-delay", 1.8, "--bolus-cutoff", 0.7)
    code, dataset = convert(tmp_path / "dicom", *options)
    assert code == 0
    asl = sidecar(dataset)
    assert (asl["PostLabelingDelay"], asl["BolusCutOffDelayTime"]) == (1.8, 0.7)
    assert validator_errors(dataset) == []
