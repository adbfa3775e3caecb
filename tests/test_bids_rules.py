"""What makes a raw ASL dataset wrong although validators let it pass: one case per rule."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from bids_validation import own_violations
from intake_uploads import convert, siemens_zip, visit

from cereflow_bids.bids.rules import Violation, violations

ASL = "sub-01/perf/sub-01_asl.nii.gz"
M0 = "sub-01/perf/sub-01_m0scan.nii.gz"
ABSENT = object()
PAIRS = ("control", "label", "control", "label")
WITH_M0 = ("m0scan", *PAIRS)
REAL = (
    "siemens_pcasl3d_1delay",
    "siemens_pasl3d",
    "philips_pcasl3d_1delay_t1",
    "siemens_xa30_asl2d_t1",
)
PCASL = {
    "ArterialSpinLabelingType": "PCASL",
    "PostLabelingDelay": 1.8,
    "LabelingDuration": 1.8,
    "MagneticFieldStrength": 3,
    "MRAcquisitionType": "3D",
    "BackgroundSuppression": False,
    "M0Type": "Separate",
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
CALIBRATION = {
    "EchoTime": 0.01,
    "RepetitionTimePreparation": 8.0,
    "IntendedFor": ["bids::sub-01/perf/sub-01_asl.nii.gz"],
}
INCLUDED = {
    "M0Type": "Included",
    "PostLabelingDelay": [0, 1.8, 1.8, 1.8, 1.8],
    "LabelingDuration": [0, 1.8, 1.8, 1.8, 1.8],
    "RepetitionTimePreparation": [8.0, 4.0, 4.0, 4.0, 4.0],
}
DIFFERENCES = {
    "M0Type": "Included",
    "TotalAcquiredPairs": 6,
    "CereflowScaling": {"TotalAcquiredPairs": 6, "NumberOfExcitations": [2, 4]},
}
TWO_D = {"MRAcquisitionType": "2D", "SliceTiming": [0, 0.1, 0.2]}


def merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in (values | changes).items() if value is not ABSENT}


def write_run(
    root: Path, sidecar: dict[str, Any], context: tuple[str, ...], label: str = "01"
) -> None:
    folder = root / f"sub-{label}" / "perf"
    folder.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(np.zeros((4, 5, 3, len(context)), np.int16), np.eye(4))
    nib.save(image, folder / f"sub-{label}_asl.nii.gz")
    (folder / f"sub-{label}_asl.json").write_text(json.dumps(sidecar))
    table = "\n".join(("volume_type", *context)) + "\n"
    (folder / f"sub-{label}_aslcontext.tsv").write_text(table)


def write_m0(root: Path, sidecar: dict[str, Any], name: str = "sub-01_m0scan") -> None:
    folder = root / "sub-01" / "perf"
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 3), np.int16), np.eye(4)), folder / f"{name}.nii.gz")
    (folder / f"{name}.json").write_text(json.dumps(sidecar))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a dataset of one run and its M0 that breaks no rule."""
    write_run(tmp_path, PCASL, PAIRS)
    write_m0(tmp_path, CALIBRATION)
    return tmp_path


def rules_of(found: list[Violation]) -> list[tuple[str, str]]:
    return [(one.file, one.rule) for one in found]


@pytest.mark.parametrize(
    ("sidecar", "context"),
    [
        (PCASL, PAIRS),
        (PCASL | INCLUDED, WITH_M0),
        (PCASL | DIFFERENCES, ("deltam", "deltam", "m0scan")),
        (PCASL | {"M0Type": "Included", "TotalAcquiredPairs": 9}, ("deltam", "m0scan")),
        (PCASL | TWO_D, PAIRS),
        (PCASL | TWO_D | {"SliceEncodingDirection": "i", "SliceTiming": [0, 1, 2, 3]}, PAIRS),
        (PASL, PAIRS),
        (PASL | {"BolusCutOffFlag": False, "BolusCutOffDelayTime": 0.7}, PAIRS),
        (PCASL | {"LookLocker": True, "FlipAngle": [30] * 4}, PAIRS),
        (PCASL | {"LabelingEfficiency": 0.8}, PAIRS),
        (PCASL, (*PAIRS, "control")),
        (PCASL, (*PAIRS, "noRF", "n/a")),
        (PCASL | {"LabelingDuration": [1.8, 1.8, 1.8, 1.8, 0]}, (*PAIRS, "cbf")),
    ],
)
def test_what_is_right_passes(
    root: Path, sidecar: dict[str, Any], context: tuple[str, ...]
) -> None:
    write_run(root, sidecar, context)
    assert own_violations(root) == []


