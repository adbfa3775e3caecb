"""Philips, from ZIP to validated BIDS: volume order, delays, durations, scaling and M0 by value.

A real 3D pCASL ZIP is converted in ``test_intake_real``; all other exports are DICOM of our own.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from bids_validation import validator_errors
from numpy.typing import NDArray

from cereflow_bids.cli.convert import main
from cereflow_bids.demo.writers import philips
from cereflow_bids.demo.writers.dicom import pack
from cereflow_bids.demo.writers.study import Identity, Study
from cereflow_bids.intake import heuristic
from cereflow_bids.intake.headers.series import index
from cereflow_bids.intake.vendors import philips as reader
from cereflow_bids.resources import packaged_folder

SHAPE = (12, 14, 5)
AFFINE = np.array([[3.75, 0, 0, -20.0], [0, 3.75, 0, -25.0], [0, 0, 6.0, -10.0], [0, 0, 0, 1.0]])
STUDY = Study(Identity.canary("PH"), "20230405", "101010")
MULTIPHASE = replace(philips.MULTIPHASE, phases=3)
# Mean of each volume in the order of acquisition: an unsuppressed pair, then suppressed ones.
ONE_DELAY = (24.6, 24.5, 1.16, 1.10, 1.18, 1.12)
NO_M0 = (61.0, 60.0, 61.5, 60.5, 62.0, 60.2)
PHASES = (40.0, 30.0, 20.0, 39.0, 28.0, 19.5, 40.5, 30.5, 20.5, 39.5, 28.5, 19.8)
DURATION = ("--labeling-duration", 1.8)


def heads(levels: tuple[float, ...]) -> NDArray[np.float64]:
    """Return volumes that have these values in the head, the slices a little apart."""
    inside = np.zeros((*SHAPE, len(levels)))
    inside[2:10, 2:12] = np.asarray(levels) * np.linspace(1, 1.02, SHAPE[2])[:, np.newaxis]
    return inside


def zipped(folder: Path) -> Path:
    return pack(folder, folder.with_suffix(".zip"))


def convert(*arguments: Any) -> int:
    return main([str(argument) for argument in arguments] + ["--quiet"])


def sidecar(dataset: Path, name: str = "asl") -> dict[str, Any]:
    path = dataset / f"sub-01/perf/sub-01_{name}.json"
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return content


def context(dataset: Path, name: str = "aslcontext") -> list[str]:
    lines = (dataset / f"sub-01/perf/sub-01_{name}.tsv").read_text("utf-8").splitlines()
    assert lines[0] == "volume_type"
    return lines[1:]


def levels(path: Path, step: float) -> list[float]:
    """Return the value of each volume in the lowest slice, checking all voxels to `step`."""
    image = nib.as_closest_canonical(nib.load(path))
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-3)
    found = image.get_fdata()
    found = found[..., np.newaxis] if found.ndim == 3 else found
    lowest = found[5, 5, 0]
    np.testing.assert_allclose(found, heads(tuple(lowest)), atol=step)
    return [float(value) for value in lowest]


def perfusion(dataset: Path, name: str = "asl", *, step: float = 0.025) -> list[float]:
    return levels(dataset / f"sub-01/perf/sub-01_{name}.nii.gz", step)


def images(dataset: Path) -> set[str]:
    return {path.name for path in dataset.rglob("*.nii.gz")}


# -- one delay -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("enhanced", "software", "order"),
    [
        (False, "5.7.1", [0, 1, 2, 3, 4, 5]),
        (True, "5.7.1", [0, 2, 4, 1, 3, 5]),
        (True, "11.1", [0, 1, 2, 3, 4, 5]),
    ],
)
def test_one_delay_with_console_map(
    enhanced: bool, software: str, order: list[int], tmp_path: Path
) -> None:
    protocol = philips.PhilipsProtocol(software=(software, f"{software}.1"))
    places, files, dataset = {"protocol": protocol}, tmp_path / "in", tmp_path / "bids"
    philips.write_source(files / "a", STUDY, heads(ONE_DELAY), AFFINE, enhanced=enhanced, **places)
    philips.write_cbf(
        files / "b", STUDY, heads((52.0,))[..., 0], AFFINE, enhanced=enhanced, **places
    )
    philips.write_t1w(files / "c", STUDY, heads((300.0,))[..., 0], AFFINE)
    assert convert(zipped(files), dataset, "--post-labeling-delay", 2.0, *DURATION) == 0
    assert images(dataset) == {
        "sub-01_asl.nii.gz",
        "sub-01_desc-console_cbf.nii.gz",
        "sub-01_T1w.nii.gz",
    }
    kinds = ["m0scan", "m0scan", "control", "label", "control", "label"]
    assert context(dataset) == [kinds[place] for place in order]
    # Twelve bits over 24.6 × 1.02: half a step is 0.003.
    assert perfusion(dataset) == pytest.approx([ONE_DELAY[place] for place in order], abs=4e-3)
    asl = sidecar(dataset)
    assert asl["PostLabelingDelay"] == 2.0
    assert asl["LabelingDuration"] == 1.8
    assert asl["ArterialSpinLabelingType"] == "PCASL"
    assert asl["RepetitionTimePreparation"] == 4.25
    assert asl["M0Type"] == "Included"
    assert asl["BackgroundSuppression"] is True
    assert asl["TotalAcquiredPairs"] == 2
    assert asl["MRAcquisitionType"] == "3D"
    assert "SliceTiming" not in asl
    assert asl["CereflowOrigins"]["PostLabelingDelay"] == "command line"
    console = dataset / "derivatives/console/sub-01/perf/sub-01_desc-console_cbf.nii.gz"
    assert levels(console, 0.1) == pytest.approx([52.0], abs=0.06)
    assert validator_errors(dataset) == []


def test_a_separate_m0_is_recognised_and_its_own_scale_is_kept(tmp_path: Path) -> None:
    files, dataset = tmp_path / "in", tmp_path / "bids"
    suppressed = ONE_DELAY[2:]
    philips.write_source(files / "a", STUDY, heads(suppressed), AFFINE)
    philips.write_m0(files / "b", STUDY, heads((25.0,))[..., 0], AFFINE)
    options = ("--post-labeling-delay", 2.0, *DURATION, "--background-suppression", "yes")
    assert convert(zipped(files), dataset, *options) == 0
    assert images(dataset) == {"sub-01_asl.nii.gz", "sub-01_m0scan.nii.gz"}
    assert context(dataset) == ["control", "label"] * 2
    assert perfusion(dataset) == pytest.approx(suppressed, abs=4e-4)
    assert perfusion(dataset, "m0scan") == pytest.approx([25.0], abs=4e-3)
    assert sidecar(dataset)["M0Type"] == "Separate"
    m0 = sidecar(dataset, "m0scan")
    assert m0["RepetitionTimePreparation"] == 10
    assert m0["IntendedFor"] == ["bids::sub-01/perf/sub-01_asl.nii.gz"]
    assert validator_errors(dataset) == []


# -- several delays, one series each -------------------------------------------------------------


def write_delays(folder: Path, names: tuple[str, ...], *, enhanced: bool = False) -> list[float]:
    """Write one series per name, each with a scale and a repetition time of its own.

    Returns the value of each volume in the order of acquisition.
    """
    written: list[float] = []
    for number, name in enumerate(names):
        protocol = philips.PhilipsProtocol(
            source_number=1903 + 100 * number,
            source_description=name,
            repetition_time=4.0 + number / 4,
        )
        values = tuple((1 + number) * level for level in ONE_DELAY[:4])
        target = folder / f"delay-{number}"
        philips.write_source(
            target, STUDY, heads(values), AFFINE, protocol=protocol, enhanced=enhanced
        )
        written += [values[k] for k in ((0, 2, 1, 3) if enhanced else range(4))]
    return written


@pytest.mark.parametrize("enhanced", [False, True])
def test_several_delays_become_one_run(enhanced: bool, tmp_path: Path) -> None:
    files, dataset = tmp_path / "in", tmp_path / "bids"
    written = write_delays(files, ("WIP SOURCE - 3DpCASL",) * 3, enhanced=enhanced)
    source = zipped(files)
    assert convert(source, dataset, *DURATION) == 3
    code = convert(source, dataset, "--post-labeling-delay", 1.0, 1.5, 2.0, *DURATION)
    assert code == 0
    assert images(dataset) == {"sub-01_asl.nii.gz"}
    kinds = (
        ("m0scan", "control", "m0scan", "label")
        if enhanced
        else (("m0scan", "m0scan", "control", "label"))
    )
    assert context(dataset) == list(kinds) * 3
    # The third series is three times as bright: its half step is 0.01.
    assert perfusion(dataset) == pytest.approx(written, abs=0.011)
    asl = sidecar(dataset)
    expected = [0 if kind == "m0scan" else delay for delay in (1.0, 1.5, 2.0) for kind in kinds]
    assert asl["PostLabelingDelay"] == expected
    assert asl["LabelingDuration"] == 1.8
    assert asl["RepetitionTimePreparation"] == [4.0] * 4 + [4.25] * 4 + [4.5] * 4
    assert asl["TotalAcquiredPairs"] == 3
    assert asl["M0Type"] == "Included"
    traces = asl["CereflowSeries"]
    assert [trace["SeriesNumber"] for trace in traces] == [1903, 2003, 2103]
    assert [trace["Volumes"] for trace in traces] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    slopes = [trace["PhilipsScaleSlope"] for trace in traces]
    assert slopes[0] == pytest.approx(2 * slopes[1], rel=1e-4)
    assert slopes[0] == pytest.approx(3 * slopes[2], rel=1e-4)
    assert validator_errors(dataset) == []


def test_series_keep_their_images_whatever_the_length_of_their_numbers(tmp_path: Path) -> None:
    # As texts, 1001 comes before 901.
    for number, value in ((901, 2.0), (1001, 3.0)):
        protocol = philips.PhilipsProtocol(source_number=number)
        levels = heads((value, value / 2))
        philips.write_source(tmp_path / f"in/{number}", STUDY, levels, AFFINE, protocol=protocol)
    options = ("--post-labeling-delay", 1.0, 2.0, *DURATION, "--background-suppression", "yes")
    assert convert(tmp_path / "in", tmp_path / "bids", *options) == 0
    assert perfusion(tmp_path / "bids") == pytest.approx([2.0, 1.0, 3.0, 1.5], abs=0.01)
    assert sidecar(tmp_path / "bids")["PostLabelingDelay"] == [1.0, 1.0, 2.0, 2.0]


def test_delays_given_later_join_the_series_without_the_source(tmp_path: Path) -> None:
    files, dataset = tmp_path / "in", tmp_path / "bids"
    written = write_delays(files, ("WIP SOURCE - 3DpCASL",) * 2)
    assert convert(files, dataset) == 3
    assert images(dataset) == {"sub-01_run-1_asl.nii.gz", "sub-01_run-2_asl.nii.gz"}
    files.rename(tmp_path / "gone")
    assert convert(dataset, "--post-labeling-delay", 1.0, 2.0, *DURATION) == 0
    assert images(dataset) == {"sub-01_asl.nii.gz"}
    assert perfusion(dataset) == pytest.approx(written, abs=0.011)
    assert sidecar(dataset)["PostLabelingDelay"] == [0, 0, 1.0, 1.0, 0, 0, 2.0, 2.0]
    assert validator_errors(dataset) == []


def test_delays_in_the_names_of_the_series(tmp_path: Path) -> None:
    files, dataset = tmp_path / "in", tmp_path / "bids"
    names = ("SOURCE - pCASL LD1800 PLD1000", "SOURCE - pCASL LD1800 PLD2000")
    written = write_delays(files, names)
    assert convert(zipped(files), dataset) == 0
    assert perfusion(dataset) == pytest.approx(written, abs=0.011)
    asl = sidecar(dataset)
    assert asl["PostLabelingDelay"] == [0, 0, 1.0, 1.0, 0, 0, 2.0, 2.0]
    assert asl["LabelingDuration"] == 1.8
    origins = asl["CereflowOrigins"]
    assert origins["PostLabelingDelay"] == "inferred from the series' name"
    assert origins["LabelingDuration"] == "inferred from the series' name"
    assert validator_errors(dataset) == []


@pytest.mark.parametrize("given", [(1.0, 2.0), (1.0, 1.5, 2.0, 2.5)])
def test_delays_that_do_not_fit_the_series_are_not_spread_over_its_pairs(
    given: tuple[float, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files, dataset = tmp_path / "in", tmp_path / "bids"
    for number in (1903, 2003, 2103):
        protocol = philips.PhilipsProtocol(source_number=number)
        target = files / str(number)
        philips.write_source(target, STUDY, heads(ONE_DELAY), AFFINE, protocol=protocol)
    assert convert(zipped(files), dataset, "--post-labeling-delay", *given, *DURATION) == 3
    said = capsys.readouterr().out
    assert said.count("PENDING PostLabelingDelay:") == 3
    assert f"{len(given)} values do not fit a series of one delay" in said
    assert all("PostLabelingDelay" not in sidecar(dataset, f"run-{n}_asl") for n in (1, 2, 3))


def test_delays_count_again_where_all_were_scanned_twice(tmp_path: Path) -> None:
    files, dataset = tmp_path / "in", tmp_path / "bids"
    written = write_delays(files, ("SOURCE - pCASL",) * 4)
    options = ("--post-labeling-delay", 1.0, 2.0, *DURATION)
    assert convert(zipped(files), dataset, *options) == 0
    assert images(dataset) == {"sub-01_run-1_asl.nii.gz", "sub-01_run-2_asl.nii.gz"}
    for run in (1, 2):
        asl = sidecar(dataset, f"run-{run}_asl")
        assert asl["PostLabelingDelay"] == [0, 0, 1.0, 1.0, 0, 0, 2.0, 2.0]
        found = perfusion(dataset, f"run-{run}_asl")
        assert found == pytest.approx(written[8 * (run - 1) : 8 * run], abs=0.02)
    assert validator_errors(dataset) == []


def test_two_series_of_one_delay_stay_two_runs(tmp_path: Path) -> None:
    files, dataset = tmp_path / "in", tmp_path / "bids"
    write_delays(files, ("SOURCE - pCASL",) * 2)
    assert convert(zipped(files), dataset, "--post-labeling-delay", 1.8, *DURATION) == 0
    assert images(dataset) == {"sub-01_run-1_asl.nii.gz", "sub-01_run-2_asl.nii.gz"}
    assert sidecar(dataset, "run-2_asl")["PostLabelingDelay"] == 1.8


@pytest.mark.parametrize(
    ("name", "delay", "duration"),
    [
        ("SOURCE - pCASL PLD1800", 1.8, None),
        ("SOURCE - pCASL_1800ms", 1.8, None),
        ("SOURCE - pCASL LD1800 PLD2000ms", 2.0, 1.8),
        ("SOURCE - pCASL PLD 1.5s", 1.5, None),
        ("SOURCE - pCASL PLD_0.5", 0.5, None),
        ("SOURCE - pCASL LD1500", None, 1.5),
        # A count, two delays, or no delay at all.
        ("SOURCE - pCASL PLD2", None, None),
        ("SOURCE - pCASL PLD 500 1000", None, None),
        ("SOURCE - pCASL 500ms 1000ms", None, None),
        # Milliseconds of something else.
        ("SOURCE - pCASL TR4000ms", None, None),
        ("SOURCE - pCASL label 1650 ms", None, None),
        ("SOURCE - pCASL TE12 1800ms", None, None),
        ("WIP SOURCE - 3DpCASL", None, None),
        ("SOURCE - pCASL PLD99000", None, None),
    ],
)
def test_times_in_a_name(
    name: str, delay: float | None, duration: float | None, tmp_path: Path
) -> None:
    protocol = philips.PhilipsProtocol(source_description=name)
    philips.write_source(tmp_path, STUDY, heads((2.0, 1.0)), AFFINE, protocol=protocol)
    (series,) = index(tmp_path.iterdir())
    found = reader.read(series).parameters
    values = {key: parameter.value for key, parameter in found.items()}
    assert values.get("PostLabelingDelay") == delay
    assert values.get("LabelingDuration") == duration


# -- 2D ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("enhanced", [False, True])
def test_2d_waits_for_the_slice_times(enhanced: bool, tmp_path: Path) -> None:
    files, dataset, rules = tmp_path / "in", tmp_path / "bids", tmp_path / "protocol.yaml"
    protocol = philips.PCASL_2D
    philips.write_source(
        files / "a", STUDY, heads(NO_M0), AFFINE, protocol=protocol, enhanced=enhanced
    )
    philips.write_m0(files / "b", STUDY, heads((90.0,))[..., 0], AFFINE, protocol=protocol)
    source = zipped(files)
    options = ("--post-labeling-delay", 1.8, "--labeling-duration", 1.65)
    options += ("--background-suppression", "no")
    assert convert(source, dataset, *options) == 3
    (entry,) = json.loads(dataset.with_name("bids.pending.json").read_text("utf-8"))["pending"]
    assert entry["missing"] == ["SliceTiming"]
    rules.write_text(
        "- match: {vendor: philips, description: '*pCASL*'}\n"
        "  parameters: {SliceTiming: [0.0, 0.04, 0.08, 0.12, 0.16]}\n"
    )
    assert convert(source, dataset, *options, "--protocol", rules) == 0
    kinds = ["control"] * 3 + ["label"] * 3 if enhanced else ["control", "label"] * 3
    assert context(dataset) == kinds
    order = [0, 2, 4, 1, 3, 5] if enhanced else range(6)
    assert perfusion(dataset) == pytest.approx([NO_M0[place] for place in order], abs=9e-3)
    asl = sidecar(dataset)
    assert asl["MRAcquisitionType"] == "2D"
    assert asl["SliceTiming"] == [0.0, 0.04, 0.08, 0.12, 0.16]
    assert asl["PostLabelingDelay"] == 1.8
    assert asl["LabelingDuration"] == 1.65
    assert asl["RepetitionTimePreparation"] == 4.55
    assert asl["TotalAcquiredPairs"] == 3
    assert asl["M0Type"] == "Separate"
    assert perfusion(dataset, "m0scan") == pytest.approx([90.0], abs=0.02)
    assert validator_errors(dataset) == []


# -- multiphase ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("enhanced", "software", "order"),
    [
        (False, "5.7.1", list(range(12))),
        (True, "5.7.1", [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]),
        (True, "11.1", [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]),
    ],
)
def test_multiphase(enhanced: bool, software: str, order: list[int], tmp_path: Path) -> None:
    files, dataset = tmp_path / "in", tmp_path / "bids"
    protocol = replace(MULTIPHASE, software=(software, f"{software}.1"))
    philips.write_source(
        files / "a", STUDY, heads(PHASES), AFFINE, protocol=protocol, enhanced=enhanced
    )
    options = ("--labeling-type", "PASL", "--bolus-cutoff", 0.7)
    options += ("--background-suppression", "no")
    assert convert(zipped(files), dataset, *options) == 0
    kinds = (["control"] * 3 + ["label"] * 3) * 2
    assert context(dataset) == [kinds[place] for place in order]
    assert perfusion(dataset) == pytest.approx([PHASES[place] for place in order], abs=6e-3)
    asl = sidecar(dataset)
    delays = [0.3, 0.55, 0.8] * 4
    assert asl["PostLabelingDelay"] == [delays[place] for place in order]
    assert asl["LookLocker"] is True
    assert asl["FlipAngle"] == 40
    # From one labelling to the next: (0018,0080) is the time between two phases.
    assert asl["RepetitionTimePreparation"] == 4.0
    assert asl["SliceTiming"] == [0.0, 0.03, 0.06, 0.09, 0.12]
    assert asl["TotalAcquiredPairs"] == 6
    assert asl["ArterialSpinLabelingType"] == "PASL"
    assert asl["BolusCutOffDelayTime"] == 0.7
    assert "LabelingDuration" not in asl
    assert asl["CereflowOrigins"]["PostLabelingDelay"].startswith("header (0018,1060)")
    assert validator_errors(dataset) == []


def test_late_phases_are_no_m0_however_bright(tmp_path: Path) -> None:
    files, dataset = tmp_path / "in", tmp_path / "bids"
    recovering = (10.0, 20.0, 40.0, 9.8, 19.6, 39.2)
    protocol = replace(MULTIPHASE, source_description="SOURCE - pCASL_MultiPhase")
    philips.write_source(files, STUDY, heads(recovering * 3), AFFINE, protocol=protocol)
    options = (*DURATION, "--background-suppression", "no")
    assert convert(files, dataset, *options) == 0
    assert context(dataset) == (["control"] * 3 + ["label"] * 3) * 3
    assert sidecar(dataset)["M0Type"] == "Absent"


def test_multiphase_with_an_unsuppressed_dynamic(tmp_path: Path) -> None:
    files, dataset = tmp_path / "in", tmp_path / "bids"
    protocol = replace(MULTIPHASE, source_description="SOURCE - pCASL_MultiPhase")
    bright = tuple(10 * value for value in PHASES[:6])
    philips.write_source(
        files / "a", STUDY, heads((*bright, *PHASES, *PHASES)), AFFINE, protocol=protocol
    )
    assert convert(zipped(files), dataset, *DURATION) == 0
    kinds = context(dataset)
    assert kinds == ["m0scan"] * 6 + (["control"] * 3 + ["label"] * 3) * 4
    assert sidecar(dataset)["PostLabelingDelay"] == [0] * 6 + [0.3, 0.55, 0.8] * 8
    assert validator_errors(dataset) == []


def test_the_time_between_phases_is_no_preparation_time(tmp_path: Path) -> None:
    philips.write_source(tmp_path, STUDY, heads(PHASES[:6]), AFFINE, protocol=MULTIPHASE)
    (series,) = index(tmp_path.iterdir())
    found = reader.read(series)
    assert "RepetitionTimePreparation" not in found.parameters
    assert any("time between two phases" in note for note in found.notes)


def strip(folder: Path, *keywords: str) -> None:
    from pydicom import dcmread

    for path in folder.iterdir():
        image = dcmread(path)
        for keyword in keywords:
            del image[keyword]
        image.save_as(path)


def test_a_3d_multiphase_scan_has_no_slice_times(tmp_path: Path) -> None:
    volumetric = replace(MULTIPHASE, dimension="3D", slice_interval=0.01)
    philips.write_source(tmp_path, STUDY, heads(PHASES), AFFINE, protocol=volumetric)
    (series,) = index(tmp_path.iterdir())
    found = reader.read(series)
    assert "SliceTiming" not in found.parameters
    assert found.volume_delays == (0.3, 0.55, 0.8) * 4


def test_label_images_may_count_the_time_from_the_control(tmp_path: Path) -> None:
    from pydicom import dcmread

    paths = philips.write_source(tmp_path, STUDY, heads(PHASES), AFFINE, protocol=MULTIPHASE)
    for path in paths:
        image = dcmread(path)
        if image[0x2005, 0x1429].value == "LABEL":
            image.TriggerTime += 4000
            image.save_as(path)
    (series,) = index(tmp_path.iterdir())
    assert reader.read(series).volume_delays == (0.3, 0.55, 0.8) * 4


def test_slice_times_follow_the_place_not_the_order_of_the_slices(tmp_path: Path) -> None:
    downwards = replace(MULTIPHASE, first_delay=0.42, slice_interval=-0.03)
    philips.write_source(tmp_path, STUDY, heads(PHASES), AFFINE, protocol=downwards)
    (series,) = index(tmp_path.iterdir())
    found = reader.read(series)
    assert found.parameters["SliceTiming"].value == [0.12, 0.09, 0.06, 0.03, 0.0]
    assert found.volume_delays == (0.3, 0.55, 0.8) * 4


# -- what others did to the files -----------------------------------------------------------------


def without_types(folder: Path) -> None:
    """Store the files as many archives do: in implicit value representation."""
    from pydicom import dcmread
    from pydicom.uid import ImplicitVRLittleEndian

    for path in folder.rglob("*.dcm"):
        image = dcmread(path)
        image.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        image.save_as(path, implicit_vr=True, little_endian=True)


def without_private_elements(folder: Path) -> None:
    """Do what anonymisers do."""
    from pydicom import dcmread

    for path in folder.rglob("*.dcm"):
        image = dcmread(path)
        image.remove_private_tags()
        image.save_as(path)


@pytest.mark.parametrize("enhanced", [False, True])
def test_files_that_do_not_write_the_types_of_elements(enhanced: bool, tmp_path: Path) -> None:
    for name, levels_, protocol in (
        ("one", ONE_DELAY, philips.PhilipsProtocol()),
        ("phases", PHASES, MULTIPHASE),
    ):
        folder = tmp_path / name
        philips.write_source(
            folder, STUDY, heads(levels_), AFFINE, protocol=protocol, enhanced=enhanced
        )
        (before,) = index(folder.iterdir())
        without_types(folder)
        (after,) = index(folder.iterdir())
        assert reader.read(after) == reader.read(before)
        assert set(reader.read(after).volume_types or ()) == {"control", "label"}


def test_one_delay_without_private_elements(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files, dataset = tmp_path / "in", tmp_path / "bids"
    philips.write_source(files / "a", STUDY, heads(ONE_DELAY), AFFINE)
    philips.write_m0(files / "b", STUDY, heads((25.0,))[..., 0], AFFINE)
    without_private_elements(files)
    assert convert(zipped(files), dataset, "--post-labeling-delay", 2.0, *DURATION) == 0
    # dcm2niix makes a file of each dynamic then; its values are those for display.
    scale = 4095 / (24.6 * 1.02) * 1.33870573870573
    expected = [value * scale for value in ONE_DELAY]
    path = dataset / "sub-01/perf/sub-01_asl.nii.gz"
    found = nib.as_closest_canonical(nib.load(path)).get_fdata()[5, 5, 0]
    assert list(found) == pytest.approx(expected, abs=0.7)
    assert context(dataset) == ["m0scan", "m0scan", "control", "label", "control", "label"]
    # A separate M0 has a scale of its own, which is lost.
    assert images(dataset) == {"sub-01_asl.nii.gz"}
    said = capsys.readouterr().out
    assert "lacks Philips' scale slope" in said
    assert "Series 2001 is a separate M0, but Philips' scale slope" in said
    assert validator_errors(dataset) == []


def test_delays_without_their_scales_are_not_joined(tmp_path: Path) -> None:
    files, dataset = tmp_path / "in", tmp_path / "bids"
    write_delays(files, ("SOURCE - pCASL PLD1000", "SOURCE - pCASL PLD2000"))
    without_private_elements(files)
    assert convert(zipped(files), dataset, *DURATION) == 0
    assert images(dataset) == {"sub-01_run-1_asl.nii.gz", "sub-01_run-2_asl.nii.gz"}
    delays = [sidecar(dataset, f"run-{run}_asl")["PostLabelingDelay"] for run in (1, 2)]
    assert delays == [1.0, 2.0]


@pytest.mark.parametrize(
    ("enhanced", "protocol"),
    [(True, philips.PhilipsProtocol()), (True, MULTIPHASE), (False, MULTIPHASE)],
)
def test_untagged_images_in_unknown_order_are_refused(
    enhanced: bool,
    protocol: philips.PhilipsProtocol,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files, dataset = tmp_path / "in", tmp_path / "bids"
    protocol = replace(protocol, source_description="SOURCE - pCASL")
    philips.write_source(files, STUDY, heads(PHASES), AFFINE, protocol=protocol, enhanced=enhanced)
    without_private_elements(files)
    assert convert(files, dataset, "--post-labeling-delay", 2.0, *DURATION) == 1
    said = capsys.readouterr().err
    assert "does not tell controls from labels" in said
    assert not dataset.exists()


# -- what cannot be right ------------------------------------------------------------------------


@pytest.mark.parametrize("enhanced", [False, True])
def test_images_of_different_scales_are_refused(
    enhanced: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pydicom import dcmread

    files, dataset = tmp_path / "in", tmp_path / "bids"
    path = philips.write_source(files, STUDY, heads(ONE_DELAY), AFFINE, enhanced=enhanced)[-1]
    image = dcmread(path)
    holder = image
    if enhanced:
        holder = image.PerFrameFunctionalGroupsSequence[-1][0x2005, 0x140F].value[0]
    holder[0x2005, 0x100E].value *= 2
    image.save_as(path)
    assert convert(files, dataset, "--post-labeling-delay", 2.0, *DURATION) == 1
    said = capsys.readouterr().err
    assert "series 1903" in said
    assert "scaled differently" in said
    assert not dataset.exists()


def test_phases_without_their_times_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files, dataset = tmp_path / "in", tmp_path / "bids"
    philips.write_source(files, STUDY, heads(PHASES), AFFINE, protocol=MULTIPHASE)
    strip(files, "TriggerTime")
    assert convert(files, dataset, "--post-labeling-delay", 0.3, 0.55, 0.8) == 1
    assert "not the trigger time (0018,1060)" in capsys.readouterr().err


def test_enhanced_frames_that_their_indices_do_not_tell_apart_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pydicom import dcmread

    files, dataset = tmp_path / "in", tmp_path / "bids"
    (path,) = philips.write_source(files, STUDY, heads(ONE_DELAY), AFFINE, enhanced=True)
    image = dcmread(path)
    del image.DimensionIndexSequence[-1]
    for group in image.PerFrameFunctionalGroupsSequence:
        content = group.FrameContentSequence[0]
        content.DimensionIndexValues = content.DimensionIndexValues[:-1]
    image.save_as(path)
    assert convert(files, dataset, "--post-labeling-delay", 2.0, *DURATION) == 1
    assert "does not tell controls from labels" in capsys.readouterr().err


# -- recognition ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("description", "protocol_name", "image_type", "rule"),
    [
        ("WIP SOURCE - 3DpCASL", "WIP SOURCE - 3DpCASL", "M_SE M SE", "philips-source"),
        ("SOURCE - ASL_MultiPhase", "SOURCE - ASL_MultiPhase", "M_FFE M FFE", "philips-source"),
        ("SOURCE - pCASL", "SOURCE - pCASL", "PERFUSION NONE", "philips-source"),
        ("renamed", "WIP SOURCE - pCASL", "PERFUSION NONE", "philips-source"),
        ("pCASL", "pCASL", "M_FFE M FFE", "philips-source"),
        ("pCASL", "pCASL", "PERFUSION NONE", "philips-console-cbf"),
        ("3DpCASL", "WIP 3DpCASL", "PERFUSION_FFE PERFUSION FFE", "philips-console-cbf"),
        ("M0 3DpCASL", "M0 3DpCASL", "M_SE M SE", "philips-m0"),
        ("WIP M0", "WIP M0", "M_FFE M FFE", "philips-m0"),
        ("M0", "M0", "PROTON_DENSITY NONE", "philips-m0"),
        ("PD_TSE", "PD_TSE", "M_SE M SE", ""),
        ("DSC perfusion", "DSC perfusion", "M_FFE M FFE", ""),
        ("sT1W_3D_TFE", "sT1W_3D_TFE", "M_FFE M FFE", "t1w-3d"),
    ],
)
def test_rule_by_which_a_series_is_recognised(
    description: str, protocol_name: str, image_type: str, rule: str
) -> None:
    rules = heuristic.rules()
    kinds = ("ORIGINAL", "PRIMARY", *image_type.split())
    found = rules.role(
        rules.Traits("Philips Medical Systems", description, protocol_name, kinds, "3D")
    )
    assert found.rule == rule


# -- the heuristic alone -------------------------------------------------------------------------


def test_plain_heudiconv_takes_every_philips_series(tmp_path: Path) -> None:
    import dcm2niix

    dicom = tmp_path / "dicom"
    philips.write_source(dicom / "1", STUDY, heads(ONE_DELAY), AFFINE)
    philips.write_cbf(dicom / "2", STUDY, heads((50.0,))[..., 0], AFFINE)
    enhanced = philips.PhilipsProtocol(source_number=2903, cbf_number=2901)
    philips.write_source(
        dicom / "3", STUDY, heads(ONE_DELAY), AFFINE, protocol=enhanced, enhanced=True
    )
    philips.write_cbf(
        dicom / "4", STUDY, heads((50.0,))[..., 0], AFFINE, protocol=enhanced, enhanced=True
    )
    philips.write_source(dicom / "5", STUDY, heads(NO_M0), AFFINE, protocol=philips.PCASL_2D)
    philips.write_source(dicom / "6", STUDY, heads(PHASES), AFFINE, protocol=MULTIPHASE)
    philips.write_m0(dicom / "7", STUDY, heads((90.0,))[..., 0], AFFINE)
    philips.write_t1w(dicom / "8", STUDY, heads((300.0,))[..., 0], AFFINE, number=401)
    script = packaged_folder("heuristics") / "cereflow.py"
    path = os.pathsep.join((str(Path(dcm2niix.bin).parent), os.environ["PATH"]))
    launch = "import sys; sys.modules['cereflow_bids'] = None; "
    launch += "from heudiconv.cli.run import main; sys.exit(main())"
    command = [sys.executable, "-c", launch, "--files", dicom, "-s", "01", "-b"]
    command += ["-f", script, "-c", "dcm2niix", "-o", tmp_path / "out", "--minmeta"]
    environment = {**os.environ, "PATH": path, "NO_ET": "1"}
    subprocess.run(command, check=True, capture_output=True, env=environment, cwd=tmp_path)
    assert images(tmp_path / "out") == {
        *(f"sub-01_run-{number}_asl.nii.gz" for number in range(1, 5)),
        *(f"sub-01_run-{number}_desc-console_cbf.nii.gz" for number in (1, 2)),
        "sub-01_m0scan.nii.gz",
        "sub-01_T1w.nii.gz",
    }
