"""One mutated upload through the converter's door, and all that must hold afterwards."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

import dicom_mutations
import mutations
import numpy as np
from identity import contents

from cereflow_bids.cli.convert import main
from cereflow_bids.demo.writers import ge
from cereflow_bids.demo.writers.dicom import pack
from cereflow_bids.demo.writers.study import Identity, Study

SECONDS = 60
_LABELING = ("--post-labeling-delay", "2.0", "--labeling-duration", "1.8")
_ALLOWED_CODES = {0, 1, 3}
_WORD = mutations.WORD.lower().encode()
_KEY = "bids.key.json"
# The dataset, and beside it what waits for parameters.
_OURS = ("work/bids/", "work/bids.pending/", "work/bids.pending.json")


@dataclass(frozen=True)
class Outcome:
    """What came of one case.

    Attributes
    ----------
    code
        Exit code, or -1 if the converter raised.
    seconds
        Wall time.
    said
        Everything printed.
    problems
        One line for each thing that must not be.
    """

    code: int
    seconds: float
    said: str
    problems: tuple[str, ...]


class _TooLong(BaseException):
    """Raised after a minute; no handler for errors may stop it."""


def good_dataset(folder: Path) -> Path:
    """Make the dataset that every case starts from, with one subject; return its folder."""
    study = Study(Identity.canary("G1"), "20210304", "090807")
    noise = np.random.default_rng(3).uniform(100, 900, (8, 8, 4, 2))
    ge.write(folder / "dicom", study, noise[..., 0], noise[..., 1], np.diag([4.0, 4.0, 6.0, 1.0]))
    archive = pack(folder / "dicom", folder / "good.zip")
    with _captured(folder / "said"):
        code = main([str(archive), str(folder / "start/bids"), "--quiet"])
    if code:
        raise RuntimeError(f"the sound upload did not convert: {code}")
    return folder / "start"


def run(case: mutations.Case, start: Path, folder: Path) -> Outcome:
    """Convert `case` into a copy of the dataset in `start`, all inside the empty `folder`."""
    work, uploads, temporary = folder / "work", folder / "uploads", folder / "temporary"
    shutil.copytree(start, work, copy_function=shutil.copy2)
    for made in (uploads, temporary):
        made.mkdir(parents=True)
    upload = uploads / f"{mutations.WORD}_{case.vendor}.zip"
    upload.write_bytes(case.content)
    before = digests(folder)
    options = _LABELING if case.number % 2 else ()
    with _captured(folder / "said"), _elsewhere(temporary):
        clock = time.monotonic()
        code, problem = _convert([str(upload), str(work / "bids"), *options])
        seconds = time.monotonic() - clock
    said = (folder / "said").read_text(encoding="utf-8", errors="replace")
    (folder / "said").unlink()
    problems = [
        *problem,
        *_spoken(code, said),
        *_changed(before, digests(folder), code),
        *_leaked(work),
    ]
    return Outcome(code, seconds, said, tuple(problems))


def digests(folder: Path) -> dict[str, str]:
    """Return path → digest of every file, and of every link where it leads."""
    found = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"link to {path.readlink()}"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif not path.is_dir():
            found[name] = "neither file nor folder"
    return found


def _convert(arguments: list[str]) -> tuple[int, list[str]]:
    """Call the command; return its exit code, and what it raised."""
    handler = signal.signal(signal.SIGALRM, _stop)
    signal.alarm(SECONDS)
    try:
        return main(arguments), []
    except _TooLong:
        return -1, [f"took more than {SECONDS} s"]
    except SystemExit as error:
        return -1, [f"left by SystemExit({error.code})"]
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what this looks for
        return -1, [f"raised {type(error).__name__}: {error}"]
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise _TooLong


def _spoken(code: int, said: str) -> Iterator[str]:
    """Yield what is wrong with the exit code or with what was printed."""
    if code not in _ALLOWED_CODES | {-1}:
        yield f"exit code {code}"
    if "Traceback" in said:
        yield "printed a traceback"
    if _WORD in said.lower().encode():
        yield "printed a canary"
    if code == 1 and "To fix:" not in said:
        yield "failed without saying what to do"


def _changed(before: dict[str, str], after: dict[str, str], code: int) -> Iterator[str]:
    """Yield files that are new or different where nothing may change."""
    subjects = {_subject(name) for name in before}
    added = {_subject(name) for name in after} - subjects
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) == after.get(name) or name == f"work/{_KEY}":
            continue
        if not name.startswith(_OURS):
            yield f"outside the dataset: {_plain(name)}"
        elif _subject(name) and _subject(name) in subjects:
            yield f"the other subject's file: {name}"
        elif not added:
            yield f"no new subject (exit code {code}), but changed: {_plain(name)}"
    if Path(f"/{mutations.WORD}ESCAPED").exists():
        yield "an absolute path was written to"


def _subject(name: str) -> str:
    """Return the subject whose file this is: raw or in derivatives; '' for top-level files."""
    return next((part for part in Path(name).parts if part.startswith("sub-")), "").partition(".")[
        0
    ]


def _plain(name: str) -> str:
    return name if len(name) < 200 else f"{name[:200]}…"


def _leaked(work: Path) -> Iterator[str]:
    """Yield every file in or beside the dataset in which a canary is; the key must hold some."""
    for path, content in contents(work):
        name = path.relative_to(work).as_posix()
        found = content.lower()
        if name.startswith("bids.pending/") and path.name == "series.json":
            # Which only its owner may read, and finds his series in by their descriptions.
            found = found.replace(dicom_mutations.DESCRIBED.lower(), b"")
        if _WORD in found and name != _KEY:
            yield f"a canary in {name}"


@contextlib.contextmanager
def _captured(path: Path) -> Iterator[None]:
    """Write all that this process and its children print to `path`."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    streams = sys.stdout, sys.stderr
    with path.open("w", encoding="utf-8", errors="backslashreplace", buffering=1) as sink:
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
        sys.stdout = sys.stderr = sink
        try:
            yield
        finally:
            sys.stdout, sys.stderr = streams
            for number, copy in enumerate(kept, start=1):
                os.dup2(copy, number)
                os.close(copy)


@contextlib.contextmanager
def _elsewhere(folder: Path) -> Iterator[None]:
    """Let temporary files of this process and its children be made in `folder`."""
    kept = os.environ.get("TMPDIR"), tempfile.tempdir
    os.environ["TMPDIR"], tempfile.tempdir = str(folder), str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = kept[1]
        if kept[0] is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = kept[0]