# -- sidecar of the run --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "context", "rule", "said"),
    [
        ({"PostLabelingDelay": 1800}, PAIRS, "seconds", "PostLabelingDelay is 1800: that looks"),
        ({"LabelingDuration": 1800.0}, PAIRS, "seconds", "LabelingDuration is 1800"),
        (TWO_D | {"SliceTiming": [0, 40, 80]}, PAIRS, "seconds", "SliceTiming is 80"),
        ({"BolusCutOffDelayTime": [700, 1600]}, PAIRS, "seconds", "BolusCutOffDelayTime is 1600"),
        ({"EchoTime": 10.5}, PAIRS, "seconds", "EchoTime is 10.5"),
        ({"RepetitionTimePreparation": 4000}, PAIRS, "seconds", "Preparation is 4000"),
        ({"PostLabelingDelay": -0.5}, PAIRS, "seconds", "below 0"),
        ({"PostLabelingDelay": [1.8, 1.8]}, PAIRS, "per-volume", "2 entries for 4 volumes"),
        ({"LabelingDuration": [1.8] * 5}, PAIRS, "per-volume", "5 entries for 4 volumes"),
        ({"FlipAngle": [90, 90, 90]}, PAIRS, "per-volume", "FlipAngle has 3 entries"),
        ({"EchoTime": [0.01, 0.03]}, PAIRS, "per-volume", "EchoTime has 2 entries"),
        ({"RepetitionTimePreparation": [4.0]}, PAIRS, "per-volume", "1 entries for 4"),
        ({"RepetitionTimePreparation": 0}, PAIRS, "repetition-time", "is 0"),
        ({"RepetitionTimePreparation": [4, 4, -1, 4]}, PAIRS, "repetition-time", "is -1"),
        (INCLUDED | {"PostLabelingDelay": [1.8] * 5}, WITH_M0, "m0scan-volumes", "PostLab"),
        (INCLUDED | {"LabelingDuration": [1.8] * 5}, WITH_M0, "m0scan-volumes", "LabelingDur"),
        ({"LabelingDuration": [1.8, 0, 1.8, 1.8]}, PAIRS, "labeling-duration", "is 0"),
        ({"LabelingDuration": 0}, PAIRS, "labeling-duration", "is 0"),
        ({"TotalAcquiredPairs": 4}, PAIRS, "pairs", "is 4, but the control and label volumes"),
        ({"TotalAcquiredPairs": 3}, (*PAIRS, "control"), "pairs", "make 2"),
        (
            {"LabelingEfficiency": 0.85, "CereflowOrigins": {"LabelingEfficiency": "default"}},
            PAIRS,
            "labeling-efficiency",
            "not measured",
        ),
        (
            {"LabelingEfficiency": 0.9, "CereflowOrigins": {"LabelingEfficiency": "assumed (x)"}},
            PAIRS,
            "labeling-efficiency",
            "not measured",
        ),
        ({"SliceTiming": [0, 0.1]}, PAIRS, "slice-timing", "3D readout"),
        (TWO_D | {"SliceTiming": [0, 0.1]}, PAIRS, "slice-timing", "2 entries for 3 slices"),
        ({"M0Type": "separate"}, PAIRS, "vocabulary", "'separate'"),
        ({"ArterialSpinLabelingType": "VSASL"}, PAIRS, "vocabulary", "'VSASL'"),
    ],
)
def test_a_wrong_value_is_told(
    root: Path, changes: dict[str, Any], context: tuple[str, ...], rule: str, said: str
) -> None:
    write_run(root, PCASL | changes, context)
    (found,) = violations(root)
    assert (found.file, found.rule) == (ASL, rule)
    assert said in found.sentence
    assert found.sentence.endswith(".")
    assert found.fix.endswith(".")


