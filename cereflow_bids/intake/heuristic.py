"""Our HeuDiConv heuristic: its rules for our own use, and HeuDiConv run with it."""

import ast
import contextlib
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from cereflow_bids.errors import InputError
from cereflow_bids.intake.headers import compression, linking
from cereflow_bids.intake.headers.series import Series
from cereflow_bids.resources import packaged_folder

_LAUNCH = "import sys; from heudiconv.cli.run import main; sys.exit(main())"
# The label that HeuDiConv works with; the participant's own is given when a study moves in.
_LABEL = "X"
# Seconds that any conversion may take, and images per second that the slowest machine converts.
_PATIENCE, _SLOWEST = 45.0, 5.0
_TIMED_OUT = -1
# Images from which on a second process is worth its start.
_LARGE = 100
# Process groups that threads of this process are waiting for.
_RUNNING: set[int] = set()


def heuristic_file() -> Path:
    """Return the heuristic, as ``heudiconv -f`` takes it."""
    return packaged_folder("heuristics") / "cereflow.py"


@cache
def rules() -> ModuleType:
    """Load the heuristic as a module, so that its rules are written in one place only."""
    folder = str(heuristic_file().parent)
    # As HeuDiConv does it: its rules lie beside it.
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(heuristic_file().stem)
    finally:
        sys.path.remove(folder)


def role(series: Series) -> Any:
    """Return the heuristic's ``Role`` of a series: kind (None: left out), why, and rule."""
    return rules().role(
        rules().Traits(
            manufacturer=series.manufacturer,
            description=series.description,
            protocol_name=series.protocol_name,
            image_type=series.images[0].image_type,
            acquisition_type=series.acquisition_type,
            sequence=rules().sequence_name(series.header),
            colour=int(series.header.get("SamplesPerPixel") or 1) == 3,
            fitted=rules().is_fitted(series.header),
        )
    )


def vendor(series: Series) -> str | None:
    """Return ``"ge"``, ``"philips"``, ``"siemens"`` or None."""
    found: str | None = rules().vendor(series.manufacturer)
    return found


def convert(chosen: Sequence[Series], folder: Path, at_once: int = 1) -> dict[str, list[Path]]:
    """Convert the series of one study with HeuDiConv.

    Parameters
    ----------
    chosen
        Series that have a role.
    folder
        A working folder of our own, in which more are made.
    at_once
        Into how many parts a large study is divided, each converted by a process of its own.

    Returns
    -------
    dict
        Series UID → its NIfTI files (dcm2niix may split a series), each with a ``.json``.

    Raises
    ------
    InputError
        If HeuDiConv fails, takes too long, or leaves a series out.
    """
    batches = _batches(chosen)
    if sum(len(series.images) for series in chosen) >= _LARGE:
        batches = [part for batch in batches for part in _divided(batch, at_once)]
    folders = [folder / f"batch-{number}" for number in range(len(batches))]
    with ThreadPoolExecutor(max(at_once, 1)) as pool:
        try:
            results = list(pool.map(_convert_batch, batches, folders))
        except BaseException:
            stop_all()
            raise
    return {uid: files for found in results for uid, files in found.items()}


def _divided(batch: Sequence[Series], parts: int) -> list[list[Series]]:
    """Divide series into parts of about as many images."""
    divided: list[list[Series]] = [[] for _ in range(parts)]
    for series in sorted(batch, key=lambda one: -len(one.images)):
        min(divided, key=lambda part: sum(len(one.images) for one in part)).append(series)
    return [part for part in divided if part]


def _batches(chosen: Sequence[Series]) -> list[list[Series]]:
    """Part series of equal number and name, which HeuDiConv would take for one."""
    batches: list[list[Series]] = []
    for series in chosen:
        names = (series.number, series.study_uid)
        for batch in batches:
            if batch[0].study_uid == series.study_uid and all(
                (other.number, other.study_uid) != names for other in batch
            ):
                batch.append(series)
                break
        else:
            batches.append([series])
    return batches


def _convert_batch(chosen: Sequence[Series], folder: Path) -> dict[str, list[Path]]:
    for number, series in enumerate(chosen):
        linking.link(series, folder / "dicom" / f"{number:03d}")
    with _without_spaces(folder) as (place, temporary):
        options = _write_options(place / "dcm2niix.json")
        command = [sys.executable, "-c", _LAUNCH]
        command += ["--files", str(place / "dicom"), "-s", _LABEL, "-o", str(place / "bids")]
        command += ["-f", str(heuristic_file()), "-c", "dcm2niix", "-b", "notop", "--minmeta"]
        command += ["--dcmconfig", str(options)]
        seconds = _PATIENCE + sum(len(series.images) for series in chosen) / _SLOWEST
        code = _run(command, place, temporary, seconds)
    if code:
        _refuse_full_disk(chosen, folder)
        if code != _TIMED_OUT:
            compression.refuse_undecodable(chosen)
            _find_culprit(chosen, folder)
        problem = "took too long and was stopped" if code == _TIMED_OUT else f"failed ({code})"
        raise InputError(
            f"The conversion by HeuDiConv and dcm2niix {problem}.",
            where=", ".join(f"series {series.number}" for series in chosen),
            fix="look whether the export is complete and the disk has room; if both are so, this "
            "is worth a report.",
        )
    return _outputs(chosen, folder)


