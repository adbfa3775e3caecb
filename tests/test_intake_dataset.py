"""Whole conversions of DICOM that we write ourselves: GE, several patients, failures."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from bids_validation import validator_errors
from identity import leaks, named
from numpy.typing import NDArray

from cereflow_bids.cli.convert import main
from cereflow_bids.demo.writers import ge, philips, siemens
from cereflow_bids.demo.writers.dicom import pack
from cereflow_bids.demo.writers.study import Identity, Study
from cereflow_bids.resources import packaged_folder

SHAPE = (16, 18, 6)
AFFINE = np.array([[3.75, 0, 0, -30.0], [0, 3.75, 0, -40.0], [0, 0, 4.0, -10.0], [0, 0, 0, 1.0]])


def visit(tag: str, date: str = "20210203", **more: Any) -> Study:
    return Study(Identity.canary(tag), date, "101010", **more)


def head(value: float) -> NDArray[np.float64]:
    inside = np.zeros(SHAPE)
    inside[3:13, 3:15, 1:5] = value
    return inside


def siemens_zip(folder: Path, study: Study, name: str = "siemens.zip") -> Path:
    control, label = head(300), head(295)
    stack = np.stack([head(1500), control, label, control, label, control], axis=-1)
    siemens.write(folder / name / "dicom", study, stack, AFFINE)
    return pack(folder / name / "dicom", folder / f"packed-{name}")


def philips_zip(folder: Path, study: Study) -> Path:
    stack = np.stack([head(8), head(8), head(0.4), head(0.39)], axis=-1)
    philips.write_source(folder / "philips" / "source", study, stack, AFFINE)
    philips.write_cbf(folder / "philips" / "cbf", study, head(50), AFFINE)
    return pack(folder / "philips", folder / "philips.zip")


def convert(*arguments: Any) -> int:
    return main([str(argument) for argument in arguments] + ["--quiet"])


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return content


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
    (entry,) = read(dataset / "pending.json")["pending"]
    assert entry["flags"] == ["--excitations NUMBER"]
    assert convert(files, dataset, "--excitations", 2) == 0
    image = nib.load(dataset / "sub-01/perf/sub-01_asl.nii.gz").get_fdata()
    assert image[..., 0].max() == pytest.approx(960 / 64)
    assert not (dataset / "pending.json").exists()


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
    assert read(dataset / "pending.json") == {
        "pending": [
            {
                "run": "sub-01/perf/sub-01_asl.nii.gz",
                "missing": ["PostLabelingDelay", "LabelingDuration"],
                "flags": ["--post-labeling-delay SECONDS", "--labeling-duration SECONDS"],
            }
        ]
    }
    assert "pending.json" in (dataset / ".bidsignore").read_text("utf-8").split()
    assert "PostLabelingDelay" not in read(dataset / "sub-01/perf/sub-01_asl.json")
    wanted = {issue["subCode"] for issue in validator_errors(dataset)}
    assert wanted == {"PostLabelingDelay", "LabelingDuration"}
    again = convert(source, dataset, "--post-labeling-delay", 2.0, "--labeling-duration", 1.8)
    assert again == 0
    assert not (dataset / "pending.json").exists()
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


def test_a_failure_stops_nobody_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "CANARY-broken.zip"
    broken.write_bytes(b"no archive")
    good = siemens_zip(tmp_path, visit("A"))
    assert convert(broken, good, tmp_path / "bids") == 1
    said = capsys.readouterr()
    assert "FAILED input 1: This is not a ZIP archive" in said.err
    assert "CANARY" not in said.err + said.out
    assert (tmp_path / "bids/sub-01/perf/sub-01_asl.nii.gz").is_file()


def one_volume(folder: Path, study: Study) -> Path:
    siemens.write(folder / "short", study, np.stack([head(9)] * 2, axis=-1), AFFINE)
    next(iter(sorted((folder / "short").iterdir()))).unlink()
    return pack(folder / "short", folder / "short.zip")


def test_a_series_of_one_volume_stops_nobody_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, good = one_volume(tmp_path, visit("A")), siemens_zip(tmp_path, visit("B"))
    assert convert(bad, good, tmp_path / "bids") == 1
    said = capsys.readouterr()
    assert "An ASL series of 1 volume holds no pair" in said.err
    assert "1 images, 0 pending, 1 failed" in said.out
    assert (tmp_path / "bids/sub-01/perf/sub-01_asl.nii.gz").is_file()


def test_images_on_different_grids_stop_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from cereflow_bids.intake import study

    ge.write(tmp_path / "ge", visit("A"), head(960), head(1000), AFFINE)
    real = study.read_scan

    def shifted(*arguments: Any) -> Any:
        scan = real(*arguments)
        if len(scan.files) > 1:
            image = nib.load(scan.files[1])
            moved = image.affine + np.diag([0, 0, 0.5, 0])
            nib.save(nib.Nifti1Image(image.get_fdata(dtype=np.float32), moved), scan.files[1])
        return scan

    monkeypatch.setattr(study, "read_scan", shifted)
    good = siemens_zip(tmp_path, visit("B"))
    assert convert(tmp_path / "ge", good, tmp_path / "bids") == 1
    assert "lie on different grids" in capsys.readouterr().err
    assert (tmp_path / "bids/sub-01/perf/sub-01_asl.nii.gz").is_file()


@pytest.mark.parametrize("error", [RuntimeError, KeyError])
def test_an_error_nobody_thought_of_is_nameless_and_stops_nobody_else(
    error: type[Exception],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    from cereflow_bids.intake import study

    real, calls = study.publish, []

    def failing(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 1:
            raise error("CANARY^NAMEA")
        return real(*arguments)

    monkeypatch.setattr(study, "publish", failing)
    first = siemens_zip(tmp_path, visit("A"), "a.zip")
    second = siemens_zip(tmp_path, visit("B"), "b.zip")
    assert convert(first, second, tmp_path / "bids") == 1
    said = "".join(capfd.readouterr())
    assert f"could not be converted ({error.__name__}). To fix: export it again" in said
    assert "CANARY" not in said
    assert "Traceback" not in said
    assert [path.name for path in (tmp_path / "bids").glob("sub-*")] == ["sub-01"]


def test_an_unreadable_header_of_any_kind_is_nameless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from cereflow_bids.intake import series

    def failing(header: Any) -> Any:
        raise NotImplementedError(str(header.PatientName))

    monkeypatch.setattr(series, "_repetition_time", failing)
    assert convert(siemens_zip(tmp_path, visit("A")), tmp_path / "bids") == 1
    said = "".join(capfd.readouterr())
    assert "input 1: A file cannot be read (NotImplementedError)" in said
    assert "CANARY" not in said


def test_a_failed_patient_takes_no_label_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cereflow_bids.errors import InputError
    from cereflow_bids.intake import study

    first = siemens_zip(tmp_path, visit("A"), "a.zip")
    second = siemens_zip(tmp_path, visit("B"), "b.zip")
    real, calls = study.publish, []

    def failing(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 1:
            real(*arguments)
            raise InputError("out of luck", where="here", fix="none")
        return real(*arguments)

    monkeypatch.setattr(study, "publish", failing)
    dataset = tmp_path / "bids"
    assert convert(first, second, dataset) == 1
    assert [path.name for path in dataset.glob("sub-*")] == ["sub-01"]
    assert list(read(tmp_path / "bids.key.json")["patients"]) == ["|CANARYIDB|19010203"]


def test_a_move_that_fails_puts_the_old_study_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, dataset = philips_zip(tmp_path, visit("P")), tmp_path / "bids"
    assert convert(source, dataset) == 3
    names = sorted(path.relative_to(dataset) for path in dataset.rglob("*"))
    before = {name: (dataset / name).read_bytes() for name in names if (dataset / name).is_file()}
    real = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if "patient-" in str(self) and "/bids/derivatives" in str(self):
            raise OSError(28, "No space left on device", str(self))
        return real(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    options = ("--post-labeling-delay", 2.0, "--labeling-duration", 1.8)
    assert convert(source, dataset, *options) == 1
    said = capsys.readouterr().err
    assert "No space left" in said
    assert "patient-" not in said
    assert sorted(path.relative_to(dataset) for path in dataset.rglob("*")) == names
    assert all((dataset / name).read_bytes() == content for name, content in before.items())
    assert not list(tmp_path.glob(".bids-converting-*"))


def test_a_study_that_cannot_be_put_back_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, dataset = siemens_zip(tmp_path, visit("A")), tmp_path / "bids"
    assert convert(source, dataset) == 0
    real = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.is_relative_to(dataset):
            return real(self, target)
        raise OSError(5, "Input/output error", str(self))

    monkeypatch.setattr(Path, "rename", failing)
    assert convert(source, dataset) == 1
    (kept,) = tmp_path.glob(".bids-converting-*/**/sub-01_asl.nii.gz")
    assert "replaced" in kept.parts
    assert "hidden folder" in capsys.readouterr().err


def test_a_series_without_a_pair_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = tmp_path / "dicom"
    siemens.write(files, visit("A"), np.stack([head(900), head(90)], axis=-1), AFFINE)
    assert convert(files, tmp_path / "bids") == 1
    assert "no pair of control and label" in capsys.readouterr().err


def test_a_malformed_header_is_told_without_its_content(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = tmp_path / "dicom"
    path = siemens.write(files, visit("A"), np.stack([head(9)] * 2, axis=-1), AFFINE)[0]
    raw = path.read_bytes()
    number = raw.index(b"\x20\x00\x13\x00IS") + 8
    path.write_bytes(raw[:number] + b"X" + raw[number + 1 :])
    assert convert(files, tmp_path / "bids") == 1
    said = capsys.readouterr().err
    assert "input 1: A file cannot be read" in said
    assert "CANARY" not in said
    assert not (tmp_path / "bids").exists()


def truncate(path: Path) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) - SHAPE[0] * SHAPE[1]])


def no_pixels(path: Path) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw[: raw.rindex(b"\xe0\x7f\x10\x00")])


def impossible_rows(path: Path) -> None:
    from pydicom import dcmread

    image = dcmread(path)
    image.Rows = 0
    image.save_as(path)


@pytest.mark.parametrize("spoil", [truncate, no_pixels, impossible_rows])
@pytest.mark.parametrize("writer", ["siemens", "philips", "ge"])
def test_a_failing_conversion_names_nobody(
    writer: str,
    spoil: Callable[[Path], None],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    files, work = tmp_path / "Doe^Jane", tmp_path / "work"
    study = visit("V7")
    if writer == "ge":
        ge.write(files, study, head(960), head(1000), AFFINE)
    else:
        write = siemens.write if writer == "siemens" else philips.write_source
        write(files, study, np.stack([head(v) for v in (900, 90, 89, 90)], axis=-1), AFFINE)
    for path in files.iterdir():
        spoil(path)
    assert main([str(files), str(work / "bids")]) == 1
    secrets = {text.encode() for text in (*study.identity.texts(), "Doe^Jane", study.uid)}
    said = "".join(capfd.readouterr()).encode()
    assert b"FAILED" in said
    assert b"Traceback" not in said
    assert named(said, secrets) == []
    assert leaks(work, secrets) == []
    assert list(work.iterdir()) == []


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
