"""Hostile and broken tars, plain and compressed."""

import gzip
import io
import random
import tarfile
import time
from pathlib import Path

import pytest
from hostile_archives import CHINESE, SECRET, placed, refused, tar_bytes, unpacked, zip_bytes
from hypothesis import given
from hypothesis import strategies as st

from cereflow_bids.errors import InputError
from cereflow_bids.intake.archives.unpacking import Limits, unpack

FIRST = ("first.dcm", b"first")
MODES = ("w", "w:gz", "w:bz2", "w:xz")
FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)


@pytest.mark.parametrize("mode", MODES)
def test_members_in_order(mode: str, tmp_path: Path) -> None:
    large = random.Random(1).randbytes(3_000_000)
    members = [
        ("b/2", b"two"),
        (SECRET, large),
        ("._b", b"junk"),
        ("a", b"x" * 512),
    ]
    assert unpacked(tmp_path, tar_bytes(members, mode=mode)) == [b"two", large, b"x" * 512]


@pytest.mark.parametrize("form", FORMATS)
def test_long_and_chinese_names(form: int, tmp_path: Path) -> None:
    if form == tarfile.USTAR_FORMAT:
        name = f"{CHINESE * 10}/{SECRET}"
    else:
        name = f"{CHINESE * 50}/{SECRET * 20}/" + "b" * 300
    content = tar_bytes([(name, b"one"), FIRST], format=form)
    assert unpacked(tmp_path, content) == [b"one", b"first"]


def test_names_in_gbk(tmp_path: Path) -> None:
    sink = io.BytesIO()
    with tarfile.open(
        fileobj=sink, mode="w", format=tarfile.GNU_FORMAT, encoding="gbk"
    ) as archive:
        entry = tarfile.TarInfo(CHINESE)
        entry.size = 3
        archive.addfile(entry, io.BytesIO(b"one"))
    assert unpacked(tmp_path, sink.getvalue()) == [b"one"]


def test_oldest_form_without_a_mark(tmp_path: Path) -> None:
    content = bytearray(tar_bytes([FIRST], format=tarfile.USTAR_FORMAT))
    content[257:500] = bytes(243)
    content[148:156] = b" " * 8
    content[148:155] = b"%06o\0" % sum(content[:512])
    assert unpacked(tmp_path, bytes(content)) == [b"first"]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    "name", [f"../{SECRET}", f"/{SECRET}", f"a/../../{SECRET}", "x" * 150 + "/../y"]
)
def test_names_that_lead_out(name: str, form: int, tmp_path: Path) -> None:
    if form == tarfile.USTAR_FORMAT:
        name = name.replace("x" * 150, "x" * 50)
    where, what = refused(tmp_path, tar_bytes([FIRST, (name, b"content")], format=form))
    assert where == "member 2 of input 2"
    assert "leads out" in what


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (tarfile.SYMTYPE, "symbolic link"),
        (tarfile.LNKTYPE, "hard link"),
        (tarfile.CHRTYPE, "device or a pipe"),
        (tarfile.BLKTYPE, "device or a pipe"),
        (tarfile.FIFOTYPE, "device or a pipe"),
        (tarfile.GNUTYPE_SPARSE, "sparse"),
        (b"M", "split"),
    ],
)
def test_members_that_are_no_files(kind: bytes, what: str, tmp_path: Path) -> None:
    where, found = refused(tmp_path, tar_bytes([(SECRET, b"")], kind=kind))
    assert where == "member 1 of input 2"
    assert what in found


def test_sparse_by_an_extended_header(tmp_path: Path) -> None:
    content = with_extension({"GNU.sparse.major": "1"})
    assert "sparse" in refused(tmp_path, content)[1]


def with_extension(keys: dict[str, str]) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as archive:
        entry = tarfile.TarInfo(SECRET)
        entry.pax_headers = keys
        entry.size = 7
        archive.addfile(entry, io.BytesIO(b"content"))
    return sink.getvalue()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_truncated(mode: str, kept: float, tmp_path: Path) -> None:
    noise = random.Random(1).randbytes(40_000)
    content = tar_bytes([FIRST, (SECRET, noise), ("last", noise)], mode=mode)
    assert "truncated" in refused(tmp_path, content[: int(kept * len(content))])[1]


def test_truncated_between_two_members(tmp_path: Path) -> None:
    content = tar_bytes([FIRST, (SECRET, bytes(512))])
    assert "truncated" in refused(tmp_path, content[:1024])[1]


