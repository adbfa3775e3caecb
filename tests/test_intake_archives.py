"""Hostile and broken ZIPs: nothing leaves the folder, one clear sentence, no names."""

import os
import random
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from hostile_archives import CHINESE, SECRET, placed, refused, unpacked, zip_bytes
from hypothesis import given
from hypothesis import strategies as st

from cereflow_bids.errors import InputError
from cereflow_bids.intake.archives.unpacking import unpack

FIRST = ("first.dcm", b"first")
LOCAL, CENTRAL, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"


def patched(content: bytes, signature: bytes, offset: int, value: bytes) -> bytes:
    """Return an archive with some bytes of its last record of a kind replaced."""
    place = content.rindex(signature) + offset
    return content[:place] + value + content[place + len(value) :]


@pytest.mark.parametrize(
    "name",
    [
        f"../{SECRET}",
        f"a/../../{SECRET}",
        f"/{SECRET}",
        f"..\\{SECRET}",
        f"C:\\{SECRET}",
        f"C:{SECRET}",
        f"\\\\server\\share\\{SECRET}",
        f"a/..\\..\\{SECRET}",
        f"__MACOSX/../../{SECRET}",
        f"../{SECRET}/",
    ],
)
def test_names_that_lead_out(name: str, tmp_path: Path) -> None:
    where, what = refused(tmp_path, zip_bytes([FIRST, (name, b"content")]))
    assert where == "member 2 of input 2"
    assert "leads out" in what


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (stat.S_IFLNK, "symbolic link"),
        (stat.S_IFIFO, "device or a pipe"),
        (stat.S_IFCHR, "device or a pipe"),
        (stat.S_IFBLK, "device or a pipe"),
        (stat.S_IFSOCK, "device or a pipe"),
    ],
)
def test_members_that_are_no_files(kind: int, what: str, tmp_path: Path) -> None:
    content = zip_bytes([(SECRET, b"/etc/passwd")], mode=kind | 0o777)
    assert what in refused(tmp_path, content)[1]


@pytest.mark.parametrize("flags", [b"\x01\x00", b"\x41\x00", b"\x00\x20"])
def test_encrypted(flags: bytes, tmp_path: Path) -> None:
    content = patched(zip_bytes([FIRST, (SECRET, b"content")]), CENTRAL, 8, flags)
    where, what = refused(tmp_path, content)
    assert where == "member 2 of input 2"
    assert "encrypted" in what


@pytest.mark.parametrize(("method", "what"), [(99, "encrypted"), (9, "number 9"), (14, "number")])
def test_methods_that_are_not_known(method: int, what: str, tmp_path: Path) -> None:
    content = patched(zip_bytes([(SECRET, b"content")]), CENTRAL, 10, struct.pack("<H", method))
    assert what in refused(tmp_path, content)[1]


def test_truncated(tmp_path: Path) -> None:
    content = zip_bytes([FIRST, (SECRET, random.Random(1).randbytes(5000))])
    assert "truncated" in refused(tmp_path, content[:-200])[1]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_damaged_member(method: int, tmp_path: Path) -> None:
    noise = random.Random(1).randbytes(5000)
    content = bytearray(zip_bytes([FIRST, (SECRET, noise)], method=method))
    content[2500] ^= 0xFF
    where, what = refused(tmp_path, bytes(content))
    assert where == "member 2 of input 2"
    assert "damaged" in what


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
@pytest.mark.parametrize(("size", "what"), [(6, "more bytes"), (8, "fewer bytes")])
def test_sizes_that_lie(method: int, size: int, what: str, tmp_path: Path) -> None:
    content = zip_bytes([(SECRET, b"content")], method=method)
    # The checksum agrees with the lie, so that only counting what really comes can tell.
    told = b"content"[:size]
    content = patched(content, CENTRAL, 16, struct.pack("<L", zlib.crc32(told)))
    where, found = refused(tmp_path, patched(content, CENTRAL, 24, struct.pack("<L", size)))
    assert where == "member 1 of input 2"
    assert what in found


