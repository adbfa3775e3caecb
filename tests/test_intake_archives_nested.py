"""Plain folders, single files, and archives in one another."""

import os
import socket
import stat
import time
from pathlib import Path

import pytest
from hostile_archives import SECRET, placed, refused, tar_bytes, unpacked, zip_bytes

from cereflow_bids.errors import InputError, UsageError
from cereflow_bids.intake.archives.unpacking import Limits, check_inputs, unpack

DICOM = bytes(128) + b"DICM" + bytes(100)


def wrapped(content: bytes, times: int) -> bytes:
    for _ in range(times):
        content = zip_bytes([(SECRET, content)])
    return content


def test_members_lose_their_names(tmp_path: Path) -> None:
    content = zip_bytes([("first.dcm", b"first"), (f"{SECRET}/", b""), (f"{SECRET}/x", b"x")])
    folder = tmp_path / "target"
    expected = [folder / "000001", folder / "000003"]
    assert unpack(placed(tmp_path, content), folder, 1) == expected
    assert unpack(placed(tmp_path, content), folder, 1) == expected, "and again"
    assert [path.read_bytes() for path in expected] == [b"first", b"x"]


def test_nested_archives_keep_their_place(tmp_path: Path) -> None:
    inner = zip_bytes([("a", b"one"), ("tar", tar_bytes([("b", b"two")], mode="w:xz"))])
    content = zip_bytes([("z", b"zero"), (SECRET, inner), ("y", b"three")])
    assert unpacked(tmp_path, content) == [b"zero", b"one", b"two", b"three"]
    again = unpack(placed(tmp_path, content), tmp_path / "target", 1)
    assert [path.relative_to(tmp_path / "target").as_posix() for path in again] == [
        "000001",
        "000002-members/000001",
        "000002-members/000002-members/000001",
        "000003",
    ]


def test_nested_trouble_is_told_by_all_its_positions(tmp_path: Path) -> None:
    inner = zip_bytes([("a", b"one"), (f"../{SECRET}", b"two")])
    where, _ = refused(tmp_path, tar_bytes([("x", b"zero"), ("y", b"one"), (SECRET, inner)]))
    assert where == "member 2 of member 3 of input 2"


def test_depth(tmp_path: Path) -> None:
    assert unpacked(tmp_path, wrapped(b"content", 4)) == [b"content"]
    where, what = refused(tmp_path, wrapped(b"content", 5))
    assert where == "member 1 of member 1 of member 1 of member 1 of input 2"
    assert "more than 4 deep" in what
    assert "1 deep" in refused(tmp_path, wrapped(b"content", 2), Limits(depth=1))[1]


def test_nested_archives_multiply_within_the_limits(tmp_path: Path) -> None:
    content = zip_bytes([(str(number), bytes(50_000)) for number in range(10)])
    content = zip_bytes([(str(number), content) for number in range(10)])
    assert "bomb" in refused(tmp_path, content, Limits(ratio_from=1_000_000))[1]
    assert "files" in refused(tmp_path, content, Limits(files=50))[1]
    assert "the limit" in refused(tmp_path, content, Limits(total_bytes=2_000_000))[1]
    assert len(unpacked(tmp_path, content)) == 100


def test_empty_archive_in_an_archive(tmp_path: Path) -> None:
    assert unpacked(tmp_path, zip_bytes([(SECRET, zip_bytes([])), ("a", b"one")])) == [b"one"]


def test_damaged_archive_in_an_archive(tmp_path: Path) -> None:
    content = zip_bytes([("a", b"one"), (SECRET, zip_bytes([("b", b"two")])[:-30])])
    where, what = refused(tmp_path, content)
    assert where == "member 2 of input 2"
    assert "truncated" in what


@pytest.mark.parametrize("name", ["viewer.jar", "report.DOCX", "t1.nii.gz"])
def test_programs_and_documents_stay_packed(name: str, tmp_path: Path) -> None:
    program = zip_bytes([("a", b"class")])
    assert unpacked(tmp_path, zip_bytes([(name, program), ("x", b"one")])) == [program, b"one"]