@pytest.mark.parametrize("mode", MODES[1:])
def test_damaged_compression(mode: str, tmp_path: Path) -> None:
    content = bytearray(tar_bytes([(SECRET, random.Random(1).randbytes(40_000))], mode=mode))
    content[len(content) // 2] ^= 0xFF
    assert "damaged" in refused(tmp_path, bytes(content))[1]


def test_checksum_behind_the_last_member(tmp_path: Path) -> None:
    content = bytearray(tar_bytes([FIRST], mode="w:gz"))
    content[-6] ^= 0xFF
    assert "damaged" in refused(tmp_path, bytes(content))[1]


def test_damaged_header(tmp_path: Path) -> None:
    content = bytearray(tar_bytes([FIRST, (SECRET, b"content")]))
    content[1024 + 110] ^= 0x01
    where, what = refused(tmp_path, bytes(content))
    assert where == "member 2 of input 2"
    assert "damaged" in what


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        ({"size": "99999999999999"}, "the limit"),
        ({"size": "1000000"}, "truncated"),
        ({"size": "-5"}, "no number"),
        ({"size": "9" * 5000}, "no number"),
    ],
)
def test_sizes_that_lie(keys: dict[str, str], what: str, tmp_path: Path) -> None:
    assert what in refused(tmp_path, with_extension(keys))[1]


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_name_that_would_fill_the_memory(kind: bytes, tmp_path: Path) -> None:
    entry = tarfile.TarInfo(SECRET)
    entry.type, entry.size = kind, 8 << 30
    content = gzip.compress(entry.tobuf(tarfile.GNU_FORMAT) + bytes(5000))
    assert "longer than any file system" in refused(tmp_path, content)[1]


def test_negative_size(tmp_path: Path) -> None:
    entry = tarfile.TarInfo(SECRET)
    entry.size = -1024
    content = entry.tobuf(tarfile.GNU_FORMAT) + bytes(1024)
    assert "negative" in refused(tmp_path, content)[1]


def test_endless_headers_end(tmp_path: Path) -> None:
    """Headers without members: neither depth of recursion nor time grows without bounds."""
    entry = tarfile.TarInfo(SECRET)
    entry.type, entry.size = tarfile.XHDTYPE, 512
    header = entry.tobuf(tarfile.GNU_FORMAT) + b"1" * 512
    start = time.monotonic()
    assert "makes no sense" in refused(tmp_path, header * 2000)[1]
    entry.size = 0
    assert "truncated" in refused(tmp_path, entry.tobuf(tarfile.GNU_FORMAT) * 5000)[1]
    assert time.monotonic() - start < 5


def test_bomb(tmp_path: Path) -> None:
    content = tar_bytes([("a", bytes(3_000_000))], mode="w:gz")
    assert "bomb" in refused(tmp_path, content, Limits(ratio_from=1_000_000))[1]
    assert unpacked(tmp_path, content) == [bytes(3_000_000)]


def test_zeros_without_end_behind_the_last_member(tmp_path: Path) -> None:
    content = gzip.compress(tar_bytes([FIRST]) + bytes(3_000_000))
    assert "bomb" in refused(tmp_path, content, Limits(ratio_from=1_000_000))[1]


def test_one_compressed_file_that_is_no_tar(tmp_path: Path) -> None:
    assert unpacked(tmp_path, gzip.compress(b"content")) == [b"content"]


@pytest.mark.parametrize(
    "content", [gzip.compress(b""), tar_bytes([]) + b"x", tar_bytes([], mode="w:xz")]
)
def test_empty(content: bytes, tmp_path: Path) -> None:
    what = refused(tmp_path, content)[1]
    assert "empty" in what or "not an archive" in what


def test_zip_in_tar(tmp_path: Path) -> None:
    content = tar_bytes(
        [FIRST, (f"{SECRET}.zip", zip_bytes([("a", b"one"), ("b", b"two")]))], mode="w:gz"
    )
    assert unpacked(tmp_path, content) == [b"first", b"one", b"two"]


@given(st.randoms(use_true_random=False), st.sampled_from(MODES))
def test_damage_of_any_kind_is_one_error(
    tmp_path_factory: pytest.TempPathFactory, chance: random.Random, mode: str
) -> None:
    tmp_path = tmp_path_factory.mktemp("damage")
    content = bytearray(tar_bytes([(SECRET * 20, b"content" * 50), ("b", bytes(500))], mode=mode))
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(content))
        content[place : place + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 3))
    try:
        unpack(placed(tmp_path, bytes(content)), tmp_path / "target", 1)
    except InputError as error:
        assert SECRET not in str(error)
    everything = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert all(
        path.is_relative_to(tmp_path / "target")
        for path in everything - {tmp_path / f"{SECRET}.bin"}
    )
