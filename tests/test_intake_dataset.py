"""Whole conversions of DICOM that we write ourselves: GE, several patients, pending, usage."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from bids_validation import validator_errors
from intake_uploads import AFFINE, SHAPE, convert, head, philips_zip, read, siemens_zip, visit

from cereflow_bids.cli.convert import main
from cereflow_bids.demo.writers import ge, philips
from cereflow_bids.resources import packaged_folder

# -- GE ------------------------------------------------------------------------------------------


def test_ge_series_becomes_deltam_and_m0(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    deltam, density = rng.uniform(0, 10, SHAPE), np.rint(rng.uniform(500, 1500, SHAPE))
    protocol = ge.GeProtocol(
        post_labeling_delay=2.025, labeling_duration=1.45, excitations=3, repetition_time=4.85
    )
    files = tmp_path / "dicom"
    ge.write(files, visit("G"), deltam * 32 * 3, density, AFFINE, protocol=protocol)
    dataset = tmp_path / "bids"
    assert convert(files, dataset) == 0
    image = nib.load(dataset / "sub-01/perf/sub-01_asl.nii.gz")
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-4)
    # Stored PW is a whole number, so ΔM is exact to half a step of 1 / (32 × 3).
    np.testing.assert_allclose(image.get_fdata()[..., 0], deltam, atol=0.5 / 96 + 1e-6)
    np.testing.assert_allclose(image.get_fdata()[..., 1], density, atol=1e-3)
    context = (dataset / "sub-01/perf/sub-01_aslcontext.tsv").read_text("utf-8")
    assert context == "volume_type\ndeltam\nm0scan\n"
    asl = read(dataset / "sub-01/perf/sub-01_asl.json")
    assert asl["PostLabelingDelay"] == 2.025
    assert asl["LabelingDuration"] == 1.45
    assert asl["ArterialSpinLabelingType"] == "PCASL"
    assert asl["RepetitionTimePreparation"] == [4.85, 2.0]
    assert asl["TotalAcquiredPairs"] == 3
    assert asl["M0Type"] == "Included"
    assert asl["BackgroundSuppression"] is True
    assert asl["CereflowScaling"]["ScalingFactor"] == 32.0
    assert asl["CereflowScaling"]["NumberOfExcitations"] == 3
    assert validator_errors(dataset) == []


def strip(folder: Path, *tags: Any) -> None:
    from pydicom import dcmread

    for path in folder.iterdir():
        image = dcmread(path)
        for tag in tags:
            del image[tag]
        image.save_as(path)


def test_ge_without_excitations_is_pending(tmp_path: Path) -> None:
    files, dataset = tmp_path / "dicom", tmp_path / "bids"
    ge.write(files, visit("G"), head(960), head(1000), AFFINE)
    strip(files, "NumberOfAverages", (0x0027, 0x1062))
    assert convert(files, dataset) == 3
    (entry,) = read(tmp_path / "bids.pending.json")["pending"]
    assert entry["flags"] == ["--excitations NUMBER"]
    assert convert(files, dataset, "--excitations", 2) == 0
    image = nib.load(dataset / "sub-01/perf/sub-01_asl.nii.gz").get_fdata()
    assert image[..., 0].max() == pytest.approx(960 / 64)
    assert not (tmp_path / "bids.pending.json").exists()


def test_ge_incomplete_series_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files, dataset = tmp_path / "dicom", tmp_path / "bids"
    paths = ge.write(files, visit("G"), head(960), head(1000), AFFINE)
    for path in paths[SHAPE[2] :]:
        path.unlink()
    assert convert(files, dataset) == 1
    assert "proton-density" in capsys.readouterr().err
    assert not dataset.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["dicom"]


# -- several inputs ------------------------------------------------------------------------------


def test_one_command_line_serves_two_vendors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = siemens_zip(tmp_path, visit("S"))
    two = philips_zip(tmp_path, visit("P", sex="F", age="093Y"))
    dataset = tmp_path / "bids"
    code = convert(one, two, dataset, "--post-labeling-delay", 2.0, "--labeling-duration", 1.7)
    assert code == 0
    said = capsys.readouterr().out
    assert said.count("CONFLICT") == 2, "delay and duration of the Siemens header stay"
    first = read(dataset / "sub-01/perf/sub-01_asl.json")
    second = read(dataset / "sub-02/perf/sub-02_asl.json")
    assert (first["PostLabelingDelay"], first["LabelingDuration"]) == (1.8, 1.656)
    assert (second["PostLabelingDelay"], second["LabelingDuration"]) == (2.0, 1.7)
    assert second["TotalAcquiredPairs"] == 1
    rows = (dataset / "participants.tsv").read_text("utf-8").splitlines()
    assert rows == ["participant_id\tage\tsex", "sub-01\t50\tO", "sub-02\t89+\tF"]
    assert validator_errors(dataset) == []
    for path in dataset.rglob("*"):
        assert not path.is_file() or b"CANARY" not in path.read_bytes()


def test_tags_of_the_header_stand_against_the_signal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = np.stack([head(value) for value in (8, 8, 0.39, 0.4, 0.39, 0.4)], axis=-1)
    philips.write_source(tmp_path / "dicom", visit("P"), stack, AFFINE)
    options = ("--post-labeling-delay", 2.0, "--labeling-duration", 1.7)
    assert convert(tmp_path / "dicom", tmp_path / "bids", *options) == 0
    context = (tmp_path / "bids/sub-01/perf/sub-01_aslcontext.tsv").read_text("utf-8").split()
    assert context[1:] == ["m0scan", "m0scan", "control", "label", "control", "label"]
    assert "label is brighter than control. The header was kept" in capsys.readouterr().out


def test_pending_until_the_options_are_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, dataset = philips_zip(tmp_path, visit("P")), tmp_path / "bids"
    assert convert(source, dataset) == 3
    assert "--post-labeling-delay SECONDS" in capsys.readouterr().out
    assert read(tmp_path / "bids.pending.json") == {
        "pending": [
            {
                "run": "sub-01/perf/sub-01_asl.nii.gz",
                "series": [1903],
                "missing": ["PostLabelingDelay", "LabelingDuration"],
                "flags": ["--post-labeling-delay SECONDS", "--labeling-duration SECONDS"],
                "protocol": ["PostLabelingDelay: SECONDS", "LabelingDuration: SECONDS"],
            }
        ]
    }
    assert "PostLabelingDelay" not in read(dataset / "sub-01/perf/sub-01_asl.json")
    wanted = {issue["subCode"] for issue in validator_errors(dataset)}
    assert wanted == {"PostLabelingDelay", "LabelingDuration"}
    assert convert(source, dataset) == 3, "the same again is still pending"
    again = convert("--post-labeling-delay", 2.0, "--labeling-duration", 1.8, source, dataset)
    assert again == 0
    assert sorted(path.name for path in tmp_path.glob("bids*")) == ["bids", "bids.key.json"]
    assert read(dataset / "sub-01/perf/sub-01_asl.json")["PostLabelingDelay"] == 2.0
    assert sorted(path.name for path in dataset.glob("sub-*")) == ["sub-01"]
    assert validator_errors(dataset) == []


def test_participants_are_added_and_labels_stay(tmp_path: Path) -> None:
    dataset = tmp_path / "bids"
    first = siemens_zip(tmp_path, visit("A"), "a.zip")
    second = siemens_zip(tmp_path, visit("B"), "b.zip")
    assert convert(first, dataset) == 0
    before = (dataset / "sub-01/perf/sub-01_asl.json").read_bytes()
    assert convert(second, first, dataset) == 0
    assert (dataset / "sub-01/perf/sub-01_asl.json").read_bytes() == before
    patients = read(tmp_path / "bids.key.json")["patients"]
    assert {key: entry["label"] for key, entry in patients.items()} == {
        "|CANARYIDA|19010203": "01",
        "|CANARYIDB|19010203": "02",
    }


def test_two_studies_of_one_patient_are_sessions_by_date(tmp_path: Path) -> None:
    late = siemens_zip(tmp_path, visit("A", "20220101"), "late.zip")
    early = siemens_zip(tmp_path, visit("A", "20200101"), "early.zip")
    dataset = tmp_path / "bids"
    assert convert(late, early, dataset) == 0
    assert sorted(path.name for path in (dataset / "sub-01").iterdir()) == ["ses-01", "ses-02"]
    assert (dataset / "sub-01/ses-02/perf/sub-01_ses-02_asl.nii.gz").is_file()
    assert validator_errors(dataset) == []


# -- usage ---------------------------------------------------------------------------------------


def test_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = siemens_zip(tmp_path, visit("A"))
    occupied = tmp_path / "photos"
    occupied.mkdir()
    (occupied / "cat.jpg").write_bytes(b"cat")
    assert convert(source, occupied) == 2
    assert convert(source, source) == 2
    assert convert(source, tmp_path / "bids", "--key-file", tmp_path / "bids/key.json") == 2
    assert convert(source, tmp_path / "bids", "--post-labeling-delay", 2000) == 2
    assert convert(source, tmp_path / "bids", "--session-label", "a/b") == 2
    assert main([str(source)]) == 2
    assert convert(source, source / "inside") == 2
    assert "milliseconds" in capsys.readouterr().err
    assert not (tmp_path / "bids").exists()


def test_a_mistyped_path_is_wrong_usage_and_nothing_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = siemens_zip(tmp_path, visit("A"))
    before = sorted(tmp_path.rglob("*"))
    assert convert(source, tmp_path / "CANARY.zip", tmp_path / "bids") == 2
    said = capsys.readouterr().err
    assert "input 2: There is no such file or folder." in said
    assert "CANARY" not in said
    assert sorted(tmp_path.rglob("*")) == before


def test_plain_heudiconv_can_use_the_heuristic(tmp_path: Path) -> None:
    import dcm2niix

    stack = np.stack([head(8), head(8), head(0.4), head(0.39)], axis=-1)
    philips.write_source(tmp_path / "dicom/1", visit("P"), stack, AFFINE)
    philips.write_cbf(tmp_path / "dicom/2", visit("P"), head(50), AFFINE)
    script = packaged_folder("heuristics") / "cereflow.py"
    path = os.pathsep.join((str(Path(dcm2niix.bin).parent), os.environ["PATH"]))
    launch = "import sys; sys.modules['cereflow_bids'] = None; "
    launch += "from heudiconv.cli.run import main; sys.exit(main())"
    command = [sys.executable, "-c", launch, "--files", tmp_path / "dicom", "-s", "01", "-b"]
    command += ["-f", script, "-c", "dcm2niix", "-o", tmp_path / "out", "--minmeta"]
    environment = {**os.environ, "PATH": path, "NO_ET": "1"}
    subprocess.run(command, check=True, capture_output=True, env=environment, cwd=tmp_path)
    found = {path.name for path in (tmp_path / "out").rglob("*.nii.gz")}
    assert found == {"sub-01_asl.nii.gz", "sub-01_desc-console_cbf.nii.gz"}