@pytest.mark.parametrize("total", [2, 5, 12])
def test_difference_images_count_the_pairs_they_were_summed_over(root: Path, total: int) -> None:
    context = ("deltam", "deltam", "m0scan")
    write_run(root, PCASL | DIFFERENCES | {"TotalAcquiredPairs": total}, context)
    assert rules_of(violations(root)) == [(ASL, "pairs")]
    alike = {"TotalAcquiredPairs": total, "NumberOfExcitations": 3}
    both = {"TotalAcquiredPairs": total, "CereflowScaling": alike}
    write_run(root, PCASL | DIFFERENCES | both, context)
    (found,) = violations(root)
    assert found.sentence.endswith("the excitations of the difference images make 6.")
    alike = {"TotalAcquiredPairs": total + 1, "NumberOfExcitations": total / 2}
    both = {"TotalAcquiredPairs": total, "CereflowScaling": alike}
    write_run(root, PCASL | DIFFERENCES | both, context)
    (found,) = violations(root)
    assert found.sentence.endswith(f"the difference images were scaled for {total + 1}.")


def test_labeling_duration_is_not_for_pasl(root: Path) -> None:
    write_run(root, PASL | {"LabelingDuration": 1.8}, PAIRS)
    assert rules_of(violations(root)) == [(ASL, "labeling-duration")]


@pytest.mark.parametrize(
    ("sidecar", "key", "said"),
    [
        *((PCASL, key, "REQUIRED and absent") for key in PCASL),
        (PASL, "BolusCutOffFlag", "though ArterialSpinLabelingType is PASL"),
        (PASL, "BolusCutOffDelayTime", "though BolusCutOffFlag is true"),
        (PASL, "BolusCutOffTechnique", "though BolusCutOffFlag is true"),
        (PCASL | TWO_D, "SliceTiming", "though MRAcquisitionType is 2D"),
        (PCASL | {"LookLocker": True}, "FlipAngle", "though LookLocker is true"),
        (PCASL | {"M0Type": "Estimate"}, "M0Estimate", "though M0Type is Estimate"),
        (
            PCASL | {"ArterialSpinLabelingType": "CASL"},
            "LabelingDuration",
            "though ArterialSpinLabelingType is CASL",
        ),
    ],
)
def test_a_required_key_is_missed_unless_it_is_excused(
    root: Path, sidecar: dict[str, Any], key: str, said: str
) -> None:
    write_run(root, merged(sidecar, {key: ABSENT}), PAIRS)
    (found,) = violations(root)
    assert (found.file, found.rule) == (ASL, "required")
    assert found.sentence.startswith(f"{key} is REQUIRED")
    assert said in found.sentence
    assert violations(root, {ASL: [key]}) == []
    assert violations(root, {M0: [key]}) == [found]
    assert violations(root, {ASL: ["Manufacturer"]}) == [found]


def test_a_key_may_be_inherited(root: Path) -> None:
    write_run(root, merged(PCASL, {"EchoTime": ABSENT}), PAIRS)
    inherited = root / "asl.json"
    inherited.write_text(json.dumps({"EchoTime": 0.02, "PostLabelingDelay": 1500}))
    assert violations(root) == []
    inherited.rename(root / "sub-01" / "sub-01_asl.json")
    assert violations(root) == []
    (root / "sub-01" / "sub-01_asl.json").rename(root / "sub-01" / "sub-01_run-2_asl.json")
    assert rules_of(violations(root)) == [(ASL, "required")]


