"""Archives as nobody should send them, and what must hold when they are refused."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from cereflow_bids.errors import InputError
from cereflow_bids.intake.archives.unpacking import Limits, unpack

SECRET = "Doe_Jane"
CHINESE = "张伟"


def zip_bytes(
    members: Sequence[tuple[str, bytes]], *, method: int = zipfile.ZIP_DEFLATED, mode: int = 0o644
) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as archive:
        for name, content in members:
            entry = zipfile.ZipInfo(name)
            entry.compress_type = method
            entry.create_system = 3
            entry.external_attr = mode << 16
            archive.writestr(entry, content)
    return sink.getvalue()


def tar_bytes(
    members: Sequence[tuple[str, bytes]],
    *,
    mode: str = "w",
    kind: bytes = tarfile.REGTYPE,
    format: int = tarfile.PAX_FORMAT,
) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode=mode, format=format) as archive:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.type = kind
            entry.linkname = SECRET if kind != tarfile.REGTYPE else ""
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return sink.getvalue()


def placed(tmp_path: Path, content: bytes) -> Path:
    """Write an archive under a name that identifies somebody and tells nothing of its kind."""
    source = tmp_path / f"{SECRET}.bin"
    source.write_bytes(content)
    return source


def unpacked(tmp_path: Path, content: bytes, limits: Limits | None = None) -> list[bytes]:
    """Unpack and return what the files hold."""
    folder = tmp_path / "target"
    files = unpack(placed(tmp_path, content), folder, 1, limits)
    assert all(path.resolve().is_relative_to(folder) for path in files)
    assert not any(SECRET in str(path.relative_to(tmp_path)) for path in files)
    kept = [path for path in folder.rglob("*") if path.is_file()]
    assert sorted(kept) == sorted(files), "nothing but what is handed on stays on the disk"
    return [path.read_bytes() for path in files]


def refused(
    tmp_path: Path, content: bytes | Path, limits: Limits | None = None
) -> tuple[str, str]:
    """Unpack, expect a refusal that leaves nothing behind, and return where and what."""
    source = content if isinstance(content, Path) else placed(tmp_path, content)
    before = sorted(tmp_path.rglob("*"))
    folder = tmp_path / "target" / "inner"
    with pytest.raises(InputError) as caught:
        unpack(source, folder, 2, limits)
    error = caught.value
    message = str(error)
    assert SECRET not in message
    assert CHINESE not in message
    assert str(tmp_path) not in message
    assert error.fix
    assert error.what.endswith(".")
    assert error.what.count(". ") == 0, "one sentence"
    left = [path for path in tmp_path.rglob("*") if path.is_file() or path.is_symlink()]
    assert [path for path in left if path not in before] == []
    return error.where, error.what
