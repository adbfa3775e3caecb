"""Whatever a hospital packs its DICOM in, the dataset is that of the plain files."""

import gc
import io
import shutil
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from bids_validation import validator_errors
from dicom_compression import SYNTAXES, append_zeros, damage, rewrite
from intake_uploads import AFFINE, convert, dataset_bytes, read, visit, voxels
from pydicom import dcmread
from pydicom.fileset import FileSet

from cereflow_bids.demo.writers import ge, philips, siemens, siemens_slices
from cereflow_bids.demo.writers.dicom import pack
from cereflow_bids.demo.writers.siemens_protocol import SiemensProtocol
from cereflow_bids.demo.writers.study import Study

# Of the values that no header of one vendor or another holds.
TOLD = ("--post-labeling-delay", 2.0, "--labeling-duration", 1.8)
CHINESE = "张伟"


def write(folder: Path, study: Study, seed: int = 0, number: int = 15) -> list[Path]:
    """Write a Siemens ASL series, every voxel of every volume its own."""
    stack = np.stack(
        [voxels(seed + k, 1500 if k == 0 else 300 - 5 * (k % 2)) for k in range(5)], -1
    )
    protocol = SiemensProtocol(series_number=number)
    return siemens.write(folder, study, stack, AFFINE, protocol=protocol)


