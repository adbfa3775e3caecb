"""From vendor ZIPs to a BIDS dataset: the room's one public function.

Everything is prepared in a staging folder beside the dataset. A patient moves in as a whole or
not at all, and one patient's failure never stops the others.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cereflow_bids.errors import CereflowError, InputError, UsageError
from cereflow_bids.intake import dataset, heuristic, sessions, study
from cereflow_bids.intake.archives import check_inputs, unpack
from cereflow_bids.intake.privacy import KeyFile
from cereflow_bids.intake.protocol import Given
from cereflow_bids.intake.series import Patient, Series, index
from cereflow_bids.intake.staging import discard, move_in, staging_folder
from cereflow_bids.intake.study import Place, RunSummary


def _silent(_message: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class ConversionOptions:
    """How to convert.

    Attributes
    ----------
    given
        What the user says about the labelling.
    key_file
        Where labels are joined to patients; ``<bids_dir>.key.json`` by default.
    session_label
        Session to force on a patient's study; without it sessions are numbered by need.
    progress
        Called with one plain sentence whenever something happens.
    """

    given: Given = field(default_factory=Given)
    key_file: Path | None = None
    session_label: str | None = None
    progress: Callable[[str], None] = _silent


@dataclass(frozen=True)
class Failure:
    """What could not be converted, and why."""

    where: str
    error: CereflowError


@dataclass(frozen=True)
class ConversionSummary:
    """What became of the inputs."""

    runs: tuple[RunSummary, ...]
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]

    @property
    def pending(self) -> tuple[RunSummary, ...]:
        """Runs that lack a parameter."""
        return tuple(run for run in self.runs if run.missing)

    @property
    def exit_code(self) -> int:
        """0 all done, 1 something failed, 3 a parameter is missing."""
        if self.failures:
            return InputError.exit_code
        return 3 if self.pending else 0


@dataclass(frozen=True, eq=False)
class _Visitor:
    """One patient, with all series of all inputs, and the positions of these inputs."""

    patient: Patient
    series: tuple[Series, ...]
    inputs: tuple[int, ...]

    @property
    def where(self) -> str:
        """What messages call the patient by."""
        listed = ", ".join(str(position) for position in self.inputs)
        return f"patient in input{'s' if len(self.inputs) > 1 else ''} {listed}"


def convert(
    inputs: Sequence[Path], bids_dir: Path, options: ConversionOptions | None = None
) -> ConversionSummary:
    """Convert ZIPs and folders of DICOM into the BIDS dataset `bids_dir`.

    Parameters
    ----------
    inputs
        ZIP archives or folders; the parts of one patient may be spread over several.
    bids_dir
        A new or empty folder, or a BIDS dataset to add to.
    options
        What to assume, and where the key file is.

    Returns
    -------
    ConversionSummary
        Converted runs, failures and notes; nothing in it names a patient or a file of an input.

    Raises
    ------
    UsageError
        If an input is not there, `bids_dir` is something else, or the key file lies inside it.
    """
    options = options or ConversionOptions()
    bids_dir = bids_dir.resolve()
    check_inputs(inputs)
    dataset.check_target(bids_dir)
    key = KeyFile.read(_key_path(bids_dir, options))
    runs: list[RunSummary] = []
    notes: list[str] = []
    with staging_folder(bids_dir, notes.append) as staging:
        visitors, failures = _visitors(inputs, staging, options.progress)
        for number, visitor in enumerate(visitors):
            folder = staging / f"patient-{number:03d}"
            try:
                done, said = _convert_patient(visitor, folder, bids_dir, key, options)
            except Exception as error:  # noqa: BLE001 - one patient's trouble stops nobody else
                failures.append(Failure(visitor.where, _told(error, visitor.where)))
                options.progress(f"{visitor.where}: failed")
            else:
                runs += done
                notes += said
            discard(folder)
    return ConversionSummary(tuple(runs), tuple(failures), tuple(notes))


def _key_path(bids_dir: Path, options: ConversionOptions) -> Path:
    path = (options.key_file or bids_dir.with_name(f"{bids_dir.name}.key.json")).resolve()
    if path.is_relative_to(bids_dir):
        raise UsageError(
            "The key file would lie inside the dataset, and be shared with it.",
            where="--key-file",
            fix="choose a place outside the BIDS folder.",
        )
    return path


def _told(error: Exception, where: str) -> CereflowError:
    """Return any error without what it says: that can name a path or quote a header."""
    if isinstance(error, CereflowError):
        return error
    if isinstance(error, OSError):
        return InputError(
            f"A file could not be read or written: {error.strerror or 'system error'}.",
            where=where,
            fix="check the free space and the permissions, then run the command again.",
        )
    return InputError(
        f"The study could not be converted ({type(error).__name__}).",
        where=where,
        fix="export it again with all images of every series; if it fails again, report the word "
        "in brackets with the scanner's model and software version, without any image.",
    )


def _visitors(
    inputs: Sequence[Path], staging: Path, progress: Callable[[str], None]
) -> tuple[list[_Visitor], list[Failure]]:
    """Unpack and index every input, and gather what belongs to one patient."""
    gathered: dict[str, dict[str, Series]] = {}
    positions: dict[str, set[int]] = {}
    failures: list[Failure] = []
    for position, source in enumerate(inputs, start=1):
        progress(f"input {position} of {len(inputs)}: unpacking and reading headers")
        try:
            found = _series_of(source, staging / f"input-{position:03d}", position)
        except CereflowError as error:
            failures.append(Failure(f"input {position}", error))
            continue
        for series in found:
            key = series.patient.key
            gathered.setdefault(key, {}).setdefault(series.uid, series)
            positions.setdefault(key, set()).add(position)
    visitors = [
        _Visitor(
            next(iter(found.values())).patient, tuple(found.values()), _sorted(positions[key])
        )
        for key, found in gathered.items()
    ]
    return visitors, failures


def _sorted(positions: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(positions))


def _series_of(source: Path, folder: Path, position: int) -> list[Series]:
    try:
        found = index(unpack(source, folder, position))
    except CereflowError:
        raise
    except Exception as error:
        # What it says can quote a header.
        raise InputError(
            f"A file cannot be read ({type(error).__name__}): its DICOM header is malformed.",
            where=f"input {position}",
            fix="export the study again.",
        ) from error
    if not found:
        raise InputError(
            "No MR image in DICOM format was found.",
            where=f"input {position}",
            fix="export the DICOM files themselves, not pictures or reports.",
        )
    return found


def _convert_patient(
    visitor: _Visitor, folder: Path, bids_dir: Path, key: KeyFile, options: ConversionOptions
) -> tuple[list[RunSummary], list[str]]:
    """Convert, complete and move in one patient; nothing changes if any of that fails."""
    chosen, notes = _choose(visitor)
    known = visitor.patient.key in key.entries
    entry = key.entry(visitor.patient.key, dataset.labels_in(bids_dir))
    try:
        planned = sessions.plan(entry, chosen, options.session_label)
        runs: list[RunSummary] = []
        for place, members in planned:
            options.progress(f"{place.folder}: converting {len(members)} series")
            work = folder / place.prefix
            work.mkdir(parents=True)
            files = heuristic.convert(members, work, place.label, place.session)
            done, said = study.publish(members, files, folder / "bids", place, options.given)
            runs += done
            notes += [f"{place.folder}: {note}" for note in said]
    except BaseException:
        if not known:
            del key.entries[visitor.patient.key]
        raise
    sessions.record(entry, planned)
    # A label that is on disk must never be given to somebody else, whatever happens next.
    key.write()
    units = [Path(place.folder) for place, _ in planned]
    move_in(folder, bids_dir, [*units, *(dataset.CONSOLE / unit for unit in units)])
    _finish(bids_dir, {str(entry["label"]): visitor.patient}, planned, runs)
    return runs, notes


def _choose(visitor: _Visitor) -> tuple[list[Series], list[str]]:
    """Return the series that have a role, and a note for each related one that is left out."""
    chosen, notes = [], []
    for series in visitor.series:
        kind, why = heuristic.role(series)
        if kind is not None:
            chosen.append(series)
        elif why != heuristic.rules().UNRELATED:
            notes.append(f"{visitor.where}: series {series.number} was left out: {why}.")
    if not any(heuristic.role(series)[0] == heuristic.rules().ASL for series in chosen):
        raise InputError(
            f"None of {len(visitor.series)} series is an ASL scan of GE, Philips or Siemens.",
            where=visitor.where,
            fix="export the ASL source images (control and label; GE: perfusion and density).",
        )
    return chosen, notes


def _finish(
    bids_dir: Path,
    participants: dict[str, Patient],
    planned: list[tuple[Place, list[Series]]],
    runs: list[RunSummary],
) -> None:
    dataset.write_top_level(bids_dir, participants)
    dataset.write_console_description(bids_dir)
    pending = [entry for run in runs if (entry := run.pending) is not None]
    dataset.update_pending(bids_dir, [place.folder for place, _ in planned], pending)