def test_checksum(tmp_path: Path) -> None:
    content = patched(zip_bytes([(SECRET, b"content")]), CENTRAL, 16, b"\0\0\0\0")
    assert "checksum" in refused(tmp_path, content)[1]


@pytest.mark.parametrize(
    ("offset", "value"), [(16, b"\xff\xff\xff\x7f"), (12, b"\xff\xff\0\0"), (10, b"\x05\0")]
)
def test_directory_that_lies(offset: int, value: bytes, tmp_path: Path) -> None:
    content = patched(zip_bytes([(SECRET, b"content")]), END, offset, value)
    assert "damaged" in refused(tmp_path, content)[1]


@pytest.mark.parametrize(("signature", "offset"), [(END, 4), (END, 6), (CENTRAL, 34)])
def test_split_over_several_files(signature: bytes, offset: int, tmp_path: Path) -> None:
    content = patched(zip_bytes([(SECRET, b"content")]), signature, offset, b"\x02\0")
    assert "split" in refused(tmp_path, content)[1]


def test_first_part_of_a_split_zip(tmp_path: Path) -> None:
    content = b"PK\x07\x08" + zip_bytes([(SECRET, b"content")])[:-60]
    assert "split" in refused(tmp_path, content)[1]


@pytest.mark.parametrize(
    "content", [b"", b"this is a text about " + SECRET.encode(), b"\0" * 5000, b"\x89PNG\r\n"]
)
def test_not_an_archive(content: bytes, tmp_path: Path) -> None:
    where, what = refused(tmp_path, content)
    assert where == "input 2"
    assert "not an archive" in what


@pytest.mark.parametrize(
    "head", [b"Rar!\x1a\x07\x01\x00", b"7z\xbc\xaf\x27\x1c", b"\x28\xb5\x2f\xfd"]
)
@pytest.mark.parametrize("nested", [False, True])
def test_archives_of_other_kinds(head: bytes, nested: bool, tmp_path: Path) -> None:
    content = head + bytes(1000)
    if nested:
        content = zip_bytes([FIRST, (SECRET, content)])
    where, what = refused(tmp_path, content)
    assert where == ("member 2 of input 2" if nested else "input 2")
    assert "cannot be unpacked here" in what


@pytest.mark.parametrize("names", [[], ["a/"], [".DS_Store", "__MACOSX/._a"]])
def test_empty(names: list[str], tmp_path: Path) -> None:
    assert "empty" in refused(tmp_path, zip_bytes([(name, b"") for name in names]))[1]


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^input 7: There is no such"):
        unpack(tmp_path / SECRET, tmp_path / "target", 7)


def test_members_that_overlap(tmp_path: Path) -> None:
    # The second entry of the directory points to the first member's bytes.
    content = zip_bytes([("a", b"content" * 9), ("b", b"content" * 9)])
    where, what = refused(tmp_path, patched(content, CENTRAL, 42, struct.pack("<L", 0)))
    assert where == "member 2 of input 2"
    assert "overlap" in what


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_unreadable(tmp_path: Path) -> None:
    source = placed(tmp_path, zip_bytes([FIRST]))
    source.chmod(0)
    assert "cannot be read" in refused(tmp_path, source)[1]


@pytest.mark.parametrize("encoding", ["utf-8", "gbk"])
def test_chinese_names(encoding: str, tmp_path: Path) -> None:
    # As long as the other in its encoding; the second byte of 俓 in GBK is that of a backslash.
    raw = (CHINESE if encoding == "utf-8" else "俓张伟").encode(encoding)
    assert (b"\\" in raw) == (encoding == "gbk")
    content = zip_bytes([(f"{CHINESE}/x.dcm", b"content")])
    content = content.replace(CHINESE.encode(), raw)
    if encoding == "gbk":
        for signature, offset in ((LOCAL, 6), (CENTRAL, 8)):
            content = patched(content, signature, offset, b"\0\0")
    assert unpacked(tmp_path, content) == [b"content"]


