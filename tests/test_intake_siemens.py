"""Siemens pCASL on VE, from ZIP to BIDS: one mosaic per volume."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bids_validation import validator_errors
from siemens_uploads import (
    AFFINE,
    M0,
    STUDY,
    convert,
    images,
    left_out,
    pairs,
    pending,
    sidecar,
    types,
    values,
    volumes,
)

from cereflow_bids.demo.writers import siemens, siemens_slices
from cereflow_bids.demo.writers.siemens_protocol import (
    DELAYS,
    NOT_SUPPRESSED,
    SiemensProtocol,
    several_delays,
)

REPEATS = (2, 2, 2, 3, 3)
ONE_DELAY = [M0, M0 - 1, *pairs(4)]
FIVE_DELAYS = [M0, M0 - 1, *pairs(12)]
PER_VOLUME = [0.0, 0.0, *np.repeat(DELAYS, [2 * count for count in REPEATS]).tolist()]
BLOCKS = 1.656


def ve(folder: Path, levels: list[float], protocol: SiemensProtocol) -> None:
    siemens.write(
        folder / f"{protocol.series_number:03d}", STUDY, volumes(levels), AFFINE, protocol=protocol
    )


# -- VE mosaics ----------------------------------------------------------------------------------


def test_one_delay_with_its_m0_pair(tmp_path: Path) -> None:
    ve(tmp_path / "dicom", ONE_DELAY, SiemensProtocol(series_description="tgse_pcasl_pld1800"))
    code, dataset = convert(tmp_path / "dicom")
    assert code == 0
    assert types(dataset) == ["m0scan", "m0scan", *["label", "control"] * 4]
    assert values(dataset) == ONE_DELAY
    asl = sidecar(dataset)
    assert asl["PostLabelingDelay"] == 1.8
    assert asl["LabelingDuration"] == BLOCKS
    assert asl["ArterialSpinLabelingType"] == "PCASL"
    assert asl["TotalAcquiredPairs"] == 4
    assert asl["M0Type"] == "Included"
    assert asl["BackgroundSuppression"] is True
    assert asl["RepetitionTimePreparation"] == 3.48
    assert asl["CereflowOrigins"]["PostLabelingDelay"] == "header (Siemens protocol: adFree[2])"
    assert asl["CereflowSeries"][0]["SeriesNumber"] == 15
    assert "SliceTiming" not in asl
    assert validator_errors(dataset) == []


def test_five_delays_and_unequal_repeats_from_the_protocol(tmp_path: Path) -> None:
    ve(tmp_path / "dicom", FIVE_DELAYS, several_delays(DELAYS, REPEATS))
    code, dataset = convert(tmp_path / "dicom")
    assert code == 0
    assert types(dataset) == ["m0scan", "m0scan", *["label", "control"] * 12]
    assert values(dataset) == FIVE_DELAYS
    asl = sidecar(dataset)
    assert asl["PostLabelingDelay"] == PER_VOLUME
    assert asl["LabelingDuration"] == BLOCKS
    assert asl["TotalAcquiredPairs"] == 12
    assert "alFree[0] to alFree[4]" in asl["CereflowOrigins"]["PostLabelingDelay"]
    assert validator_errors(dataset) == []


def test_five_delays_of_which_the_header_is_silent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ve(tmp_path / "dicom", FIVE_DELAYS, several_delays(DELAYS))
    code, dataset = convert(tmp_path / "dicom")
    assert code == 3
    assert "its header holds none of them" in capsys.readouterr().out
    (entry,) = pending(dataset)
    assert "PostLabelingDelay" in entry["missing"]
    assert "PostLabelingDelay" not in sidecar(dataset)
    code, dataset = convert(tmp_path / "dicom", "--post-labeling-delay", *DELAYS)
    assert code == 3
    (entry,) = pending(dataset)
    assert entry["missing"] == ["RepeatsPerDelay"], "never assumed equal"
    assert entry["flags"] == ["--repeats-per-delay NUMBER [NUMBER ...]"]
    options = ("--post-labeling-delay", *DELAYS, "--repeats-per-delay", *REPEATS)
    code, dataset = convert(tmp_path / "dicom", *options)
    assert code == 0
    asl = sidecar(dataset)
    assert asl["PostLabelingDelay"] == PER_VOLUME
    assert asl["CereflowOrigins"]["PostLabelingDelay"] == "command line"
    assert validator_errors(dataset) == []


def test_one_delay_in_the_header_of_a_series_named_for_five(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    protocol = replace(
        several_delays(series_description="pcasl_5delay_3d"), post_labeling_delay=0.5
    )
    ve(tmp_path / "dicom", FIVE_DELAYS, protocol)
    code, dataset = convert(tmp_path / "dicom")
    assert code == 3
    assert "PostLabelingDelay" not in sidecar(dataset)
    assert "several delays, its header holds one (0.5 s)" in capsys.readouterr().out


def test_repeats_that_do_not_fit_the_volumes_are_not_used(tmp_path: Path) -> None:
    ve(tmp_path / "dicom", FIVE_DELAYS, several_delays(DELAYS, (3, 3, 3, 3, 3)))
    code, dataset = convert(tmp_path / "dicom")
    assert code == 3
    assert "PostLabelingDelay" not in sidecar(dataset)


def test_delays_one_after_the_other_become_one_run(tmp_path: Path) -> None:
    for number, delay in ((15, 1.0), (17, 2.0)):
        protocol = SiemensProtocol(post_labeling_delay=delay, series_number=number)
        ve(tmp_path / "dicom", [M0 + number, *pairs(2)], protocol)
    code, dataset = convert(tmp_path / "dicom")
    assert code == 0
    assert images(dataset) == {"sub-01_asl"}
    assert values(dataset) == [M0 + 15, *pairs(2), M0 + 17, *pairs(2)]
    asl = sidecar(dataset)
    assert asl["PostLabelingDelay"] == [0, 1.0, 1.0, 1.0, 1.0, 0, 2.0, 2.0, 2.0, 2.0]
    assert [one["SeriesNumber"] for one in asl["CereflowSeries"]] == [15, 17]
    assert validator_errors(dataset) == []


def test_delays_that_only_the_user_knows_go_to_the_series_in_turn(tmp_path: Path) -> None:
    for number in (15, 17):
        protocol = SiemensProtocol(post_labeling_delay=None, series_number=number)
        ve(tmp_path / "dicom", pairs(2), protocol)
    assert convert(tmp_path / "dicom")[0] == 3
    code, dataset = convert(tmp_path / "dicom", "--post-labeling-delay", 1.0, 2.0)
    assert code == 0
    assert images(dataset) == {"sub-01_asl"}
    assert sidecar(dataset)["PostLabelingDelay"] == [1.0] * 4 + [2.0] * 4
    assert validator_errors(dataset) == []


def test_a_delay_measured_twice_is_two_runs(tmp_path: Path) -> None:
    for number in (15, 17):
        ve(tmp_path / "dicom", pairs(2), SiemensProtocol(series_number=number))
    code, dataset = convert(tmp_path / "dicom")
    assert code == 0
    assert images(dataset) == {"sub-01_run-1_asl", "sub-01_run-2_asl"}


def test_m0_in_a_series_of_its_own(tmp_path: Path) -> None:
    ve(tmp_path / "dicom", pairs(4), SiemensProtocol())
    calibration = SiemensProtocol(
        series_number=16,
        series_description="tgse_pcasl_m0",
        suppression=NOT_SUPPRESSED,
        repetition_time=6.0,
    )
    ve(tmp_path / "dicom", [M0, M0 + 1], calibration)
    code, dataset = convert(tmp_path / "dicom")
    assert code == 0
    assert types(dataset) == ["label", "control"] * 4
    assert sidecar(dataset)["M0Type"] == "Separate"
    assert values(dataset, "m0scan") == [M0, M0 + 1]
    separate = sidecar(dataset, "m0scan")
    assert separate["IntendedFor"] == ["bids::sub-01/perf/sub-01_asl.nii.gz"]
    assert separate["RepetitionTimePreparation"] == 6.0
    assert validator_errors(dataset) == []


def test_maps_of_the_scanner_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ve(tmp_path / "dicom", ONE_DELAY, SiemensProtocol())
    derived = ("DERIVED", "PRIMARY", "ASL", "NONE", "ND", "MOSAIC")
    for number, name, kind in (
        (16, "PWI_tgse_pcasl", SiemensProtocol().image_type),
        (17, "Perfusion_Weighted", derived),
        (18, "relCBF", derived),
        (19, "MoCoSeries", (*SiemensProtocol().image_type, "MOCO")),
    ):
        protocol = SiemensProtocol(
            series_number=number,
            series_description=name,
            image_type=kind,
            protocol_name="tgse_pcasl",
        )
        ve(tmp_path / "dicom", [40, 41], protocol)
    colours = siemens_slices.SliceProtocol(
        20, "tgse_pcasl_map", image_type=("ORIGINAL", "PRIMARY", "ASL", "NONE")
    )
    channels = volumes([200, 100, 50])
    siemens_slices.write_colour(tmp_path / "dicom" / "020", STUDY, channels, AFFINE, colours)
    code, dataset = convert(tmp_path / "dicom")
    assert code == 0
    assert images(dataset) == {"sub-01_asl"}
    assert values(dataset) == ONE_DELAY
    reasons = left_out(capsys.readouterr().out)
    assert set(reasons) == {16, 17, 18, 19, 20}
    assert all("scanner computed" in why for why in reasons.values())
    assert validator_errors(dataset) == []
