"""Siemens PASL, the older research protocol and T1w, from ZIP to BIDS."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bids_validation import validator_errors
from pydicom import dcmread
from siemens_uploads import (
    AFFINE,
    LABEL,
    M0,
    STUDY,
    convert,
    images,
    left_out,
    pairs,
    pending,
    plain_heudiconv,
    sidecar,
    types,
    values,
    volumes,
)

from cereflow_bids.demo.writers import siemens, siemens_slices, siemens_xa
from cereflow_bids.demo.writers.siemens_protocol import (
    NOT_SUPPRESSED,
    SiemensProtocol,
    pulsed,
)
from cereflow_bids.demo.writers.siemens_xa_protocol import XaProtocol

PERFUSION = pairs(4, label_first=False)


def ve(folder: Path, levels: list[float], protocol: SiemensProtocol) -> list[Path]:
    target = folder / f"{protocol.series_number:03d}"
    return siemens.write(target, STUDY, volumes(levels), AFFINE, protocol=protocol)


def slices(
    folder: Path, levels: list[float], protocol: siemens_slices.SliceProtocol
) -> list[Path]:
    target = folder / f"{protocol.series_number:03d}"
    return siemens_slices.write(target, STUDY, volumes(levels), AFFINE, protocol)


# -- product PASL --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["asl_3d_tra_iso", "Parameter_Fit", "pasl_3d"])
def test_pasl_in_3d_with_a_calibration(name: str, tmp_path: Path) -> None:
    protocol = pulsed(bolus=0.8, inversion_time=2.0, series_description=name)
    ve(tmp_path / "dicom", PERFUSION, protocol)
    calibration = pulsed(
        bolus=0.1,
        inversion_time=4.0,
        series_number=13,
        series_description="asl_3d_tra_m0",
        suppression=NOT_SUPPRESSED,
    )
    ve(tmp_path / "dicom", [M0, M0 + 1], replace(calibration, repetition_time=6.0))
    code, dataset = convert(tmp_path / "dicom")
    assert code == 0
    assert types(dataset) == ["control", "label"] * 4
    assert values(dataset) == PERFUSION
    assert values(dataset, "m0scan") == [M0, M0 + 1]
    asl = sidecar(dataset)
    assert asl["ArterialSpinLabelingType"] == "PASL"
    assert asl["PASLType"] == "FAIR QII"
    assert asl["PostLabelingDelay"] == 2.0
    assert asl["BolusCutOffFlag"] is True
    assert asl["BolusCutOffDelayTime"] == 0.8
    assert asl["BolusCutOffTechnique"] == "QUIPSSII"
    assert asl["M0Type"] == "Separate"
    assert asl["BackgroundSuppression"] is True
    assert not {"LabelingDuration", "SliceTiming"} & set(asl)
    assert sidecar(dataset, "m0scan")["RepetitionTimePreparation"] == 6.0
    assert validator_errors(dataset) == []


def test_an_m0_prepared_like_the_asl_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ve(tmp_path / "dicom", PERFUSION, pulsed())
    false = pulsed(series_number=13, series_description="asl_3d_tra_m0")
    ve(tmp_path / "dicom", [310, 311], false)
    code, dataset = convert(tmp_path / "dicom")
    assert code == 0
    assert images(dataset) == {"sub-01_asl"}
    assert "no calibration scan" in left_out(capsys.readouterr().out)[13]
    assert sidecar(dataset)["M0Type"] == "Absent"
    assert validator_errors(dataset) == []


def test_pasl_in_2d_with_a_proton_density_scan(tmp_path: Path) -> None:
    protocol = pulsed(
        three_dimensional=False,
        inversion_time=1.8,
        series_description="asl_2d_tra",
        suppression=NOT_SUPPRESSED,
    )
    levels = pairs(4)
    ve(tmp_path / "dicom", levels, protocol)
    slices(tmp_path / "dicom", [M0], siemens_slices.PROTON_DENSITY)
    code, dataset = convert(tmp_path / "dicom")
    assert code == 0
    assert types(dataset) == ["label", "control"] * 4
    assert values(dataset) == levels
    assert values(dataset, "m0scan") == [M0]
    asl = sidecar(dataset)
    assert (asl["PostLabelingDelay"], asl["BolusCutOffDelayTime"]) == (1.8, 0.7)
    assert asl["BackgroundSuppression"] is False
    assert asl["M0Type"] == "Separate"
    np.testing.assert_allclose(asl["SliceTiming"], np.arange(6) * 0.0375, atol=1e-6)
    assert validator_errors(dataset) == []


def test_pasl_at_several_inversion_times_is_one_run(tmp_path: Path) -> None:
    for number, time in ((11, 1.2), (12, 2.4)):
        ve(tmp_path / "dicom", PERFUSION, pulsed(inversion_time=time, series_number=number))
    code, dataset = convert(tmp_path / "dicom")
    assert code == 0
    assert images(dataset) == {"sub-01_asl"}
    asl = sidecar(dataset)
    assert asl["PostLabelingDelay"] == [1.2] * 8 + [2.4] * 8
    assert asl["BolusCutOffDelayTime"] == 0.7
    assert validator_errors(dataset) == []


def test_pasl_with_three_times_is_cut_off_at_two(tmp_path: Path) -> None:
    protocol = replace(
        pulsed(three_dimensional=False, series_description="asl_2d_tra"),
        inversion_times={0: 1.8, 1: 0.7, 2: 1.6},
        mode=2,
    )
    ve(tmp_path / "dicom", PERFUSION, protocol)
    code, dataset = convert(tmp_path / "dicom")
    assert code == 0
    asl = sidecar(dataset)
    assert asl["PostLabelingDelay"] == 1.8
    assert asl["BolusCutOffDelayTime"] == [0.7, 1.6]
    assert asl["BolusCutOffTechnique"] == "Q2TIPS"
    assert asl["CereflowOrigins"]["BolusCutOffTechnique"].startswith("inferred")
    assert validator_errors(dataset) == []


def test_pasl_of_an_unknown_kind_waits_for_its_bolus(tmp_path: Path) -> None:
    protocol = replace(pulsed(three_dimensional=False, series_description="asl_2d_tra"), mode=64)
    ve(tmp_path / "dicom", PERFUSION, protocol)
    assert convert(tmp_path / "dicom")[0] == 3
    code, dataset = convert(tmp_path / "dicom", "--bolus-cutoff", 0.6)
    assert code == 0
    assert sidecar(dataset)["BolusCutOffDelayTime"] == 0.6


def test_enhanced_pasl(tmp_path: Path) -> None:
    protocol = XaProtocol(
        contrast="PULSED",
        delays=(1.99,),
        acquisition_type="3D",
        sequence=r"%SiemensSeq%\tgse_asl",
        series_description="asl_3d_tra",
    )
    tags = ["CONTROL", "LABEL"] * 4
    target = tmp_path / "dicom" / "025"
    siemens_xa.write(target, STUDY, volumes(PERFUSION), AFFINE, tags, protocol=protocol)
    code, dataset = convert(tmp_path / "dicom")
    assert code == 0
    asl = sidecar(dataset)
    assert asl["ArterialSpinLabelingType"] == "PASL"
    assert (asl["PostLabelingDelay"], asl["BolusCutOffDelayTime"]) == (1.99, 0.7)
    assert types(dataset) == ["control", "label"] * 4
    assert validator_errors(dataset) == []


def test_maps_that_the_scanner_fitted_are_no_source_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ve(tmp_path / "dicom", PERFUSION, pulsed())
    fitted = pulsed(series_number=19, series_description="Parameter_Fit")
    names = ("M0 Image", "relCBF", "Bolus Arrival Time (BAT) Image")
    for path, name in zip(ve(tmp_path / "dicom", [900, 50, 80], fitted), names, strict=True):
        image = dcmread(path)
        image.ImageComments = name
        image.save_as(path)
    code, dataset = convert(tmp_path / "dicom")
    assert code == 0
    assert images(dataset) == {"sub-01_asl"}
    assert values(dataset) == PERFUSION
    assert "fitted" in left_out(capsys.readouterr().out)[19]


def test_fitted_maps_without_their_comments_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fitted = pulsed(series_number=19, series_description="Parameter_Fit")
    ve(tmp_path / "dicom", [900, 50, 80], fitted)
    code, dataset = convert(tmp_path / "dicom")
    assert code == 1
    assert "holds the scanner's fitted maps" in capsys.readouterr().err
    assert not dataset.exists()


# -- the older research protocol -----------------------------------------------------------------

TIMES = (1.0, 1.5, 2.0, 2.5)


def research(folder: Path, *, selective_is_brighter: bool) -> None:
    """Write four inversion times with three repeats, each kind a series, and their M0."""
    high, low = [330.0, 331.0, 332.0], [LABEL + 0.0, LABEL + 1.0, LABEL + 2.0]
    for place, time in enumerate(TIMES):
        for step, kind in enumerate(("ns", "ss")):
            bright = (kind == "ss") == selective_is_brighter
            levels = [value + 5 * place for value in (high if bright else low)]
            slices(folder, levels, siemens_slices.research(20 + 2 * place + step, kind, time))
    slices(folder, [M0], siemens_slices.research(40, "ss", 4.0))
    slices(folder, [M0 - 9], siemens_slices.research(41, "ns", 4.0))


@pytest.mark.parametrize("selective_is_brighter", [True, False])
def test_four_inversion_times_in_eight_series_are_one_run(
    selective_is_brighter: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    research(tmp_path / "dicom", selective_is_brighter=selective_is_brighter)
    options = ("--bolus-cutoff", 0.7, "--background-suppression", "yes")
    code, dataset = convert(tmp_path / "dicom", *options)
    assert code == 0
    assert images(dataset) == {"sub-01_asl", "sub-01_m0scan"}
    asl = sidecar(dataset)
    assert asl["PostLabelingDelay"] == [time for time in TIMES for _ in range(6)]
    by_kind: dict[str, list[float]] = {"control": [], "label": []}
    for kind, value in zip(types(dataset), values(dataset), strict=True):
        by_kind[kind].append(value)
    assert by_kind["control"] == [330 + n + 5 * k for k in range(4) for n in range(3)]
    assert by_kind["label"] == [LABEL + n + 5 * k for k in range(4) for n in range(3)]
    assert asl["TotalAcquiredPairs"] == 12
    assert asl["ArterialSpinLabelingType"] == "PASL"
    assert asl["CereflowOrigins"]["ArterialSpinLabelingType"].startswith("inferred")
    assert asl["M0Type"] == "Separate"
    assert values(dataset, "m0scan") == [M0]
    said = capsys.readouterr().out
    assert "told by the signal" in said
    assert "inversion time of the M0" in left_out(said)[41]
    assert validator_errors(dataset) == []


def test_inversion_times_in_any_order_keep_their_delays_and_repeated_series_count(
    tmp_path: Path,
) -> None:
    number, bright = 20, {2.5: 330.0, 1.0: 350.0}
    for repeat in range(2):
        for time, value in bright.items():
            for kind in ("ns", "ss"):
                level = value + repeat - (40 if kind == "ss" else 0)
                protocol = siemens_slices.research(number, kind, time)
                slices(tmp_path / "dicom", [level], protocol)
                number += 1
    options = ("--bolus-cutoff", 0.7, "--background-suppression", "yes")
    code, dataset = convert(tmp_path / "dicom", *options)
    assert code == 0
    assert values(dataset) == [290, 330, 291, 331, 310, 350, 311, 351]
    asl = sidecar(dataset)
    assert asl["PostLabelingDelay"] == [2.5] * 4 + [1.0] * 4
    assert asl["TotalAcquiredPairs"] == 4
    assert sorted(k for trace in asl["CereflowSeries"] for k in trace["Volumes"]) == [*range(8)]


def test_research_protocol_says_what_it_needs(tmp_path: Path) -> None:
    research(tmp_path / "dicom", selective_is_brighter=True)
    code, dataset = convert(tmp_path / "dicom")
    assert code == 3
    (entry,) = pending(dataset)
    assert entry["missing"] == ["BolusCutOffDelayTime", "BackgroundSuppression"]
    assert entry["series"] == list(range(20, 28))


def test_a_research_series_without_its_partner_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slices(tmp_path / "dicom", [300, 301], siemens_slices.research(20, "ns", 1.0))
    code, dataset = convert(tmp_path / "dicom")
    assert code == 1
    assert "export both series of every delay" in capsys.readouterr().err
    assert not dataset.exists()


# -- T1w, and heudiconv alone --------------------------------------------------------------------


def test_t1w_by_itself_and_a_thick_one_for_display(tmp_path: Path) -> None:
    ve(tmp_path / "dicom", [M0, *pairs(2)], SiemensProtocol())
    slices(tmp_path / "dicom", [500], siemens_slices.MPRAGE)
    slices(tmp_path / "dicom", [600], siemens_slices.THICK_T1)
    code, dataset = convert(tmp_path / "dicom")
    assert code == 0
    assert images(dataset) == {"sub-01_asl", "sub-01_T1w", "sub-01_acq-2D_T1w"}
    assert validator_errors(dataset) == []


def test_plain_heudiconv_takes_the_same_folders(tmp_path: Path) -> None:
    ve(tmp_path / "dicom", [M0, *pairs(2)], SiemensProtocol())
    ve(tmp_path / "dicom", PERFUSION, pulsed())
    ve(tmp_path / "dicom", [M0], pulsed(series_number=12, series_description="asl_3d_tra_m0"))
    tags = ["LABEL", "CONTROL"] * 2
    siemens_xa.write(tmp_path / "dicom" / "025", STUDY, volumes(pairs(2)), AFFINE, tags)
    slices(tmp_path / "dicom", [300, 301], siemens_slices.research(20, "ns", 1.0))
    slices(tmp_path / "dicom", [M0], siemens_slices.research(40, "ss", 4.0))
    slices(tmp_path / "dicom", [500], siemens_slices.MPRAGE)
    slices(tmp_path / "dicom", [600], siemens_slices.THICK_T1)
    assert plain_heudiconv(tmp_path / "dicom") == {
        *(f"sub-01_run-{number}_asl" for number in (1, 2, 3, 4)),
        "sub-01_run-1_m0scan",
        "sub-01_run-2_m0scan",
        "sub-01_T1w",
        "sub-01_acq-2D_T1w",
    }
