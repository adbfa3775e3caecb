"""Our HeuDiConv heuristic: its rules for our own use, and HeuDiConv run with it."""

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType

from cereflow_bids.errors import InputError
from cereflow_bids.intake.series import Series
from cereflow_bids.resources import packaged_folder

_LAUNCH = "import sys; from heudiconv.cli.run import main; sys.exit(main())"


def heuristic_file() -> Path:
    """Return the heuristic, as ``heudiconv -f`` takes it."""
    return packaged_folder("heuristics") / "cereflow.py"


@cache
def rules() -> ModuleType:
    """Load the heuristic as a module, so that its rules are written in one place only."""
    specification = importlib.util.spec_from_file_location("cereflow_rules", heuristic_file())
    if specification is None or specification.loader is None:
        raise ImportError("the heuristic cannot be loaded")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def role(series: Series) -> tuple[str | None, str]:
    """Return what a series is for (None: it is left out) and why."""
    for image in series.images:
        found = rules().role(
            manufacturer=series.manufacturer,
            description=series.description,
            protocol_name=series.protocol_name,
            image_type=image.image_type,
            acquisition_type=series.acquisition_type,
        )
        return found.kind, found.why
    return None, rules().UNRELATED


def vendor(series: Series) -> str | None:
    """Return ``"ge"``, ``"philips"``, ``"siemens"`` or None."""
    found: str | None = rules().vendor(series.manufacturer)
    return found


def convert(
    chosen: Sequence[Series], folder: Path, label: str, session: str | None
) -> dict[str, list[Path]]:
    """Convert the series of one study with HeuDiConv.

    Parameters
    ----------
    chosen
        Series that have a role.
    folder
        A working folder of our own: ``dicom/`` and ``bids/`` are made in it.
    label, session
        Participant and session label, without ``sub-`` and ``ses-``.

    Returns
    -------
    dict
        Series UID → its NIfTI files (dcm2niix may split a series), each with a ``.json``.

    Raises
    ------
    InputError
        If HeuDiConv fails or leaves a series out.
    """
    _link(chosen, folder / "dicom")
    with _without_spaces(folder) as (place, temporary):
        command = [sys.executable, "-c", _LAUNCH]
        command += ["--files", str(place / "dicom"), "-s", label, "-o", str(place / "bids")]
        command += ["-f", str(heuristic_file()), "-c", "dcm2niix", "-b", "notop", "--minmeta"]
        command += ["-ss", session] if session else []
        code = _run(command, place, temporary)
    if code:
        raise InputError(
            f"HeuDiConv could not convert the study (exit code {code}).",
            where=f"sub-{label}",
            fix="look whether the export is complete and the disk has room; if both are so, this "
            "is worth a report.",
        )
    return _outputs(chosen, folder, label, session)


def _run(command: list[str], place: Path, temporary: Path) -> int:
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
        try:
            return process.wait()
        except BaseException:
            # If we are stopped, dcm2niix must not write on behind the clean-up.
            os.killpg(process.pid, signal.SIGKILL)
            raise


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


def _link(chosen: Sequence[Series], folder: Path) -> None:
    """Lay the files out under numbers, one folder per series."""
    for place, series in enumerate(chosen):
        target = folder / f"{place:03d}"
        target.mkdir(parents=True)
        for number, image in enumerate(series.images, start=1):
            (target / f"{number:06d}.dcm").symlink_to(image.path.resolve())


def _environment(temporary: Path) -> dict[str, str]:
    """Put the packaged dcm2niix first on PATH and temporary files into a folder of our own."""
    import dcm2niix

    temporary.mkdir(exist_ok=True)
    path = os.pathsep.join((str(Path(dcm2niix.bin).parent), os.environ.get("PATH", os.defpath)))
    return {**os.environ, "PATH": path, "TMPDIR": str(temporary), "NO_ET": "1"}


def _outputs(
    chosen: Sequence[Series], folder: Path, label: str, session: str | None
) -> dict[str, list[Path]]:
    """Find the files that became of each series, by HeuDiConv's own book-keeping."""
    books = next(folder.glob("bids/.heudiconv/**/filegroup*.json"))
    groups = json.loads(books.read_text(encoding="utf-8"))
    kinds = []
    order = []
    for files in groups.values():
        places = {int(Path(name).parent.name) for name in files}
        if len(places) != 1:
            raise InputError(
                "Two series of one study have the same number and protocol.",
                where=f"sub-{label}",
                fix="export them one by one, and convert each in a command of its own.",
            )
        order.append(chosen[places.pop()])
        kinds.append(role(order[-1])[0])
    found: dict[str, list[Path]] = {}
    for series, stem in zip(order, rules().stems(kinds), strict=True):
        found[series.uid] = _files_of(folder / "bids", stem, label, session)
    if set(found) != {series.uid for series in chosen} or not all(found.values()):
        raise InputError(
            "A series was not converted.",
            where=f"sub-{label}",
            fix="check that the export is complete: every series with all of its images.",
        )
    return found


def _files_of(root: Path, stem: str, label: str, session: str | None) -> list[Path]:
    within = f"sub-{label}/ses-{session}" if session else f"sub-{label}"
    path = root / stem.format(
        bids_subject_session_dir=within,
        bids_subject_session_prefix=within.replace("/", "_"),
    )
    # A series that dcm2niix splits gets a number behind its suffix.
    numbered = sorted(path.parent.glob(f"{path.name}[0-9].nii.gz"))
    whole = path.with_name(f"{path.name}.nii.gz")
    return [whole] if whole.exists() else numbered
