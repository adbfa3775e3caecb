"""What one input may unpack to: files, bytes, ratio, and what the disk has room for."""

import time
import tracemalloc
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from hostile_archives import SECRET, placed, refused, unpacked, zip_bytes

from cereflow_bids.errors import InputError
from cereflow_bids.intake.archives.unpacking import Limits, unpack

FIRST = ("first.dcm", b"first")


def test_too_many_members_are_refused_before_any_is_unpacked(tmp_path: Path) -> None:
    content = zip_bytes([(f"{SECRET}{number}", b"x") for number in range(30)])
    start = time.monotonic()
    assert "more than 29 files" in refused(tmp_path, content, Limits(files=29))[1]
    assert time.monotonic() - start < 1
    assert len(unpacked(tmp_path, content, Limits(files=30))) == 30


def test_ratio_is_judged_beyond_a_size_only(tmp_path: Path) -> None:
    black = bytes(2 * 512 * 512)
    content = zip_bytes([("black.dcm", black)])
    assert len(black) / len(content) > 700
    assert unpacked(tmp_path, content) == [black]
    where, what = refused(tmp_path, content, Limits(ratio_from=len(black) - 1))
    assert where == "member 1 of input 2"
    assert "bomb" in what


def test_many_small_black_members_are_a_bomb_together(tmp_path: Path) -> None:
    content = zip_bytes([(str(number), bytes(100_000)) for number in range(40)])
    assert "bomb" in refused(tmp_path, content, Limits(ratio_from=1_000_000))[1]


def test_total_size(tmp_path: Path) -> None:
    content = zip_bytes([("a", bytes(600)), ("b", bytes(600))])
    assert "the limit" in refused(tmp_path, content, Limits(total_bytes=1199))[1]
    assert len(unpacked(tmp_path, content, Limits(total_bytes=1200))) == 2


def test_more_than_the_disk_has_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=5))
    content = zip_bytes([(SECRET, b"content")])
    assert "more than the disk has left" in refused(tmp_path, content)[1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_disk_that_becomes_full_on_the_way(tmp_path: Path) -> None:
    folder = tmp_path / "target"
    folder.mkdir()
    (folder / "000002").symlink_to("/dev/full")
    source = placed(tmp_path, zip_bytes([FIRST, (SECRET, bytes(100))]))
    with pytest.raises(InputError, match=r"^member 2 of input 1: The disk became full") as caught:
        unpack(source, folder, 1)
    assert str(tmp_path) not in str(caught.value)
    assert list(folder.iterdir()) == [], "what was unpacked makes room again"


def test_members_are_streamed(tmp_path: Path) -> None:
    """A member of 200 MB takes no more memory than one of 1 MB."""
    sink = tmp_path / "large.zip"
    with (
        zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("a", "w") as member,
    ):
        for _ in range(200):
            member.write(bytes(1 << 20))
    outer = tmp_path / "outer.zip"
    with zipfile.ZipFile(outer, "w") as archive:
        archive.write(sink, "a")
    tracemalloc.start()
    (found,) = unpack(outer, tmp_path / "target", 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.stat().st_size == 200 << 20
    assert peak < 12 << 20