def test_name_marked_as_utf8_that_is_not(tmp_path: Path) -> None:
    content = zip_bytes([(CHINESE, b"content")]).replace(CHINESE.encode(), b"\xff\xfe\xfd" * 2)
    with pytest.raises(UnicodeDecodeError), zipfile.ZipFile(placed(tmp_path, content)):
        pass
    assert unpacked(tmp_path, content) == [b"content"]


def test_local_name_that_differs_from_the_directory(tmp_path: Path) -> None:
    content = zip_bytes([("name", b"content")]).replace(b"name", b"mane", 1)
    assert unpacked(tmp_path, content) == [b"content"]


@pytest.mark.parametrize("second", [b"one", b"two"])
def test_duplicate_names(second: bytes, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        content = zip_bytes([FIRST, (SECRET, b"one"), (SECRET, second)])
    where, what = refused(tmp_path, content)
    assert where == "member 3 of input 2"
    assert "the same name" in what


def test_an_empty_file_is_a_sign_of_trouble(tmp_path: Path) -> None:
    where, what = refused(tmp_path, zip_bytes([FIRST, (SECRET, b"")]))
    assert where == "member 2 of input 2"
    assert "0 bytes" in what


def long_zip(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Return an archive written as those beyond 4 GB are: every number in its long form."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 3)
    content = zip_bytes([(SECRET, b"one" * 50), ("b", b"two" * 50)])
    # Size, packed size and, from the second member on, place.
    assert content.count(struct.pack("<2H", 1, 16)) + content.count(struct.pack("<2H", 1, 24)) >= 2
    assert b"PK\x06\x06" in content
    return content


def test_beyond_four_gigabytes_by_its_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = long_zip(monkeypatch)
    members = [b"one" * 50, b"two" * 50]
    assert unpacked(tmp_path, content) == members
    assert unpacked(tmp_path, b"program" * 99 + content) == members, "unpacks itself"


@pytest.mark.parametrize(
    ("patch", "what"),
    [
        ((b"PK\x06\x07", 16, b"\x02"), "split"),
        ((b"PK\x06\x06", 0, b"XX"), "its end is missing"),
        ((b"PK\x06\x06", 40, b"\xff" * 8), "its directory lies outside"),
        ((b"PK\x06\x06", 48, b"\xff" * 8), "its directory lies outside"),
        # In the last entry, behind its name of one letter: sort, length, size, packed size.
        ((CENTRAL, 46 + 1, b"\x07\x00"), "a size is missing"),
        ((CENTRAL, 46 + 1 + 4, b"\xff" * 8), "bomb"),
        ((CENTRAL, 46 + 1 + 12, b"\xff" * 8), "beyond its end"),
    ],
)
def test_long_numbers_that_lie(
    patch: tuple[bytes, int, bytes], what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert what in refused(tmp_path, patched(long_zip(monkeypatch), *patch))[1]


names = st.text(min_size=1, max_size=40).filter(lambda name: "\0" not in name)


@given(st.lists(names, min_size=1, max_size=4, unique=True))
def test_no_name_escapes(tmp_path_factory: pytest.TempPathFactory, found: list[str]) -> None:
    tmp_path = tmp_path_factory.mktemp("names")
    folder = tmp_path / "a" / "b" / "c"
    try:
        content = zip_bytes([(name, b"content") for name in found])
    except UnicodeEncodeError:
        return
    try:
        files = unpack(placed(tmp_path, content), folder, 1)
    except InputError as error:
        assert not any(name in str(error) for name in found if len(name) > 3)
        files = []
    everything = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert everything - {tmp_path / f"{SECRET}.bin"} == set(files)
    assert all(path.parent == folder for path in files)


@given(st.randoms(use_true_random=False))
def test_damage_of_any_kind_is_one_error(
    tmp_path_factory: pytest.TempPathFactory, chance: random.Random
) -> None:
    tmp_path = tmp_path_factory.mktemp("damage")
    content = bytearray(zip_bytes([(f"{SECRET}/a", b"content" * 50), ("b", bytes(500))]))
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(content))
        content[place : place + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 3))
    try:
        unpack(placed(tmp_path, bytes(content)), tmp_path / "target", 1)
    except InputError as error:
        assert SECRET not in str(error)