def write_whole(folder: Path, study: Study) -> None:
    """Write ASL with T1w images, thick and thin."""
    write(folder / "asl", study)
    for name, protocol in (("t1", siemens_slices.MPRAGE), ("thick", siemens_slices.THICK_T1)):
        volume = voxels(protocol.series_number, 900)
        siemens_slices.write(folder / name, study, volume, AFFINE, protocol)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of one study, as a scanner exports it, and its dataset beside it."""
    folder = tmp_path_factory.mktemp("plain")
    write_whole(folder / "dicom", visit("A"))
    assert convert(folder / "dicom", folder / "bids") == 0
    assert validator_errors(folder / "bids") == []
    return folder


@pytest.fixture
def files(plain: Path, tmp_path: Path) -> Path:
    """Return a copy of the study, to be packed."""
    return Path(shutil.copytree(plain / "dicom", tmp_path / "dicom"))


@pytest.fixture
def same(plain: Path, tmp_path: Path) -> Callable[..., None]:
    """Return a check: the inputs give the dataset of the plain files, byte by byte."""

    def check(*inputs: Path) -> None:
        assert convert(*inputs, tmp_path / "bids") == 0
        assert dataset_bytes(tmp_path / "bids") == dataset_bytes(plain / "bids")

    return check


# -- T1w -----------------------------------------------------------------------------------------


def test_t1w_is_recognised_and_the_thick_one_stands_back(plain: Path) -> None:
    anatomy = plain / "bids/sub-01/anat"
    assert {path.name for path in anatomy.glob("*.nii.gz")} == {
        "sub-01_T1w.nii.gz",
        "sub-01_acq-2D_T1w.nii.gz",
    }
    assert read(anatomy / "sub-01_T1w.json")["MRAcquisitionType"] == "3D"
    for name, protocol in (
        ("T1w", siemens_slices.MPRAGE),
        ("acq-2D_T1w", siemens_slices.THICK_T1),
    ):
        image = nib.as_closest_canonical(nib.load(anatomy / f"sub-01_{name}.nii.gz"))
        np.testing.assert_array_equal(image.get_fdata(), voxels(protocol.series_number, 900))


# -- patients and studies ------------------------------------------------------------------------


def test_several_patients_and_studies_in_one_zip(tmp_path: Path) -> None:
    visits = [("A", "20200101"), ("A", "20220101"), ("B", "20210101"), ("C", "20190101")]
    for number, (tag, date) in enumerate(visits):
        write(tmp_path / "dicom" / f"{number}", visit(tag, date), seed=10 * number)
    dataset = tmp_path / "bids"
    assert convert(pack(tmp_path / "dicom", tmp_path / "all.zip"), dataset) == 0
    assert validator_errors(dataset) == []
    key = read(tmp_path / "bids.key.json")["patients"]
    label = {patient.split("|")[1][-1]: entry["label"] for patient, entry in key.items()}
    assert sorted(label.values()) == ["01", "02", "03"]
    places = [f"{label['A']}/ses-01", f"{label['A']}/ses-02", label["B"], label["C"]]
    for number, place in enumerate(places):
        (path,) = dataset.glob(f"sub-{place}/perf/*_asl.nii.gz")
        image = nib.as_closest_canonical(nib.load(path)).get_fdata()
        np.testing.assert_array_equal(image[..., 0], voxels(10 * number, 1500))
    assert len(list(dataset.rglob("*_asl.nii.gz"))) == len(visits)


def test_one_patient_over_several_zips(
    files: Path, same: Callable[..., None], tmp_path: Path
) -> None:
    parts = [pack(files / name, tmp_path / f"{name}.zip") for name in ("t1", "asl", "thick")]
    same(*parts)


def test_one_series_over_two_zips(files: Path, same: Callable[..., None], tmp_path: Path) -> None:
    for number, path in enumerate(sorted(files.rglob("*.dcm"))):
        goal = tmp_path / f"part{number % 2}" / path.relative_to(files)
        goal.parent.mkdir(parents=True, exist_ok=True)
        path.rename(goal)
    # Some come twice, as when somebody packs the overlap of two folders.
    shutil.copytree(tmp_path / "part0/asl", tmp_path / "part1/again")
    same(*(pack(tmp_path / f"part{k}", tmp_path / f"{k}.zip") for k in range(2)))


def test_half_of_a_study_does_not_replace_the_whole(
    files: Path, same: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same(files)
    before = dataset_bytes(tmp_path / "bids")
    assert convert(files / "asl", tmp_path / "bids") == 0
    assert "studies unchanged: 1" in capsys.readouterr().out
    assert convert(files / "asl", tmp_path / "bids", "--background-suppression-pulses", 2) == 1
    assert "give all inputs of the study in one command" in capsys.readouterr().err
    assert dataset_bytes(tmp_path / "bids") == before


# -- sessions ------------------------------------------------------------------------------------


def sessions(dataset: Path) -> list[str]:
    return sorted(path.name for path in (dataset / "sub-01").iterdir())


def test_a_visit_that_comes_later(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = tmp_path / "bids"
    write(tmp_path / "first", visit("A", "20200101"), seed=1)
    write(tmp_path / "second", visit("A", "20220101"), seed=2)
    assert convert(tmp_path / "first", dataset, "--sessions", "always") == 0
    before = dataset_bytes(dataset)
    assert sessions(dataset) == ["ses-01"]
    assert convert(tmp_path / "second", dataset) == 0
    assert sessions(dataset) == ["ses-01", "ses-02"]
    assert validator_errors(dataset) == []
    after = dataset_bytes(dataset)
    assert {path: after[path] for path in before} == before
    capsys.readouterr()
    assert convert(tmp_path / "first", tmp_path / "second", dataset) == 0
    assert "studies unchanged: 2" in capsys.readouterr().out
    assert dataset_bytes(dataset) == after


def test_a_visit_that_comes_too_late(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = tmp_path / "bids"
    write(tmp_path / "first", visit("A", "20200101"))
    write(tmp_path / "second", visit("A", "20220101"))
    assert convert(tmp_path / "first", dataset) == 0
    before, key = dataset_bytes(dataset), (tmp_path / "bids.key.json").read_bytes()
    assert convert(tmp_path / "second", dataset) == 1
    said = capsys.readouterr().err
    assert "in the dataset without sessions" in said
    assert "--sessions always" in said
    assert dataset_bytes(dataset) == before
    assert (tmp_path / "bids.key.json").read_bytes() == key


def test_a_session_label_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = tmp_path / "bids"
    write(tmp_path / "first", visit("A", "20200101"))
    write(tmp_path / "second", visit("A", "20220101"))
    assert convert(tmp_path / "first", dataset, "--session-label", "ses-baseline") == 0
    assert convert(tmp_path / "second", dataset, "--session-label", "baseline") == 1
    assert "cannot stand for several studies" in capsys.readouterr().err
    assert convert(tmp_path / "second", dataset, "--session-label", "month12") == 0
    assert sessions(dataset) == ["ses-baseline", "ses-month12"]
    assert validator_errors(dataset) == []


# -- packed in whatever --------------------------------------------------------------------------


def zipped(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w") as target:
        for path in sorted(folder.rglob("*.dcm")):
            target.write(path, path.relative_to(folder).as_posix())
    return archive


def test_nested_archives(files: Path, same: Callable[..., None], tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "inner.tgz", "w:gz") as archive:
        archive.add(files / "t1", "t1")
    zipped(files / "thick", tmp_path / "thick.zip")
    with zipfile.ZipFile(tmp_path / "middle.zip", "w") as archive:
        archive.write(tmp_path / "inner.tgz", "a/inner.tgz")
        archive.write(tmp_path / "thick.zip", "thick")
    outer = tmp_path / "outer.zip"
    with zipfile.ZipFile(outer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "middle.zip", "1/2/middle.zip")
        for path in sorted((files / "asl").iterdir()):
            archive.write(path, f"asl/{path.name}")
    same(outer)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar(mode: str, files: Path, same: Callable[..., None], tmp_path: Path) -> None:
    # The name tells nothing: archives are known by their bytes.
    with tarfile.open(tmp_path / "upload", mode) as archive:
        archive.add(files, "export")
    same(tmp_path / "upload")


def test_names_without_extension(files: Path, same: Callable[..., None], tmp_path: Path) -> None:
    for number, path in enumerate(sorted(files.rglob("*.dcm"))):
        path.rename(path.with_name(f"IM{number:06d}"))
    same(pack(files, tmp_path / "upload.zip"))


def burn(files: Path, folder: Path) -> None:
    """Write a medium with a DICOMDIR and names of its own."""
    medium = FileSet()
    for path in sorted(files.rglob("*.dcm")):
        medium.add(dcmread(path))
    medium.write(folder)
    with warnings.catch_warnings():
        # pydicom leaves its temporary folder to the garbage collector, which warns of it.
        warnings.simplefilter("ignore", ResourceWarning)
        del medium
        gc.collect()


def test_a_dicomdir_medium(files: Path, same: Callable[..., None], tmp_path: Path) -> None:
    burn(files, tmp_path / "cd")
    assert (tmp_path / "cd/DICOMDIR").is_file()
    (tmp_path / "cd/autorun.inf").write_text("[autorun]", "ascii")
    (tmp_path / "cd/VIEWER.EXE").write_bytes(b"MZ" + bytes(500))
    same(pack(tmp_path / "cd", tmp_path / "cd.zip"))


@pytest.mark.parametrize("encoding", ["utf-8", "gbk"])
def test_chinese_names(
    encoding: str, files: Path, same: Callable[..., None], tmp_path: Path
) -> None:
    # Python writes UTF-8 with its flag; a stand-in of equal length is replaced by the raw bytes.
    raw = CHINESE.encode(encoding)
    name = CHINESE if encoding == "utf-8" else "@" * len(raw)
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for number, path in enumerate(sorted(files.rglob("*.dcm"))):
            archive.write(path, f"{name}/{name}{number}.dcm")
    content = sink.getvalue().replace(name.encode(), raw)
    assert raw in content
    (tmp_path / f"{CHINESE}.zip").write_bytes(content)
    same(tmp_path / f"{CHINESE}.zip")


def test_a_folder_with_chinese_names_and_spaces(
    files: Path, same: Callable[..., None], tmp_path: Path
) -> None:
    same(files.rename(tmp_path / f"{CHINESE} 2021"))


def test_what_macos_and_windows_leave(
    files: Path, same: Callable[..., None], tmp_path: Path
) -> None:
    archive = zipped(files, tmp_path / "upload.zip")
    with zipfile.ZipFile(archive, "a") as target:
        for name in ("__MACOSX/asl/._0001.dcm", "asl/._0001.dcm", ".DS_Store", "asl/Thumbs.db"):
            target.writestr(name, b"\0\5\x16\7" + bytes(200))
        target.writestr("report.pdf", b"%PDF-1.4")
    same(archive)


# -- transfer syntaxes ---------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_transfer_syntaxes(
    syntax: str, files: Path, same: Callable[..., None], tmp_path: Path
) -> None:
    rewrite(files, syntax)
    same(pack(files, tmp_path / "upload.zip"))


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_transfer_syntaxes_of_other_vendors(syntax: str, tmp_path: Path) -> None:
    """Private elements tell GE's passes and Philips' scaling; GE's pixels can be negative."""
    density, perfusion = voxels(1, 5000), voxels(2, 500) - 300
    ge.write(tmp_path / "ge", visit("G"), perfusion, density, AFFINE)
    stack = np.stack([voxels(k, value) for k, value in enumerate((800, 39, 40))], -1)
    philips.write_source(tmp_path / "philips", visit("P"), stack[..., [0, 0, 2, 1]] / 100, AFFINE)
    inputs = (tmp_path / "ge", tmp_path / "philips")
    assert convert(*inputs, tmp_path / "plain", *TOLD) == 0
    for folder in inputs:
        rewrite(folder, syntax)
    assert convert(*inputs, tmp_path / "bids", *TOLD) == 0
    assert dataset_bytes(tmp_path / "bids") == dataset_bytes(tmp_path / "plain")


