"""Runs from sidecars that are right, wrong or lacking, and the writer of derivatives."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from cereflow_bids.bids.dataset import Selection, select_runs
from cereflow_bids.bids.derivatives import DerivativeWriter
from cereflow_bids.bids.index import open_dataset
from cereflow_bids.bids.spec import column_dictionary, output_specs
from cereflow_bids.errors import InputError, PendingError, UsageError

PCASL = {
    "ArterialSpinLabelingType": "PCASL",
    "PostLabelingDelay": 1.8,
    "LabelingDuration": 1.8,
    "MagneticFieldStrength": 3,
    "MRAcquisitionType": "3D",
    "BackgroundSuppression": False,
    "M0Type": "Absent",
    "RepetitionTimePreparation": 4.0,
    "EchoTime": 0.01,
    "TotalAcquiredPairs": 2,
}
PASL = {
    **{key: value for key, value in PCASL.items() if key != "LabelingDuration"},
    "ArterialSpinLabelingType": "PASL",
    "BolusCutOffFlag": True,
    "BolusCutOffDelayTime": [0.7, 1.6],
    "BolusCutOffTechnique": "Q2TIPS",
}
PAIRS = ("control", "label", "control", "label")
TWO_D = {"MRAcquisitionType": "2D", "SliceTiming": [0, 0.1, 0.2]}


@pytest.fixture
def dataset(tmp_path):
    """Return a function that writes a dataset of one run and gives back (runs, rejected)."""

    def write(sidecar, context=PAIRS, m0=None, n_slices=3):
        folder = tmp_path / "bids" / "sub-01" / "perf"
        shutil.rmtree(tmp_path / "bids", ignore_errors=True)
        folder.mkdir(parents=True)
        (tmp_path / "bids" / "dataset_description.json").write_text(
            json.dumps({"Name": "test", "BIDSVersion": "1.10.0"})
        )
        image = nib.Nifti1Image(np.ones((4, 4, n_slices, len(context)), np.float32), np.eye(4))
        nib.save(image, folder / "sub-01_asl.nii.gz")
        (folder / "sub-01_asl.json").write_text(json.dumps(sidecar))
        (folder / "sub-01_aslcontext.tsv").write_text("\n".join(["volume_type", *context]) + "\n")
        if m0 is not None:
            nib.save(image.slicer[..., 0], folder / "sub-01_m0scan.nii.gz")
            (folder / "sub-01_m0scan.json").write_text(json.dumps(m0))
        return select_runs(open_dataset(tmp_path / "bids"), Selection())

    return write


def only_run(result):
    (run,), rejected = result
    assert not rejected
    return run


def test_a_run_knows_where_each_value_came_from(dataset):
    run = only_run(dataset(PCASL | {"CereflowOrigins": {"PostLabelingDelay": "command line"}}))
    origins = {p.name: (p.value, p.origin) for p in run.labeling.parameters()}
    assert origins == {
        "PostLabelingDelay": (1.8, "command line"),
        "LabelingDuration": (1.8, "sidecar"),
        "LabelingEfficiency": (0.85, "default"),
        "T1Blood": (1.65, "default"),
    }
    assert run.calibration.source == "control"


def test_arrays_are_read_at_the_labelled_volumes(dataset):
    context = ("m0scan", *PAIRS)
    sidecar = PCASL | {
        "PostLabelingDelay": [0, 2.0, 2.0, 2.0, 2.0],
        "LabelingDuration": [0, 1.5, 1.5, 1.5, 1.5],
        "RepetitionTimePreparation": [9.0, 4.0, 4.0, 4.0, 4.0],
        "M0Type": "Included",
    }
    run = only_run(dataset(sidecar, context))
    assert run.labeling.post_labeling_delay.value == 2.0
    assert run.labeling.labeling_duration.value == 1.5
    assert run.calibration.repetition_time.value == 9.0


def test_q2tips_takes_the_first_cutoff(dataset):
    run = only_run(dataset(PASL))
    assert run.labeling.bolus_cutoff.value == 0.7
    assert run.labeling.efficiency.value == 0.98


def test_suppression_pulses_lower_the_efficiency_only_if_none_is_given(dataset):
    suppressed = {"BackgroundSuppression": True, "M0Type": "Estimate", "M0Estimate": 900.0}
    derived = only_run(
        dataset(PCASL | suppressed | {"BackgroundSuppressionNumberPulses": 4})
    ).labeling.efficiency
    assert derived.value == pytest.approx(0.85 * 0.95**4)
    assert derived.origin == "derived"
    given = {"BackgroundSuppressionNumberPulses": 4, "LabelingEfficiency": 0.7}
    assert only_run(dataset(PCASL | suppressed | given)).labeling.efficiency.value == 0.7
    unknown = only_run(dataset(PCASL | suppressed))
    assert unknown.labeling.efficiency.value == 0.85
    assert any("number of background suppression pulses is unknown" in n for n in unknown.notes)


@pytest.mark.parametrize(
    ("sidecar", "reason"),
    [
        ({**PASL, "BolusCutOffFlag": False, "M0Type": "Separate"}, "no _m0scan"),
        ({**PCASL, "BackgroundSuppression": True}, "background-suppressed"),
    ],
)
def test_absolute_cbf_is_refused_with_the_reason(dataset, sidecar, reason):
    calibration = only_run(dataset(sidecar)).calibration
    assert calibration.source == "refused"
    assert reason in calibration.refusal


def without(key):
    return {name: value for name, value in PCASL.items() if name != key}


@pytest.mark.parametrize(
    ("sidecar", "context", "kind", "told"),
    [
        (without("PostLabelingDelay"), PAIRS, PendingError, "--post-labeling-delay SECONDS"),
        (without("LabelingDuration"), PAIRS, PendingError, "--labeling-duration SECONDS"),
        (PCASL | {"PostLabelingDelay": 1800}, PAIRS, InputError, "milliseconds"),
        (PCASL | {"PostLabelingDelay": "1.8"}, PAIRS, InputError, "not a number"),
        (PCASL | {"PostLabelingDelay": [1.8]}, PAIRS, InputError, "1 entries for 4 volumes"),
        (PCASL | {"LabelingDuration": 0}, PAIRS, InputError, "LabelingDuration"),
        (PCASL | {"RepetitionTimePreparation": 0}, PAIRS, InputError, "above 0"),
        (without("RepetitionTimePreparation"), PAIRS, InputError, "RepetitionTimePreparation"),
        (without("MagneticFieldStrength"), PAIRS, InputError, "tesla"),
        (PCASL | {"ArterialSpinLabelingType": "VSASL"}, PAIRS, InputError, "VSASL"),
        (PCASL | {"LookLocker": True}, PAIRS, PendingError, "FlipAngle is not known"),
        (PCASL | {"LookLocker": True, "FlipAngle": 30}, PAIRS, PendingError, "a single delay"),
        (PCASL | {"LookLocker": True, "FlipAngle": 120}, PAIRS, InputError, "up to 90"),
        (
            PCASL | {"LookLocker": True, "FlipAngle": [30, 30, 10, 10]},
            PAIRS,
            InputError,
            "FlipAngle differs",
        ),
        (
            PCASL | {"LookLocker": True, "FlipAngle": 30, "PostLabelingDelay": [1, 1, 2, 1]},
            PAIRS,
            InputError,
            "whole trains",
        ),
        (PCASL | {"EchoTime": [0.01, 0.01, 0.02, 0.02]}, PAIRS, InputError, "EchoTime differs"),
        (PCASL | {"LabelingEfficiency": 85}, PAIRS, InputError, "between 0 and 1"),
        (PCASL | {"M0Type": "Included"}, PAIRS, InputError, "no m0scan volume"),
        (PCASL | {"M0Type": "Separate"}, PAIRS, InputError, "no _m0scan"),
        (PCASL | {"M0Type": "Estimate"}, PAIRS, InputError, "M0Estimate"),
        (PCASL | {"M0Type": "Somewhere"}, PAIRS, InputError, "M0Type"),
        (PCASL | {"MRAcquisitionType": "2D"}, PAIRS, InputError, "SliceTiming"),
        (
            PCASL | {"MRAcquisitionType": "2D", "SliceTiming": [0, 0.1]},
            PAIRS,
            InputError,
            "2 entries for 3 slices",
        ),
        (PCASL | {"SliceEncodingDirection": "z", **TWO_D}, PAIRS, InputError, "i, j or k"),
        (PCASL | {"ArterialSpinLabelingType": ["PCASL"]}, PAIRS, InputError, "PCASL, CASL or"),
        (PCASL | {"MagneticFieldStrength": float("nan")}, PAIRS, InputError, "not a number"),
        (PCASL | {"BackgroundSuppression": "true"}, PAIRS, InputError, "without quotes"),
        (PCASL | {"RepetitionTimePreparation": 4000}, PAIRS, InputError, "milliseconds"),
        (PCASL, ("cbf",), InputError, "neither control and label nor deltam"),
        (PCASL, ("control", "tagged"), InputError, "tagged"),
        (
            without("TotalAcquiredPairs") | {"Manufacturer": "GE", "M0Type": "Included"},
            ("deltam", "m0scan"),
            PendingError,
            "--excitations",
        ),
        (
            PCASL
            | {"Manufacturer": "GE", "M0Type": "Included", "TotalAcquiredPairs": 3}
            | {"CereflowScaling": {"NumberOfExcitations": 1}},
            ("deltam", "m0scan"),
            PendingError,
            "editing the sidecar is not enough",
        ),
    ],
)
def test_a_bad_sidecar_is_told_with_file_and_remedy(dataset, sidecar, context, kind, told):
    runs, (rejected,) = dataset(sidecar, context)
    assert not runs
    assert type(rejected.error) is kind
    assert told in str(rejected.error)
    assert "sub-01/perf/sub-01_asl.nii.gz" in str(rejected.error)
    assert rejected.error.fix


def test_slices_are_put_into_the_order_of_the_image(dataset):
    timing = {"MRAcquisitionType": "2D", "SliceTiming": [0, 0.1, 0.2]}
    assert only_run(dataset(PCASL | timing)).labeling.slice_timing == (0, 0.1, 0.2)
    backwards = only_run(dataset(PCASL | timing | {"SliceEncodingDirection": "k-"}))
    assert backwards.labeling.slice_timing == (0.2, 0.1, 0)


def test_a_separate_m0_is_found_by_what_it_is_intended_for(dataset):
    m0 = {
        "EchoTime": 0.02,
        "RepetitionTimePreparation": 6.0,
        "IntendedFor": "bids::sub-01/perf/sub-01_asl.nii.gz",
    }
    calibration = only_run(dataset(PCASL | {"M0Type": "Separate"}, m0=m0)).calibration
    assert calibration.source == "separate"
    assert calibration.repetition_time.value == 6.0
    assert calibration.echo_times == (0.02, 0.01)
    stranger = m0 | {"IntendedFor": "bids::sub-01/perf/sub-01_run-2_asl.nii.gz"}
    _, (rejected,) = dataset(PCASL | {"M0Type": "Separate"}, m0=stranger)
    assert "no _m0scan" in str(rejected.error)


def test_an_m0_in_the_series_may_have_an_echo_time_of_its_own(dataset):
    echoes = {"M0Type": "Included", "EchoTime": [0.02, *[0.01] * 4]}
    assert only_run(dataset(PCASL | echoes, ("m0scan", *PAIRS))).calibration.echo_times == (
        0.02,
        0.01,
    )
    alike = {"M0Type": "Included", "EchoTime": [0.01] * 5}
    assert only_run(dataset(PCASL | alike, ("m0scan", *PAIRS))).calibration.echo_times is None


def test_each_of_two_runs_has_the_m0_that_names_it(dataset, tmp_path):
    dataset(PCASL | {"M0Type": "Separate"}, m0={})
    folder = tmp_path / "bids" / "sub-01" / "perf"
    for run in (1, 2):
        for path in list(folder.glob("sub-01_[am]*")):
            shutil.copyfile(path, folder / path.name.replace("sub-01_", f"sub-01_run-{run}_"))
        other = f"sub-01_run-{3 - run}_asl.nii.gz"
        m0 = {"RepetitionTimePreparation": 4 + run, "IntendedFor": f"bids::sub-01/perf/{other}"}
        (folder / f"sub-01_run-{run}_m0scan.json").write_text(json.dumps(m0))
    for path in folder.glob("sub-01_[am]*"):
        path.unlink()
    runs, rejected = select_runs(open_dataset(tmp_path / "bids"), Selection())
    assert not rejected
    files = {run.stem: run.calibration.m0_file.name for run in runs}
    assert files == {
        "sub-01_run-1": "sub-01_run-2_m0scan.nii.gz",
        "sub-01_run-2": "sub-01_run-1_m0scan.nii.gz",
    }
    assert [run.calibration.repetition_time.value for run in runs] == [6.0, 5.0]


def test_a_separate_m0_that_says_it_is_suppressed_is_refused(dataset):
    m0 = {"RepetitionTimePreparation": [6.0, 6.0], "PostLabelingDelay": 1.8}
    separate = PCASL | {"M0Type": "Separate"}
    calibration = only_run(dataset(separate, m0=m0)).calibration
    assert (calibration.source, calibration.same_preparation) == ("separate", True)
    refused = only_run(dataset(separate, m0=m0 | {"BackgroundSuppression": True})).calibration
    assert refused.source == "refused"
    assert "sub-01_m0scan.nii.gz is background-suppressed" in refused.refusal
    _, (rejected,) = dataset(separate, m0=m0 | {"RepetitionTimePreparation": [6.0, 2.0]})
    assert "differs among volumes that are averaged (2, 6)" in str(rejected.error)


def test_a_truncated_image_is_told_and_does_not_stop_the_selection(dataset, tmp_path):
    dataset(PCASL)
    image = tmp_path / "bids" / "sub-01" / "perf" / "sub-01_asl.nii.gz"
    image.write_bytes(image.read_bytes()[:40])
    _, (rejected,) = select_runs(open_dataset(tmp_path / "bids"), Selection())
    assert "cannot be read" in str(rejected.error)


@pytest.mark.parametrize("content", ['{"a": ', "[1, 2]"])
def test_a_sidecar_that_is_no_json_object_costs_only_its_own_run(dataset, tmp_path, content):
    dataset(PCASL)
    good = tmp_path / "bids" / "sub-01"
    bad = tmp_path / "bids" / "sub-02" / "perf"
    bad.mkdir(parents=True)
    for path in (good / "perf").iterdir():
        shutil.copyfile(path, bad / path.name.replace("sub-01", "sub-02"))
    (bad / "sub-02_asl.json").write_text(content)
    (run,), (rejected,) = select_runs(open_dataset(tmp_path / "bids"), Selection())
    assert run.participant == "01"
    assert "JSON" in str(rejected.error)


def test_two_m0_images_of_one_run_are_not_chosen_between(dataset, tmp_path):
    m0 = {"RepetitionTimePreparation": 6.0, "IntendedFor": "bids::sub-01/perf/sub-01_asl.nii.gz"}
    dataset(PCASL | {"M0Type": "Separate", "PhaseEncodingDirection": "j"}, m0=m0)
    folder = tmp_path / "bids" / "sub-01" / "perf"
    for name in ("m0scan.nii.gz", "m0scan.json"):
        shutil.copyfile(folder / f"sub-01_{name}", folder / f"sub-01_dir-PA_{name}")
    _, (rejected,) = select_runs(open_dataset(tmp_path / "bids"), Selection())
    assert "2 M0 images" in str(rejected.error)
    (folder / "sub-01_dir-PA_m0scan.json").write_text(
        json.dumps(m0 | {"PhaseEncodingDirection": "j-"})
    )
    (folder / "sub-01_m0scan.json").write_text(json.dumps(m0 | {"PhaseEncodingDirection": "j"}))
    run = only_run(select_runs(open_dataset(tmp_path / "bids"), Selection()))
    assert run.calibration.m0_file.name == "sub-01_m0scan.nii.gz"


def test_an_index_is_used_only_while_it_is_true(dataset, tmp_path):
    dataset(PCASL)
    bids, database = tmp_path / "bids", tmp_path / "database"

    def delays():
        runs, _ = select_runs(open_dataset(bids, database), Selection())
        return [run.labeling.post_labeling_delay.value for run in runs]

    assert delays() == [1.8]
    made = (database / "layout_index.sqlite").stat().st_mtime_ns
    assert delays() == [1.8]
    assert (database / "layout_index.sqlite").stat().st_mtime_ns == made
    (bids / "sub-01/perf/sub-01_asl.json").write_text(json.dumps(PCASL | {"PostLabelingDelay": 2}))
    assert delays() == [2.0]


def test_an_unknown_participant_is_a_usage_error(dataset, tmp_path):
    dataset(PCASL)
    with pytest.raises(UsageError, match="choose from 01"):
        select_runs(open_dataset(tmp_path / "bids"), Selection(participants=("02",)))


def test_a_folder_that_is_no_dataset_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="not a BIDS dataset"):
        open_dataset(tmp_path)


def test_names_follow_the_contract(tmp_path):
    writer = DerivativeWriter(tmp_path)
    run = "sub-01_ses-2_acq-x_run-1"
    names = {key: writer.path(key, run).relative_to(tmp_path) for key in output_specs()}
    assert names["cbf"] == Path("sub-01/ses-2/perf/sub-01_ses-2_acq-x_run-1_cbf.nii.gz")
    assert names["report_pdf"] == Path("sub-01.pdf")
    assert names["figure_cbf"].parent == Path("sub-01/figures")
    assert len(set(names.values())) == len(names)


def test_images_are_written_whole_with_their_sidecar_and_the_same_bytes_again(tmp_path):
    writer = DerivativeWriter(tmp_path)
    data = np.arange(8, dtype=np.float64).reshape(2, 2, 2)
    sidecar = {"Sources": ["bids:raw:x"], "Value": np.float32(0.5), "Unknown": float("nan")}
    first = writer.write_image("cbf", "sub-01", data, np.eye(4), sidecar).read_bytes()
    path = writer.write_image("cbf", "sub-01", data, np.eye(4), sidecar)
    assert path.read_bytes() == first
    content = json.loads(path.with_name("sub-01_cbf.json").read_text())
    assert content["Units"] == "mL/100 g/min"
    assert content["Unknown"] == "n/a"
    assert sorted(p.name for p in path.parent.iterdir()) == ["sub-01_cbf.json", path.name]


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(tmp_path):
    writer = DerivativeWriter(tmp_path)
    path = writer.write_text("report_html", "old", participant="01")
    with pytest.raises(TypeError):
        writer.write_bytes("report_html", None, participant="01")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["sub-01.html"]


def test_a_table_must_have_the_columns_of_the_contract(tmp_path):
    writer = DerivativeWriter(tmp_path)
    columns = list(column_dictionary("confounds"))
    with pytest.raises(ValueError, match="columns of confounds"):
        writer.write_table("confounds", "sub-01", pd.DataFrame(columns=columns[1:]))
    table = pd.DataFrame([["control", *[np.nan] * (len(columns) - 1)]], columns=columns)
    text = writer.write_table("confounds", "sub-01", table).read_text()
    assert text.splitlines()[1].split("\t") == ["control", *["n/a"] * (len(columns) - 1)]
