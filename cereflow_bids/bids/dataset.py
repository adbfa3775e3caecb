"""A BIDS dataset through pybids: ASL runs out, each on its own terms."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cereflow_bids.bids.anatomy import Anatomy, find_anatomy
from cereflow_bids.bids.derivative_folders import DerivativeFolder
from cereflow_bids.bids.files import IMAGES, Files
from cereflow_bids.bids.index import check_sidecars
from cereflow_bids.bids.m0_metadata import read_calibration
from cereflow_bids.bids.metadata import read_labeling
from cereflow_bids.bids.people import read_person
from cereflow_bids.bids.run import LABELED, AslRun
from cereflow_bids.bids.sidecar import Sidecar
from cereflow_bids.bids.volumes import image_shape, read_context, volume_count
from cereflow_bids.errors import CereflowError, InputError, PendingError, UsageError

if TYPE_CHECKING:
    from bids import BIDSLayout
    from bids.layout import BIDSFile

ACQUISITION_KEYS = (
    "Manufacturer",
    "ManufacturersModelName",
    "MagneticFieldStrength",
    "MRAcquisitionType",
    "ArterialSpinLabelingType",
    "M0Type",
    "BackgroundSuppression",
    "TotalAcquiredPairs",
    "EchoTime",
    "RepetitionTimePreparation",
)


MANY_LABELS = 20


@dataclass(frozen=True)
class Selection:
    """Which runs the user wants. Labels without prefix; empty means all.

    `ignore` names kinds of images that are not to be used: ``t1w``. `derivatives` are folders with
    anatomy that was prepared before, in the order of preference.
    """

    participants: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    filters: dict[str, Any] | None = None
    ignore: tuple[str, ...] = ()
    derivatives: tuple[DerivativeFolder, ...] = ()


@dataclass(frozen=True)
class Rejected:
    """A run that cannot be processed as it is, and why; its metadata as far as they are known."""

    stem: str
    participant: str
    error: CereflowError
    metadata: dict[str, Any] = field(default_factory=dict)


def select_runs(layout: BIDSLayout, selection: Selection) -> tuple[list[AslRun], list[Rejected]]:
    """Build the AslRun of each selected ``_asl`` file; a bad one never stops the others.

    Raises
    ------
    UsageError
        If a participant that was asked for is not there, or nothing is left to do.
    """
    files = Files(layout)
    _check_participants(files.root, selection.participants)
    runs, rejected = [], []
    stems: set[str] = set()
    for image in _asl_files(files, selection):
        stem = run_stem(image)
        metadata: dict[str, Any] = {}
        try:
            _check_single(stem, stems, image)
            metadata = files.metadata(image)
            runs.append(build_run(files, image, selection))
        except CereflowError as error:
            rejected.append(Rejected(stem, image.entities["subject"], error, metadata))
        except Exception as error:  # noqa: BLE001
            # Whatever is wrong with one run's files must not stop the others.
            told = InputError(
                f"its files cannot be understood ({_reason(error)}).",
                where=image.relpath,
                fix="check image, sidecar and aslcontext.tsv with the BIDS validator.",
            )
            rejected.append(Rejected(stem, image.entities["subject"], told, metadata))
    if not runs and not rejected:
        raise UsageError(
            "no _asl image matches.", fix="check --participant-label, --session-label and filters."
        )
    return runs, rejected


def _reason(error: Exception) -> str:
    """Return what went wrong, without folders, whose names may be those of persons."""
    if not isinstance(error, OSError) or error.strerror is None:
        return f"{type(error).__name__}: {error}"
    name = Path(str(error.filename)).name if error.filename else ""
    return f"{error.strerror}: {name}" if name else error.strerror


def _check_participants(root: Path, wanted: Sequence[str]) -> None:
    """Refuse participants that are not there."""
    # Asking the index for them would load all that it knows of all files.
    known = {path.name.removeprefix("sub-") for path in root.glob("sub-*") if path.is_dir()}
    unknown = [label for label in wanted if label not in known]
    if unknown:
        raise UsageError(
            f"participant {', '.join(unknown)} is not in the dataset.",
            fix=f"choose from {_some(sorted(known), unknown[0]) or 'none: the dataset is empty'}"
            f"{', and write several with blanks between them' if ',' in unknown[0] else ''}.",
        )


def _some(labels: Sequence[str], like: str) -> str:
    """Return a list that can be read: all of a few labels, of many those like another."""
    if len(labels) <= MANY_LABELS:
        return ", ".join(labels)
    near = difflib.get_close_matches(like, labels, n=5, cutoff=0)
    return f"{', '.join(near)} and {len(labels) - len(near)} others"


def run_stem(image: BIDSFile) -> str:
    """Return the entities of an ``_asl`` file as its name has them, without the suffix."""
    return str(image.filename).rpartition("_asl.")[0]


def build_run(files: Files, image: BIDSFile, selection: Selection) -> AslRun:
    """Read and validate one run.

    Parameters
    ----------
    files
        Those of the dataset.
    image
        The ``_asl`` file.
    selection
        What is not to be used, and what else is.

    Raises
    ------
    CereflowError
        Naming file, key, value and remedy.
    """
    path = Path(image.path)
    where = str(path.relative_to(files.root))
    shape = image_shape(path, where)
    n_volumes = volume_count(shape)
    context_file, context = _context(files, path, where, n_volumes)
    check_sidecars(path, files.inheritance)
    sidecar = Sidecar(files.metadata(image), where)
    if not set(context) & set(LABELED):
        raise InputError(
            "aslcontext.tsv lists neither control and label nor deltam volumes.",
            where=where,
            fix="correct aslcontext.tsv, or leave this run out.",
        )
    _check_scaling(sidecar, context)
    labeling, notes = read_labeling(sidecar, context, shape)
    m0 = _m0scan(files, image) if sidecar.values.get("M0Type") == "Separate" else None
    anatomy = (
        Anatomy()
        if "t1w" in selection.ignore
        else find_anatomy(files, image, selection.derivatives)
    )
    notes += anatomy.notes
    inputs = [path, context_file, *([m0[0]] if m0 else []), *anatomy.inputs]
    return AslRun(
        stem=run_stem(image),
        participant=image.entities["subject"],
        session=image.entities.get("session"),
        asl=path,
        source=where,
        context=context,
        labeling=labeling,
        calibration=read_calibration(sidecar, context, m0, labeling),
        acquisition={
            key: sidecar.values[key] for key in ACQUISITION_KEYS if key in sidecar.values
        },
        notes=tuple(notes),
        fingerprint=_fingerprint(inputs),
        metadata=json.dumps(dict(sorted(sidecar.values.items()))),
        t1w=anatomy.t1w,
        precomputed=anatomy.precomputed,
        person=read_person(files.root, image.entities["subject"], image.entities.get("session")),
        shape=shape,
    )


def _check_scaling(sidecar: Sidecar, context: Sequence[str]) -> None:
    """Refuse GE difference images that were not divided by their number of excitations.

    They are a sum over it, and conversion records by what it divided.
    """
    ge = str(sidecar.values.get("Manufacturer", "")).upper().startswith("GE")
    if not ge or "deltam" not in context:
        return
    told = sidecar.number("TotalAcquiredPairs")
    scaling = sidecar.values.get("CereflowScaling")
    divided = told
    if isinstance(scaling, dict):
        divided = scaling.get("TotalAcquiredPairs", scaling.get("NumberOfExcitations"))
    if told is None or divided != told:
        raise PendingError(
            f"the number of excitations (TotalAcquiredPairs: {told}) is not what the perfusion "
            f"images were divided by ({divided}), and CBF is proportional to it.",
            where=sidecar.where,
            fix="convert again with --excitations NUMBER; editing the sidecar is not enough.",
            missing=("TotalAcquiredPairs",),
        )


def _check_single(stem: str, seen: set[str], image: BIDSFile) -> None:
    if stem in seen:
        raise InputError(
            "there are two images of this name.",
            where=image.relpath,
            fix="keep either .nii or .nii.gz.",
        )
    seen.add(stem)


def _asl_files(files: Files, selection: Selection) -> list[BIDSFile]:
    query: dict[str, Any] = {"suffix": "asl", "extension": list(IMAGES)}
    if selection.participants:
        query["subject"] = list(selection.participants)
    if selection.sessions:
        query["session"] = list(selection.sessions)
    query |= (selection.filters or {}).get("asl", {})
    try:
        found = files.chosen(**query)
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"the filters are not understood ({error}).", fix="name BIDS entities as pybids does."
        ) from error
    return sorted(found, key=lambda image: str(image.filename))


def _context(
    files: Files, image: Path, where: str, n_volumes: int
) -> tuple[Path, tuple[str, ...]]:
    found = files.inheritance.applicable(image, "aslcontext", ".tsv")
    return read_context(found[-1] if found else None, where, n_volumes)


def _m0scan(files: Files, image: BIDSFile) -> tuple[Path, Sidecar] | None:
    """Return the M0 that names this run in IntendedFor, or the only one beside it."""
    found = files.images(image.entities["subject"], "m0scan")
    if "session" in image.entities:
        found = [m for m in found if m.entities.get("session") == image.entities["session"]]
    candidates = [(Path(m.path), files.metadata(m)) for m in found]
    intended = [c for c in candidates if _intends(c[1].get("IntendedFor"), str(image.filename))]
    silent = [c for c in candidates if "IntendedFor" not in c[1]]
    chosen = intended or (silent if len(silent) == 1 else [])
    if len(chosen) > 1:
        # Pairs of opposite phase encoding are common; the run's own direction fits it.
        own = files.metadata(image).get("PhaseEncodingDirection")
        chosen = [c for c in chosen if own and c[1].get("PhaseEncodingDirection") == own]
        if len(chosen) != 1:
            raise InputError(
                f"{len(intended)} M0 images name this run in IntendedFor.",
                where=image.relpath,
                fix="let one of them do so, or give them different PhaseEncodingDirection.",
            )
    if not chosen:
        return None
    path, values = chosen[0]
    where = str(path.relative_to(files.root))
    image_shape(path, where)
    check_sidecars(path, files.inheritance)
    return path, Sidecar(values, where)


def _intends(value: Any, name: str) -> bool:
    targets = value if isinstance(value, list) else [value]
    return any(isinstance(target, str) and target.rpartition("/")[2] == name for target in targets)


def _fingerprint(files: Sequence[Path]) -> tuple[tuple[str, int, int], ...]:
    stats = [(file.name, file.stat()) for file in files]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)
