"""What goes wrong in a conversion stops nobody else, changes nothing, and names nobody."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from identity import leaks, named
from intake_uploads import AFFINE, SHAPE, convert, head, philips_zip, read, siemens_zip, visit

from cereflow_bids.cli.convert import main
from cereflow_bids.demo.writers import ge, philips, siemens
from cereflow_bids.demo.writers.dicom import pack
from cereflow_bids.demo.writers.study import Study


def test_a_failure_stops_nobody_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "CANARY-broken.zip"
    broken.write_bytes(b"no archive")
    good = siemens_zip(tmp_path, visit("A"))
    assert convert(broken, good, tmp_path / "bids") == 1
    said = capsys.readouterr()
    assert "FAILED input 1: This is not an archive" in said.err
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
    assert "images: 1, pending: 0, failed: 1" in said.out
    assert (tmp_path / "bids/sub-01/perf/sub-01_asl.nii.gz").is_file()


def test_images_on_different_grids_stop_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from cereflow_bids.intake import preparation

    ge.write(tmp_path / "ge", visit("A"), head(960), head(1000), AFFINE)
    real = preparation.read_scan

    def shifted(*arguments: Any) -> Any:
        scan = real(*arguments)
        if len(scan.files) > 1:
            image = nib.load(scan.files[1])
            moved = image.affine + np.diag([0, 0, 0.5, 0])
            nib.save(nib.Nifti1Image(image.get_fdata(dtype=np.float32), moved), scan.files[1])
        return scan

    monkeypatch.setattr(preparation, "read_scan", shifted)
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
    from cereflow_bids.intake.layout import study

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
    from cereflow_bids.intake.headers import series

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
    from cereflow_bids.intake.layout import study

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
        if "study-" in str(self) and "/bids/derivatives" in str(self):
            raise OSError(28, "No space left on device", str(self))
        return real(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    options = ("--post-labeling-delay", 2.0, "--labeling-duration", 1.8)
    assert convert(source, dataset, *options) == 1
    said = capsys.readouterr().err
    assert "No space left" in said
    assert "study-" not in said
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
        if Path(target).is_relative_to(dataset):
            raise OSError(5, "Input/output error", str(self))
        return real(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    assert convert(source, dataset, "--background-suppression-pulses", 2) == 1
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


# -- images twice --------------------------------------------------------------------------------


def test_the_same_image_twice_counts_once_and_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = tmp_path / "dicom"
    stack = np.stack([head(v) for v in (1500, 300, 295, 300, 295, 300)], axis=-1)
    paths = siemens.write(files, visit("A"), stack, AFFINE)
    for path in paths[:2]:
        (files / f"copy-{path.name}").write_bytes(path.read_bytes())
    assert convert(files, tmp_path / "bids") == 0
    said = capsys.readouterr().out
    assert "1 m0scan, 1 n/a, 2 label, 2 control" in said
    assert "series 15: 2 files are copies" in said


def test_two_images_of_one_uid_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = tmp_path / "dicom"
    stack = np.stack([head(v) for v in (1500, 300, 295, 300, 295, 300)], axis=-1)
    paths = siemens.write(files, visit("A"), stack, AFFINE)
    raw = bytearray(paths[2].read_bytes())
    raw[-1] ^= 1
    (files / "0000-copy").write_bytes(raw)
    assert convert(files, tmp_path / "bids") == 1
    assert "one and the same SOP instance UID" in capsys.readouterr().err
    assert not (tmp_path / "bids").exists()


def test_a_missing_slice_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = tmp_path / "dicom"
    stack = np.stack([head(8), head(8), head(0.4), head(0.39)], axis=-1)
    paths = philips.write_source(files, visit("P"), stack, AFFINE)
    paths[SHAPE[2] + 2].unlink()
    assert convert(files, tmp_path / "bids") == 1
    said = capsys.readouterr().err
    assert "series 1903: The series is incomplete: 23 of 24 images are there" in said
    for volume in range(4):
        paths[volume * SHAPE[2] + 2].unlink(missing_ok=True)
    assert convert(files, tmp_path / "bids") == 1
    assert "not evenly spaced (4.00 to 8.00 mm)" in capsys.readouterr().err


def test_a_series_of_two_patients_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pydicom import dcmread

    files = tmp_path / "dicom"
    stack = np.stack([head(v) for v in (1500, 300, 295, 300, 295, 300)], axis=-1)
    paths = siemens.write(files, visit("A"), stack, AFFINE)
    image = dcmread(paths[3])
    image.PatientID = "CANARYOTHER"
    image.save_as(paths[3])
    assert convert(files, tmp_path / "bids") == 1
    said = capsys.readouterr().err
    assert "mixes images of several patients" in said
    assert "CANARY" not in said


def test_a_missing_volume_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = tmp_path / "dicom"
    stack = np.stack([head(v) for v in (1500, 300, 295, 300, 295, 300)], axis=-1)
    siemens.write(files, visit("A"), stack, AFFINE)[3].unlink()
    assert convert(files, tmp_path / "bids") == 1
    said = capsys.readouterr().err
    assert "series 15: Images are missing: instance numbers jump from 13 to 25" in said


def test_every_second_slice_missing_is_noticed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = tmp_path / "dicom"
    for path in ge.write(files, visit("G"), head(960), head(1000), AFFINE)[::2]:
        path.unlink()
    assert convert(files, tmp_path / "bids") == 1
    assert "8.00 mm apart, but were acquired every 4.00 mm" in capsys.readouterr().err
