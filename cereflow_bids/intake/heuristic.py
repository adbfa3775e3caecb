"""Our HeuDiConv heuristic: its rules for our own use, and HeuDiConv run with it."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
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
    command = [sys.executable, "-c", _LAUNCH]
    command += ["--files", str(folder / "dicom"), "-s", label, "-o", str(folder / "bids")]
    command += ["-f", str(heuristic_file()), "-c", "dcm2niix", "-b", "notop", "--minmeta"]
    command += ["-ss", session] if session else []
    # Its messages name files and patients: they are read for nothing but the exit code.
    done = subprocess.run(
        command, env=_environment(folder), cwd=folder, capture_output=True, check=False
    )
    if done.returncode:
        raise InputError(
            f"HeuDiConv could not convert the study (exit code {done.returncode}).",
            where=f"sub-{label}",
            fix="check that the export is complete: every series with all of its images.",
        )
    return _outputs(chosen, folder, label, session)


def _link(chosen: Sequence[Series], folder: Path) -> None:
    """Lay the files out under numbers, one folder per series."""
    for place, series in enumerate(chosen):
        target = folder / f"{place:03d}"
        target.mkdir(parents=True)
        for number, image in enumerate(series.images, start=1):
            (target / f"{number:06d}.dcm").symlink_to(image.path.resolve())


def _environment(folder: Path) -> dict[str, str]:
    """Put the packaged dcm2niix first on PATH and temporary files into our own folder."""
    import dcm2niix

    temporary = folder / "tmp"
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