def test_the_nearest_of_several_files_wins(root: Path) -> None:
    write_run(root, merged(PCASL, {"EchoTime": ABSENT}), PAIRS)
    (root / "asl.json").write_text('{"EchoTime": 20}')
    (root / "sub-01" / "sub-01_asl.json").write_text('{"EchoTime": 0.02}')
    (root / "aslcontext.tsv").write_text("volume_type\nlabel\n")
    assert violations(root) == []
    (root / "sub-01/perf/sub-01_aslcontext.tsv").unlink()
    assert rules_of(violations(root)) == [(ASL, "aslcontext")]


# -- volumes and M0 ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "no aslcontext.tsv"),
        ("volume_type\ncontrol\nlabel\ncontrol\n", "lists 3 volumes, the image has 4"),
        ("volume_type\ncontrol\nlabel\ntag\nlabel\n", "unknown types (tag)"),
        ("type\ncontrol\nlabel\ncontrol\nlabel\n", "no volume_type column"),
    ],
)
def test_volume_types_fit_the_image(root: Path, text: str | None, said: str) -> None:
    # Where the types are not known, nothing is said of M0 volumes.
    write_run(root, PCASL | {"M0Type": "Included"}, PAIRS)
    table = root / "sub-01/perf/sub-01_aslcontext.tsv"
    table.unlink()
    if text is not None:
        table.write_text(text)
    (found,) = violations(root)
    assert (found.file, found.rule) == (ASL, "aslcontext")
    assert said in found.sentence


def test_separate_needs_an_m0_meant_for_this_run(root: Path) -> None:
    write_m0(root, CALIBRATION | {"IntendedFor": []})
    assert rules_of(violations(root)) == [(ASL, "m0-type")]
    for path in root.glob("sub-01/perf/*m0scan*"):
        path.unlink()
    (found,) = violations(root)
    assert found.sentence.startswith("M0Type is Separate, but no m0scan")


def test_included_needs_m0scan_volumes(root: Path) -> None:
    write_run(root, PCASL | {"M0Type": "Included"}, PAIRS)
    (found,) = violations(root)
    assert (found.file, found.rule) == (ASL, "m0-type")
    assert "no volume is an m0scan" in found.sentence


def test_absent_means_that_there_is_none(root: Path) -> None:
    write_run(root, PCASL | {"M0Type": "Absent"}, PAIRS)
    (separate,) = violations(root)
    assert "an m0scan is intended for it" in separate.sentence
    shutil.rmtree(root / "sub-01")
    write_run(root, PCASL | INCLUDED | {"M0Type": "Absent"}, WITH_M0)
    (included,) = violations(root)
    assert (included.file, included.rule) == (ASL, "m0-type")
    assert "volumes of this run are m0scan" in included.sentence


@pytest.mark.parametrize("key", CALIBRATION)
def test_an_m0scan_needs_its_own_keys(root: Path, key: str) -> None:
    write_m0(root, merged(CALIBRATION, {key: ABSENT}))
    found = [one for one in violations(root) if one.file == M0]
    assert rules_of(found) == [(M0, "required")]
    assert found[0].sentence.startswith(key)


def test_an_m0scan_of_no_repetition_time_is_told(root: Path) -> None:
    write_m0(root, CALIBRATION | {"RepetitionTimePreparation": 0.0})
    assert rules_of(violations(root)) == [(M0, "repetition-time")]