def test_a_deflated_file_that_would_fill_the_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = write(tmp_path / "dicom", visit("A"))
    rewrite(tmp_path / "dicom", "deflated")
    append_zeros(paths[0], 1100 << 20)
    assert paths[0].stat().st_size < 2 << 20
    assert convert(tmp_path / "dicom", tmp_path / "bids") == 1
    assert "unpacks to more than 1024 megabytes" in capsys.readouterr().err
    assert not (tmp_path / "bids").exists()


@pytest.mark.parametrize(
    ("how", "named"),
    [
        ("extended", "JPEG Extended (Process 2 and 4)"),
        ("high throughput", "High-Throughput JPEG 2000"),
        ("broken", "JPEG-LS Lossless"),
        ("private", "in a way that DICOM does not know"),
    ],
)
def test_images_that_cannot_be_decoded(
    how: str, named: str, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(files / "asl", how)
    before = sorted(tmp_path.rglob("*"))
    assert convert(pack(files, tmp_path / "upload.zip"), tmp_path / "bids") == 1
    said = capsys.readouterr().err
    assert said.count("FAILED") == 1
    assert f"series 15: The images are compressed ({named}" in said
    assert "export them uncompressed" in said
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "upload.zip"])


# -- what anonymisers leave ----------------------------------------------------------------------

