"""Hostile and broken archives: nothing leaves the folder, one clear sentence, no names."""

import stat
import zipfile
from pathlib import Path

import pytest

from cereflow_bids.errors import InputError
from cereflow_bids.intake.archives import unpack

SECRET = "Doe_Jane"


def make(path: Path, name: str, *, mode: int = 0o644, content: bytes = b"content") -> Path:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = mode << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("first.dcm", b"first")
        archive.writestr(entry, content)
    return path


def refused(source: Path, tmp_path: Path) -> str:
    folder = tmp_path / "target" / "inner"
    with pytest.raises(InputError) as caught:
        unpack(source, folder, 2)
    message = str(caught.value)
    assert SECRET not in message
    assert source.name not in message
    assert caught.value.fix
    outside = [p for p in tmp_path.rglob("*") if p.is_file() and folder not in p.parents]
    assert outside == [source]
    return message


@pytest.mark.parametrize(
    "name",
    [
        f"../{SECRET}",
        f"a/../../{SECRET}",
        f"/{SECRET}",
        f"..\\{SECRET}",
        f"C:\\{SECRET}",
        f"\\\\server\\share\\{SECRET}",
        f"a/..\\..\\{SECRET}",
    ],
)
def test_names_that_lead_out(name: str, tmp_path: Path) -> None:
    message = refused(make(tmp_path / "evil.zip", name), tmp_path)
    assert message.startswith("member 2 of input 2: ")
    assert "leads out" in message


def test_symbolic_link(tmp_path: Path) -> None:
    source = make(tmp_path / "evil.zip", SECRET, mode=stat.S_IFLNK | 0o777, content=b"/etc/passwd")
    assert "symbolic link" in refused(source, tmp_path)


def test_encrypted(tmp_path: Path) -> None:
    source = make(tmp_path / "evil.zip", SECRET)
    raw = bytearray(source.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.rindex(signature) + offset] |= 1
    source.write_bytes(raw)
    assert "encrypted" in refused(source, tmp_path)


def test_truncated(tmp_path: Path) -> None:
    source = make(tmp_path / "evil.zip", SECRET, content=bytes(range(256)) * 100)
    source.write_bytes(source.read_bytes()[:-200])
    assert "damaged" in refused(source, tmp_path)


def test_damaged_member(tmp_path: Path) -> None:
    source = make(tmp_path / "evil.zip", SECRET, content=b"0123456789" * 100)
    raw = bytearray(source.read_bytes())
    raw[raw.index(b"0123456789") + 5] ^= 0xFF
    source.write_bytes(raw)
    assert "member 2 of input 2" in refused(source, tmp_path)


def test_not_a_zip(tmp_path: Path) -> None:
    source = tmp_path / "evil.zip"
    source.write_bytes(b"this is a text about " + SECRET.encode())
    assert "not a ZIP" in refused(source, tmp_path)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^input 7: There is no such"):
        unpack(tmp_path / SECRET, tmp_path / "target", 7)


def test_members_lose_their_names(tmp_path: Path) -> None:
    source = make(tmp_path / "good.zip", f"{SECRET}/scan.dcm")
    files = unpack(source, tmp_path / "target", 1)
    assert [path.read_bytes() for path in files] == [b"first", b"content"]
    assert all(path.parent == tmp_path / "target" for path in files)
    assert not any(SECRET in path.name for path in files)


def test_a_folder_is_read_where_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/one").write_bytes(b"1")
    assert unpack(folder, tmp_path / "target", 1) == [folder / "deep/one"]
    assert not (tmp_path / "target").exists()