@pytest.mark.parametrize(
    ("link", "there"),
    [
        ("bids::sub-01/perf/sub-01_asl.nii.gz", True),
        ("perf/sub-01_asl.nii.gz", True),
        ("bids::sub-01/perf/sub-01_run-9_asl.nii.gz", False),
        ("bids::perf/sub-01_asl.nii.gz", False),
        ("sub-01/perf/sub-01_asl.nii.gz", False),
        ("ses-1/perf/sub-01_asl.nii.gz", False),
        ("bids::../outside.nii.gz", False),
        ("bids:known:sub-01/anat/x.nii.gz", True),
        ("bids:unknown:sub-01/anat/x.nii.gz", False),
    ],
)
def test_a_link_leads_to_a_file(root: Path, link: str, there: bool) -> None:
    (root.parent / "outside.nii.gz").touch()
    (root / "dataset_description.json").write_text('{"DatasetLinks": {"known": "../other"}}')
    links = [*CALIBRATION["IntendedFor"], link]
    write_m0(root, CALIBRATION | {"IntendedFor": links})
    expected = [] if there else [(M0, "intended-for")]
    assert rules_of(violations(root)) == expected


def test_a_session_is_part_of_an_old_link(root: Path) -> None:
    (root / "sub-01" / "ses-1").mkdir()
    (root / "sub-01" / "perf").rename(root / "sub-01" / "ses-1" / "perf")
    sidecar = root / "sub-01/ses-1/perf/sub-01_m0scan.json"
    sidecar.write_text(json.dumps(CALIBRATION | {"IntendedFor": "ses-1/perf/sub-01_asl.nii.gz"}))
    assert violations(root) == []


# -- files that cannot be read, and many of them -------------------------------------------------


def test_damaged_files_do_not_hide_the_others(root: Path) -> None:
    write_run(root, PCASL | {"M0Type": "Absent", "PostLabelingDelay": 1800}, PAIRS, "02")
    (root / "sub-01/perf/sub-01_asl.json").write_text("{")
    (root / M0).write_bytes(b"\x1f\x8b damaged")
    assert rules_of(violations(root)) == [
        (ASL, "unreadable"),
        (M0, "unreadable"),
        ("sub-02/perf/sub-02_asl.nii.gz", "seconds"),
    ]


def test_a_thousand_runs_take_seconds(root: Path) -> None:
    for number in range(2, 1001):
        folder = root / f"sub-{number:04d}" / "perf"
        folder.mkdir(parents=True)
        for path in (root / "sub-01" / "perf").iterdir():
            name = path.name.replace("sub-01", f"sub-{number:04d}")
            if path.suffix == ".json":
                text = path.read_text().replace("sub-01", f"sub-{number:04d}")
                (folder / name).write_text(text)
            else:
                shutil.copy(path, folder / name)
    # Of the processor, which other tests may keep busy; it is about 2 s where nothing else runs.
    start = time.process_time()
    assert violations(root) == []
    assert time.process_time() - start < 20


# -- whole datasets ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["varied_single_clean", "varied_multi_clean", "varied_pasl_clean", "hrgt_multi_clean"],
)
def test_phantoms_break_no_rule(data_dir: Path, name: str) -> None:
    dataset = data_dir / "phantoms" / name
    assert list(dataset.glob("sub-*/perf/*_asl.nii.gz"))
    assert own_violations(dataset) == []


@pytest.mark.parametrize("stem", REAL)
def test_converted_real_scans_break_no_rule(real_bids: Callable[[str], Path], stem: str) -> None:
    assert own_violations(real_bids(stem)) == []


def test_a_conversion_that_breaks_a_rule_stays_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from cereflow_bids.intake.nifti import sidecars

    def damaged(types: tuple[str, ...]) -> str:
        return "\n".join(("volume_type", *types[:-1])) + "\n"

    dataset = tmp_path / "bids"
    upload = siemens_zip(tmp_path, visit("R"))
    options = ("--post-labeling-delay", "1.8", "--labeling-duration", "1.8")
    with monkeypatch.context() as patch:
        patch.setattr(sidecars, "context_table", damaged)
        assert convert(upload, dataset, *options) == 1
    told = capsys.readouterr().err
    assert "would break a rule of BIDS: aslcontext.tsv lists 5 volumes, the image has 6." in told
    assert "Traceback" not in told
    assert not list(dataset.glob("sub-*"))
    assert convert(upload, dataset, *options) == 0
    assert own_violations(dataset) == []