def _refuse_full_disk(chosen: Sequence[Series], folder: Path) -> None:
    """Raise if there is less room than the series themselves take: that is why they failed."""
    needed = sum(image.path.stat().st_size for series in chosen for image in series.images)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"The disk is full: {free / 1e6:,.0f} MB are left, and the images are "
            f"{needed / 1e6:,.0f} MB.",
            fix="free some space, or choose a BIDS folder on another disk.",
        )


def _find_culprit(chosen: Sequence[Series], folder: Path) -> None:
    """Convert series one by one after they failed together: the first that fails alone raises."""
    for number, series in enumerate(chosen if len(chosen) > 1 else ()):
        _convert_batch([series], folder / f"alone-{number}")


def _write_options(path: Path) -> Path:
    """Let dcm2niix compress quickly: every image is written once more, without names."""
    path.write_text(json.dumps({"compression": 1}), encoding="utf-8")
    return path


def _run(command: list[str], place: Path, temporary: Path, seconds: float) -> int:
    """Run HeuDiConv unheard, for its messages name files and patients; return its exit code."""
    with subprocess.Popen(
        command,
        env=_environment(temporary),
        cwd=place,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        _RUNNING.add(process.pid)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return _TIMED_OUT
        except BaseException:
            # If we are stopped, dcm2niix must not write on behind the clean-up.
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            _RUNNING.discard(process.pid)


def stop_all() -> None:
    """Kill the conversions that other threads are waiting for: nobody wants their results."""
    for number in tuple(_RUNNING):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(number, signal.SIGKILL)


@contextlib.contextmanager
def _without_spaces(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Give a folder, and one for temporary files, a path without spaces: HeuDiConv needs that."""
    if not _has_space(folder):
        yield folder, folder / "tmp"
        return
    parents = (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"))
    fitting = [p for p in parents if not _has_space(p) and os.access(p, os.W_OK | os.X_OK)]
    if not fitting:
        raise InputError(
            "HeuDiConv cannot write to a path with a space in it, and no temporary folder is free "
            "of spaces.",
            fix="set TMPDIR to a folder without a space in its path.",
        )
    with tempfile.TemporaryDirectory(prefix="cereflow-", dir=fitting[0]) as short:
        alias = Path(short) / "study"
        alias.symlink_to(folder, target_is_directory=True)
        yield alias, Path(short) / "tmp"


def _has_space(path: Path) -> bool:
    return any(character.isspace() for character in str(path))


def _environment(temporary: Path) -> dict[str, str]:
    """Put the packaged dcm2niix first on PATH and temporary files into a folder of our own."""
    import dcm2niix

    temporary.mkdir(exist_ok=True)
    path = os.pathsep.join((str(Path(dcm2niix.bin).parent), os.environ.get("PATH", os.defpath)))
    own = {"PATH": path, "TMPDIR": str(temporary), "NO_ET": "1"}
    # Its books hold descriptions of series in whatever script: in one encoding, whatever locale.
    return {**os.environ, **own, "PYTHONUTF8": "1"}


def _outputs(chosen: Sequence[Series], folder: Path) -> dict[str, list[Path]]:
    """Find the files that became of each series, by HeuDiConv's own book-keeping."""
    books = next(folder.glob("bids/.heudiconv/**/filegroup*.json"))
    planned = ast.literal_eval(next(books.parent.glob("*.auto.txt")).read_text(encoding="utf-8"))
    # Only this tells which stem a series got: the groups are sorted as texts, 10 before 9.
    stems = {identity: stem for (stem, *_), members in planned.items() for identity in members}
    found = {}
    for identity, files in json.loads(books.read_text(encoding="utf-8")).items():
        places = {int(Path(name).parent.name) for name in files}
        if len(places) != 1:
            raise InputError(
                "Two series of one study cannot be told apart by HeuDiConv.",
                where=", ".join(f"series {chosen[place].number}" for place in sorted(places)),
                fix="export them one by one, and convert each in a command of its own.",
            )
        if identity in stems:
            found[chosen[places.pop()].uid] = _files_of(folder / "bids", stems[identity])
    lost = [series for series in chosen if not found.get(series.uid)]
    if lost:
        compression.refuse_undecodable(lost)
        raise InputError(
            "dcm2niix made no image of it.",
            where=", ".join(f"series {series.number}" for series in lost),
            fix="check that the export is complete: every series with all of its images.",
        )
    return found


def _files_of(root: Path, stem: str) -> list[Path]:
    within = f"sub-{_LABEL}"
    path = root / stem.format(bids_subject_session_dir=within, bids_subject_session_prefix=within)
    # A series that dcm2niix splits gets a number behind its suffix.
    numbered = sorted(
        path.parent.glob(f"{path.name}[0-9]*.nii.gz"),
        key=lambda one: int(one.name.removeprefix(path.name).removesuffix(".nii.gz")),
    )
    whole = path.with_name(f"{path.name}.nii.gz")
    return [whole] if whole.exists() else numbered