WHEN = ("Study", "Series", "Acquisition", "Content")
NOBODY = ("PatientName", "PatientID", "PatientBirthDate", "PatientAge", "PatientSex", "StudyID")


@pytest.mark.parametrize(
    "moment",
    [
        (None, None, None),
        ("", "", ""),
        ("00000000", "000000", "+0800"),
        ("ANON", "ANON", "ANON"),
        ("2021.02.03", "10:10:10", "8"),
        ("20210230", "101010.1234567", "+9900"),
    ],
)
def test_dates_and_times_that_are_none(
    moment: tuple[str | None, ...],
    files: Path,
    plain: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pydicom.config.settings.writing_validation_mode", 0)
    monkeypatch.setattr("pydicom.config.settings.reading_validation_mode", 0)
    date, time, zone = moment
    values = dict.fromkeys((f"{kind}Date" for kind in WHEN), date)
    values |= dict.fromkeys((f"{kind}Time" for kind in WHEN), time)
    values |= dict.fromkeys(NOBODY, None) | {"TimezoneOffsetFromUTC": zone}
    for path in files.rglob("*.dcm"):
        alter(path, values)
    before = dataset_bytes(files)
    assert convert(files, tmp_path / "bids") == 0
    assert dataset_bytes(files) == before, "the input is never written to"
    assert validator_errors(tmp_path / "bids") == []
    found, expected = dataset_bytes(tmp_path / "bids"), dataset_bytes(plain / "bids")
    changed = {path for path, content in expected.items() if found[path] != content}
    # dcm2niix takes the seconds per volume in the NIfTI header from the times.
    assert changed == {"participants.tsv", "sub-01/perf/sub-01_asl.nii.gz"}
    images = [nib.load(folder / "bids" / max(changed)) for folder in (tmp_path, plain)]
    np.testing.assert_array_equal(images[0].get_fdata(), images[1].get_fdata())
    rows = found["participants.tsv"].decode().splitlines()
    assert rows == ["participant_id\tage\tsex", "sub-01\tn/a\tn/a"]


def alter(path: Path, values: dict[str, str | None]) -> None:
    """Set elements of a DICOM file, and remove those whose value is None."""
    image = dcmread(path)
    for keyword, value in values.items():
        if value is None:
            image.pop(keyword, None)
        else:
            setattr(image, keyword, value)
    image.save_as(path)
