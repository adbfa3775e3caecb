"""Which separate M0 is for which run, from ZIP to BIDS, and what is said in doubt."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from bids_validation import validator_errors
from numpy.typing import NDArray
from siemens_uploads import (
    AFFINE,
    M0,
    SHAPE,
    STUDY,
    convert,
    images,
    pairs,
    sidecar,
    types,
    values,
    volumes,
)

from cereflow_bids.demo.writers import siemens, siemens_slices, siemens_xa_classic
from cereflow_bids.demo.writers.siemens_protocol import (
    NOT_SUPPRESSED,
    SiemensProtocol,
    pulsed,
)
from cereflow_bids.demo.writers.siemens_xa_protocol import XaProtocol

PERFUSION = pairs(4, label_first=False)
CONTINUOUS = SiemensProtocol(series_number=3)
CONTINUOUS_M0 = SiemensProtocol(
    series_number=4,
    series_description="tgse_pcasl_m0",
    suppression=NOT_SUPPRESSED,
    repetition_time=6.0,
)
PULSED_M0 = replace(
    pulsed(series_number=12, series_description="tgse_pasl_m0", suppression=NOT_SUPPRESSED),
    repetition_time=5.0,
)


def ve(folder: Path, levels: Sequence[float], protocol: SiemensProtocol) -> None:
    siemens.write(
        folder / f"{protocol.series_number:03d}",
        STUDY,
        volumes(levels),
        AFFINE,
        protocol=protocol,
    )


def intended(dataset: Path, name: str = "m0scan") -> list[str]:
    """Return the runs that an M0 is for, without what all of them share."""
    links = sidecar(dataset, name)["IntendedFor"]
    start = "bids::sub-01/perf/sub-01_"
    assert all(link.startswith(start) for link in links)
    return [link.removeprefix(start).removesuffix(".nii.gz") for link in links]


# -- of which labelling --------------------------------------------------------------------------


def test_an_m0_named_for_one_labelling_is_not_shared_with_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ve(tmp_path / "dicom", pairs(4), CONTINUOUS)
    ve(tmp_path / "dicom", [M0], CONTINUOUS_M0)
    ve(tmp_path / "dicom", PERFUSION, pulsed(series_number=9))
    code, dataset = convert(tmp_path / "dicom")
    assert code == 0
    assert intended(dataset) == ["run-1_asl"]
    assert sidecar(dataset, "run-1_asl")["M0Type"] == "Separate"
    alone = sidecar(dataset, "run-2_asl")
    assert (alone["ArterialSpinLabelingType"], alone["M0Type"]) == ("PASL", "Absent")
    assert "no M0 series is for this run" in alone["CereflowOrigins"]["M0Type"]
    said = capsys.readouterr().out
    assert "The M0 of series 4 is not for this run (M0Type Absent)" in said
    assert "belongs to the PCASL of series 3, and this is PASL" in said
    assert validator_errors(dataset) == []


def test_each_labelling_has_its_own_m0_whichever_is_nearer(tmp_path: Path) -> None:
    ve(tmp_path / "dicom", pairs(4), replace(CONTINUOUS, series_number=11))
    ve(tmp_path / "dicom", [M0 + 1], PULSED_M0)
    ve(tmp_path / "dicom", PERFUSION, pulsed(series_number=5))
    ve(tmp_path / "dicom", [M0], CONTINUOUS_M0)
    code, dataset = convert(tmp_path / "dicom")
    assert code == 0
    assert sidecar(dataset, "run-1_asl")["ArterialSpinLabelingType"] == "PASL"
    assert values(dataset, "run-1_m0scan") == [M0]
    assert intended(dataset, "run-1_m0scan") == ["run-2_asl"]
    assert intended(dataset, "run-2_m0scan") == ["run-1_asl"]
    assert validator_errors(dataset) == []


def test_a_proton_density_scan_serves_two_labellings_and_that_is_said_of_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ve(tmp_path / "dicom", pairs(4), CONTINUOUS)
    ve(tmp_path / "dicom", PERFUSION, pulsed(series_number=8))
    siemens_slices.write(
        tmp_path / "dicom/009", STUDY, volumes([M0]), AFFINE, siemens_slices.PROTON_DENSITY
    )
    code, dataset = convert(tmp_path / "dicom")
    assert code == 0
    assert intended(dataset) == ["run-1_asl", "run-2_asl"]
    assert capsys.readouterr().out.count("Nothing tells for which of the ASL sequences") == 2


def test_an_m0_of_another_labelling_is_taken_with_a_warning_where_it_is_the_only_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ve(tmp_path / "dicom", PERFUSION, pulsed(series_number=3))
    ve(tmp_path / "dicom", [M0], CONTINUOUS_M0)
    code, dataset = convert(tmp_path / "dicom")
    assert code == 0
    assert intended(dataset) == ["asl"]
    said = capsys.readouterr().out
    assert "The M0 of series 4 is of a PCASL sequence, this run is PASL" in said


def test_a_fitting_m0_raises_no_doubt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ve(tmp_path / "dicom", pairs(4), CONTINUOUS)
    ve(tmp_path / "dicom", [M0], CONTINUOUS_M0)
    code, dataset = convert(tmp_path / "dicom")
    assert code == 0
    assert intended(dataset) == ["asl"]
    said = capsys.readouterr().out
    assert "M0 of series" not in said
    assert "for no run" not in said


# -- of which grid -------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1.001, 1.25])
def test_an_m0_serves_only_runs_with_its_voxels(
    factor: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ve(tmp_path / "dicom", pairs(4), CONTINUOUS)
    affine = AFFINE.copy()
    affine[:3, :3] *= factor
    siemens.write(tmp_path / "dicom/004", STUDY, volumes([M0]), affine, protocol=CONTINUOUS_M0)
    code, dataset = convert(tmp_path / "dicom")
    assert code == 0
    assert intended(dataset) == (["asl"] if factor < 1.01 else [])
    assert sidecar(dataset)["M0Type"] == ("Separate" if factor < 1.01 else "Absent")
    said = capsys.readouterr().out
    grids = "12 x 14 x 6 of 5 x 5 x 6.25 mm, those of the ASL series 12 x 14 x 6 of 4 x 4 x 5 mm"
    assert said.count(grids) == (0 if factor < 1.01 else 2)
    assert ("This M0 is for no run" in said) == (factor > 1.01)
    assert validator_errors(dataset) == []


def test_an_m0_of_another_matrix_is_for_the_run_that_has_it(tmp_path: Path) -> None:
    ve(tmp_path / "dicom", pairs(4), CONTINUOUS)
    ve(tmp_path / "dicom", [M0], replace(CONTINUOUS_M0, series_number=9))
    for number, levels, protocol in (
        (7, pairs(4), replace(CONTINUOUS, series_number=7)),
        (4, [M0 + 1], CONTINUOUS_M0),
    ):
        stack = volumes(levels)[:, :, :5]
        siemens.write(tmp_path / f"dicom/{number}", STUDY, stack, AFFINE, protocol=protocol)
    code, dataset = convert(tmp_path / "dicom")
    assert code == 0
    assert intended(dataset, "run-1_m0scan") == ["run-2_asl"]
    assert intended(dataset, "run-2_m0scan") == ["run-1_asl"]
    assert validator_errors(dataset) == []


# -- of several ----------------------------------------------------------------------------------


def test_a_repeated_m0_says_that_it_is_for_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ve(tmp_path / "dicom", pairs(4), CONTINUOUS)
    ve(tmp_path / "dicom", [M0], CONTINUOUS_M0)
    ve(tmp_path / "dicom", [M0 + 1], replace(CONTINUOUS_M0, series_number=5))
    code, dataset = convert(tmp_path / "dicom")
    assert code == 0
    assert intended(dataset, "run-1_m0scan") == ["asl"]
    assert intended(dataset, "run-2_m0scan") == []
    said = capsys.readouterr().out
    assert said.count("This M0 is for no run, and its IntendedFor is empty") == 1
    assert "the M0 of series 4 is nearer" in said
    assert validator_errors(dataset) == []


# -- a protocol that ran twice -------------------------------------------------------------------


def interoperable(
    folder: Path, first: int, levels: Sequence[float], *, comments: Sequence[str] = ()
) -> None:
    siemens_xa_classic.write(
        folder / f"{first}",
        STUDY,
        volumes(levels),
        AFFINE,
        protocol=XaProtocol(first_number=first),
        comments=comments,
    )


LEVELS = [M0, *pairs(3)]
COMMENTS = ["M0_SCAN", *["LABEL", "CONTROL"] * 3]


@pytest.mark.parametrize(
    ("second", "m0", "comments"),
    [(30, M0, ()), (30, 330, ()), (12, M0, ()), (12, 330, COMMENTS)],
)
def test_a_protocol_of_one_volume_per_series_that_ran_twice_is_two_runs(
    second: int,
    m0: float,
    comments: Sequence[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for first, shift in ((5, 0), (second, 2)):
        levels = [level + shift for level in [m0, *pairs(3)]]
        interoperable(tmp_path / "dicom", first, levels, comments=comments)
    code, dataset = convert(tmp_path / "dicom", "--background-suppression", "no")
    assert code == 0
    assert images(dataset) == {"sub-01_run-1_asl", "sub-01_run-2_asl"}
    for number, shift in ((1, 0), (2, 2)):
        name = f"run-{number}_asl"
        assert values(dataset, name) == [level + shift for level in [m0, *pairs(3)]]
        context = dataset / f"sub-01/perf/sub-01_run-{number}_aslcontext.tsv"
        assert context.read_text("utf-8").split()[1:] == ["m0scan", *["label", "control"] * 3]
        assert sidecar(dataset, name)["TotalAcquiredPairs"] == 3
    said = capsys.readouterr().out
    told = "were taken for 2 scans of one protocol" if second == 30 else "was scanned 2 times"
    assert told in said
    assert validator_errors(dataset) == []


def test_a_scan_that_was_broken_off_is_told_by_number_and_m0(tmp_path: Path) -> None:
    interoperable(tmp_path / "dicom", 5, [M0, *pairs(2)])
    interoperable(tmp_path / "dicom", 30, LEVELS)
    code, dataset = convert(tmp_path / "dicom")
    assert code == 0
    assert values(dataset, "run-1_asl") == [M0, *pairs(2)]
    assert values(dataset, "run-2_asl") == LEVELS


def test_scans_that_cannot_be_told_apart_are_joined_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    interoperable(tmp_path / "dicom", 5, [M0, *pairs(2)])
    interoperable(tmp_path / "dicom", 10, LEVELS)
    code, dataset = convert(tmp_path / "dicom")
    assert code == 0
    assert images(dataset) == {"sub-01_asl"}
    assert "Another M0 comes after pairs of control and label" in capsys.readouterr().out


def test_a_gap_between_volumes_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    interoperable(tmp_path / "dicom", 5, [M0, *pairs(1)])
    interoperable(tmp_path / "dicom", 10, pairs(2))
    code, dataset = convert(tmp_path / "dicom")
    assert code == 0
    assert types(dataset) == ["m0scan", *["label", "control"] * 3]
    assert "their numbers jump after 7: a volume may be missing" in capsys.readouterr().out


def test_numbers_that_jump_after_every_pair_are_one_scan(tmp_path: Path) -> None:
    levels = pairs(3)
    for place in range(3):
        pair = levels[2 * place : 2 * place + 2]
        interoperable(tmp_path / "dicom", 5 + 3 * place, pair)
    code, dataset = convert(tmp_path / "dicom", "--background-suppression", "no")
    assert code == 0
    assert images(dataset) == {"sub-01_asl"}
    assert values(dataset) == levels


# -- what headers and images say of one thing ----------------------------------------------------


@pytest.mark.parametrize(("mode", "m0"), [(2, 330), (NOT_SUPPRESSED, M0), (2, M0)])
def test_brightness_that_contradicts_the_suppression_mode_is_said(
    mode: int, m0: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ve(tmp_path / "dicom", [m0, *pairs(4)], replace(CONTINUOUS, suppression=mode))
    code, dataset = convert(tmp_path / "dicom")
    assert code == 0
    assert types(dataset)[0] == "m0scan"
    assert sidecar(dataset)["BackgroundSuppression"] is (m0 == M0)
    said = capsys.readouterr().out
    contradicts = (mode == 2) != (m0 == M0)
    assert (f"by the header (Siemens protocol: suppression mode {mode})" in said) == contradicts
    assert ("The images were followed" in said) == contradicts


def test_the_gain_of_delays_in_series_of_their_own_is_said_to_be_unchecked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, delay in ((3, 1.0), (5, 2.0)):
        protocol = replace(CONTINUOUS, series_number=number, post_labeling_delay=delay)
        ve(tmp_path / "dicom", [M0, *pairs(2)], protocol)
    code, dataset = convert(tmp_path / "dicom")
    assert code == 0
    assert images(dataset) == {"sub-01_asl"}
    assert "tells the receiver gain of each series" in capsys.readouterr().out


def test_a_single_delay_has_no_gain_to_compare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ve(tmp_path / "dicom", [M0, *pairs(2)], CONTINUOUS)
    assert convert(tmp_path / "dicom")[0] == 0
    assert "receiver gain" not in capsys.readouterr().out


# -- pulsed labelling with a proton-density scan, by value ---------------------------------------


def voxels(dataset: Path, name: str) -> NDArray[np.float64]:
    """Return all scaled voxels of a perfusion image, ``(x, y, z, volumes)``."""
    image = nib.as_closest_canonical(nib.load(dataset / f"sub-01/perf/sub-01_{name}.nii.gz"))
    return np.asarray(image.get_fdata()).reshape((*SHAPE, -1))


def test_pasl_in_3d_with_a_proton_density_scan(tmp_path: Path) -> None:
    # Every voxel of every volume has a value of its own, controls brighter than labels.
    random = np.random.default_rng(6)
    perfusion = volumes(PERFUSION) + random.integers(0, 4, (*SHAPE, len(PERFUSION)))
    density = volumes([1723]) + random.integers(0, 900, (*SHAPE, 1))
    protocol = pulsed(bolus=0.8, inversion_time=2.1, series_description="asl_3d_tra")
    siemens.write(tmp_path / "dicom/011", STUDY, perfusion, AFFINE, protocol=protocol)
    siemens_slices.write(
        tmp_path / "dicom/009", STUDY, density, AFFINE, siemens_slices.PROTON_DENSITY
    )
    code, dataset = convert(tmp_path / "dicom")
    assert code == 0
    assert images(dataset) == {"sub-01_asl", "sub-01_m0scan"}
    assert types(dataset) == ["control", "label"] * 4
    np.testing.assert_array_equal(voxels(dataset, "asl"), perfusion)
    np.testing.assert_array_equal(voxels(dataset, "m0scan"), density)
    asl = sidecar(dataset)
    assert (asl["ArterialSpinLabelingType"], asl["PASLType"]) == ("PASL", "FAIR QII")
    assert (asl["PostLabelingDelay"], asl["BolusCutOffDelayTime"]) == (2.1, 0.8)
    assert (asl["BolusCutOffFlag"], asl["BolusCutOffTechnique"]) == (True, "QUIPSSII")
    assert (asl["MRAcquisitionType"], asl["RepetitionTimePreparation"]) == ("3D", 3.6)
    assert (asl["BackgroundSuppression"], asl["TotalAcquiredPairs"]) == (True, 4)
    assert asl["M0Type"] == "Separate"
    assert not {"LabelingDuration", "SliceTiming"} & set(asl)
    assert intended(dataset) == ["asl"]
    assert sidecar(dataset, "m0scan")["RepetitionTimePreparation"] == 6.0
    assert sidecar(dataset, "m0scan")["EchoTime"] == 0.011
    assert validator_errors(dataset) == []