@pytest.mark.parametrize(
    "name",
    ["__MACOSX/a/._b", "a/.DS_Store", "a/._b.dcm", "Thumbs.db", "a\\thumbs.db", "x/desktop.ini"],
)
def test_junk_is_passed_over(name: str, tmp_path: Path) -> None:
    members = [(name, b"junk"), ("a/b.dcm", b"image")]
    assert unpacked(tmp_path, zip_bytes(members)) == [b"image"]
    assert unpacked(tmp_path, tar_bytes(members)) == [b"image"]
    folder = tmp_path / "folder"
    for path, content in members:
        target = folder / path.replace("\\", "/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    assert unpack(folder, tmp_path / "other", 1) == [folder / "a/b.dcm"]


def test_an_empty_file_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/.DS_Store").touch()
    (tmp_path / f"folder/{SECRET}").touch()
    with pytest.raises(InputError, match=r"^member 1 of input 1: The file is empty"):
        unpack(tmp_path / "folder", tmp_path / "other", 1)


def test_one_dicom_file(tmp_path: Path) -> None:
    source = placed(tmp_path, DICOM)
    assert unpack(source, tmp_path / "target", 1) == [source]
    assert not (tmp_path / "target").exists()


def test_a_folder_is_read_where_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    (folder / "deep").mkdir(parents=True)
    for name in ("deep/one", "DICOMDIR", "two"):
        (folder / name).write_bytes(DICOM)
    found = [folder / "DICOMDIR", folder / "deep/one", folder / "two"]
    assert unpack(folder, tmp_path / "target", 1) == found
    assert not (tmp_path / "target").exists()


def test_archives_in_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / SECRET
    folder.mkdir()
    (folder / "a").write_bytes(DICOM)
    (folder / "b").write_bytes(zip_bytes([("x", b"one"), ("y", wrapped(b"two", 1))]))
    (folder / "c").write_bytes(DICOM)
    before = {path: path.stat() for path in folder.iterdir()}
    target = tmp_path / "target"
    expected = [
        folder / "a",
        target / "000002/000001",
        target / "000002/000002-members/000001",
        folder / "c",
    ]
    assert unpack(folder, target, 1) == expected
    assert {path: path.stat() for path in folder.iterdir()} == {
        path: os.stat_result(values) for path, values in before.items()
    }
    (folder / "b").write_bytes(zip_bytes([("x", b"one")])[:-5])
    where, what = refused(tmp_path, folder)
    assert (where, "truncated" in what) == ("member 2 of input 2", True)


def test_an_archive_that_cannot_be_written_to(tmp_path: Path) -> None:
    source = placed(tmp_path, zip_bytes([("a", b"one")]))
    source.chmod(stat.S_IRUSR)
    assert len(unpack(source, tmp_path / "target", 1)) == 1
    assert source.exists()


@pytest.mark.parametrize("goal", ["outside", "outside/file", "nowhere", "inside/link"])
def test_links_that_leave_a_folder(goal: str, tmp_path: Path) -> None:
    folder = tmp_path / SECRET
    (folder / "inside").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_bytes(DICOM)
    (folder / "inside/link").symlink_to(tmp_path / goal if goal != "inside/link" else "link")
    where, what = refused(tmp_path, folder)
    assert where == "member 1 of input 2"
    assert "symbolic link" in what


def test_links_inside_a_folder_are_not_read_twice(tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    (folder / "objects").mkdir(parents=True)
    (folder / "objects/x").write_bytes(DICOM)
    (folder / "a.dcm").symlink_to("objects/x")
    (folder / "loop").symlink_to(".")
    assert unpack(folder, tmp_path / "target", 1) == [folder / "objects/x"]
    (tmp_path / "entry").symlink_to(folder)
    assert len(unpack(tmp_path / "entry", tmp_path / "target", 1)) == 1


def test_pipes_and_sockets_in_a_folder_do_not_hang(tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "a").write_bytes(DICOM)
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(folder / "socket"))
        start = time.monotonic()
        assert unpack(folder, tmp_path / "target", 1) == [folder / "a"]
    assert time.monotonic() - start < 1


def test_folder_with_too_many_files(tmp_path: Path) -> None:
    folder = tmp_path / SECRET
    folder.mkdir()
    for number in range(5):
        (folder / str(number)).write_bytes(DICOM)
    assert "more than 4 files" in refused(tmp_path, folder, Limits(files=4))[1]


@pytest.mark.parametrize("kind", ["nothing", "pipe"])
def test_what_is_neither_file_nor_folder(kind: str, tmp_path: Path) -> None:
    if kind == "pipe":
        os.mkfifo(tmp_path / SECRET)
    with pytest.raises(UsageError, match=r"^input 2: ") as caught:
        check_inputs([tmp_path, tmp_path / SECRET])
    assert SECRET not in str(caught.value)
