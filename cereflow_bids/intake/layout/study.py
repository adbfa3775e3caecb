"""One converted study, completed and laid out as BIDS in a folder of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cereflow_bids.atomic import write_text_atomically
from cereflow_bids.intake import heuristic
from cereflow_bids.intake.layout.dataset import CONSOLE, to_json
from cereflow_bids.intake.nifti import gain, images, merging, sidecars
from cereflow_bids.intake.nifti.assembly import Assembly, Scan, assemble
from cereflow_bids.intake.nifti.calibration import nearest_users, without_false_m0
from cereflow_bids.intake.parameters import acquisitions
from cereflow_bids.intake.parameters.answers import Answers
from cereflow_bids.intake.parameters.protocol import Completed

_UNITS = {("philips", "cbf"): "mL/100 g/min", ("ge", "cbf"): "mL/100 g/min", ("ge", "att"): "ms"}
_MAPS = {
    "cbf": "CBF as the scanner's console computed it",
    "att": "Arterial transit time as the scanner's console computed it",
}


@dataclass(frozen=True)
class Place:
    """Where a study goes: participant and, where there are several studies, session."""

    label: str
    session: str | None = None

    @property
    def folder(self) -> str:
        """``sub-01`` or ``sub-01/ses-02``."""
        return f"sub-{self.label}/ses-{self.session}" if self.session else f"sub-{self.label}"

    @property
    def prefix(self) -> str:
        """``sub-01`` or ``sub-01_ses-02``."""
        return self.folder.replace("/", "_")


@dataclass(frozen=True)
class RunSummary:
    """One image of the dataset and what is to be said about it.

    Attributes
    ----------
    run
        Path inside the dataset.
    types
        Volume types of an ``_asl``, else empty.
    missing, flags, lines
        BIDS keys that nothing supplied, the options that would, and the lines of a protocol file.
    conflicts
        Disagreements between header and user.
    series
        Numbers of the series that it was made of.
    """

    run: str
    types: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    series: tuple[int, ...] = ()

    @property
    def pending(self) -> dict[str, Any] | None:
        """The entry for the list of pending runs, or None if the run is complete."""
        if not self.missing:
            return None
        return {
            "run": self.run,
            "series": list(self.series),
            "missing": list(self.missing),
            "flags": list(self.flags),
            "protocol": list(self.lines),
        }


@dataclass(frozen=True)
class _Run:
    """One image to be written: a single scan, or an acquisition of several."""

    kind: str
    scans: tuple[Scan, ...]


@dataclass(frozen=True)
class _Layout:
    """A whole study: path → run, and what every writer of a run needs."""

    target: Path
    answers: Answers
    runs: Mapping[str, _Run]
    assemblies: Mapping[str, Assembly] = field(default_factory=dict)


def publish(
    scans: Sequence[Scan],
    target: Path,
    place: Place,
    answers: Answers,
) -> tuple[list[RunSummary], list[str]]:
    """Write one study to `target`, complete but for what nobody knows.

    Parameters
    ----------
    scans
        Its converted series, in the order of their numbers.
    target
        Root of a dataset in the making.
    place
        Participant and session.
    answers
        What the user said about the labelling.

    Returns
    -------
    runs
        One summary per image.
    notes
        What was left out, and why.
    """
    layout, notes = _lay_out(scans, target, place, answers)
    return [_write(path, layout) for path in layout.runs], notes


def _lay_out(
    scans: Sequence[Scan], target: Path, place: Place, answers: Answers
) -> tuple[_Layout, list[str]]:
    kinds = heuristic.rules()
    by_uid = {scan.known.uid: scan for scan in scans}
    asl = [scan.known for scan in scans if scan.known.kind == kinds.ASL]
    groups = acquisitions.group(asl, answers)
    remarks = [f"{remark}." for remark in acquisitions.remarks(asl, answers)]
    assembled = [assemble([by_uid[known.uid] for known in members]) for members in groups]
    rest, notes = without_false_m0(
        [scan for scan in scans if scan.known.kind != kinds.ASL], assembled
    )
    runs = [_Run(kinds.ASL, found.scans) for found in assembled]
    runs += [_Run(scan.known.kind, (scan,)) for scan in rest]
    paths = [
        stem.format(
            bids_subject_session_dir=place.folder, bids_subject_session_prefix=place.prefix
        )
        for stem in kinds.stems([run.kind for run in runs])
    ]
    layout = _Layout(
        target,
        answers,
        dict(zip(paths, runs, strict=True)),
        dict(zip(paths, assembled, strict=False)),
    )
    return layout, [*remarks, *notes]


def _write(path: str, layout: _Layout) -> RunSummary:
    """Write the run that goes to `path`."""
    (layout.target / path).parent.mkdir(parents=True, exist_ok=True)
    run = layout.runs[path]
    if path in layout.assemblies:
        summary = _write_perfusion(path, layout)
    elif run.kind == heuristic.rules().M0SCAN:
        summary = _write_m0(path, layout)
    else:
        summary = _write_plain(path, run.scans[0], layout.target)
    return replace(summary, series=tuple(scan.known.number for scan in run.scans))


def _write_perfusion(path: str, layout: _Layout) -> RunSummary:
    found = layout.assemblies[path]
    base = sidecars.common(
        [sidecars.allowed(one, "asl") for scan in found.scans for one in scan.sidecars]
    )
    has_m0 = any(run.kind == heuristic.rules().M0SCAN for run in layout.runs.values())
    done = merging.completed(found, base, layout.answers, has_m0)
    gains = gain.corrections(found)
    _write_volumes(found, _factors(found, done, gains), layout.target / f"{path}.nii.gz")
    extra: dict[str, Any] = {sidecars.SERIES: _traces(found, done, gains)}
    if "deltam" in found.order.types:
        extra[sidecars.SCALING] = _scaling(found, done)
    known = {key: one for key, one in done.parameters.items() if key not in merging.OURS}
    sidecar = sidecars.perfusion(base, known, extra=extra)
    write_text_atomically(layout.target / f"{path}.json", to_json(sidecar))
    context = layout.target / f"{path.removesuffix('_asl')}_aslcontext.tsv"
    write_text_atomically(context, sidecars.context_table(found.order.types))
    notes = [note for scan in found.scans for note in scan.known.labeling.notes]
    notes += gain.remarks(found, gains)
    return RunSummary(
        run=f"{path}.nii.gz",
        types=found.order.types,
        missing=done.missing,
        flags=done.flags,
        lines=done.lines,
        conflicts=done.conflicts,
        notes=tuple(dict.fromkeys((*notes, *found.order.notes))),
    )


def _factors(found: Assembly, done: Completed, gains: Sequence[float]) -> list[float]:
    """Return what each volume is multiplied by: GE's PW to the units of its PD, and its gain."""
    numbers = merging.excitations(found, done.parameters)
    return [
        gains[source.scan]
        / (found.scans[source.scan].known.labeling.divisor * numbers[source.scan])
        if kind == "deltam"
        else gains[source.scan]
        for source, kind in zip(found.sources, found.order.types, strict=True)
    ]


def _write_volumes(found: Assembly, factors: Sequence[float], target: Path) -> None:
    """Copy a single image bit by bit where nothing is to be done to it, else join volumes."""
    places = [(found.scans[one.scan].files[one.file], one.index) for one in found.sources]
    whole = len({path for path, _ in places}) == 1 and set(factors) == {1.0}
    if whole and [index for _, index in places] == list(range(len(places))):
        images.publish(places[0][0], target)
    else:
        numbers = ", ".join(str(scan.known.number) for scan in found.scans)
        images.join(places, factors, target, f"series {numbers}")


def _traces(found: Assembly, done: Completed, gains: Sequence[float]) -> list[dict[str, Any]]:
    """Say of every series which volumes it became, and how they were scaled."""
    numbers = merging.excitations(found, done.parameters)
    traces = []
    for number, scan in enumerate(found.scans):
        own = [k for k, source in enumerate(found.sources) if source.scan == number]
        trace: dict[str, Any] = {"SeriesNumber": scan.known.number, "Volumes": own}
        if any(found.order.types[k] == "deltam" for k in own):
            trace["ScalingFactor"] = scan.known.labeling.divisor
            trace["NumberOfExcitations"] = numbers[number]
            trace["GainCorrection"] = round(gains[number], 6)
        slopes = scan.sidecars[0].items()
        trace |= {key: value for key, value in slopes if key.startswith("Philips")}
        traces.append(trace)
    return traces


def _scaling(found: Assembly, done: Completed) -> dict[str, Any]:
    """Say how perfusion-weighted images got the units of M0; lists where series differ."""

    def alike(values: list[Any]) -> Any:
        return values[0] if len(set(values)) == 1 else values

    total = done.parameters.get("TotalAcquiredPairs")
    return {
        "TotalAcquiredPairs": None if total is None else total.value,
        "Description": "deltam = PW / (ScalingFactor x NumberOfExcitations); applied",
        "ScalingFactor": alike([scan.known.labeling.divisor for scan in found.scans]),
        "NumberOfExcitations": alike(merging.excitations(found, done.parameters)),
    }


def _write_m0(path: str, layout: _Layout) -> RunSummary:
    (scan,) = layout.runs[path].scans
    images.publish(scan.files[0], layout.target / f"{path}.nii.gz")
    others = {
        other: run.scans[0]
        for other, run in layout.runs.items()
        if run.kind == heuristic.rules().M0SCAN
    }
    users = nearest_users(path, others, layout.assemblies)
    uris = [f"bids::{user}.nii.gz" for user in users]
    base = sidecars.allowed(scan.sidecars[0], "m0scan")
    done = merging.calibrated(scan.known, base, layout.answers)
    sidecar = sidecars.calibration(base, done.parameters, uris)
    write_text_atomically(layout.target / f"{path}.json", to_json(sidecar))
    summary = RunSummary(
        f"{path}.nii.gz",
        missing=done.missing,
        flags=done.flags,
        lines=done.lines,
        conflicts=done.conflicts,
    )
    return _with_split(summary, scan)


def _write_plain(path: str, scan: Scan, target: Path) -> RunSummary:
    suffix = path.rsplit("_", 1)[-1]
    images.publish(scan.files[0], target / f"{path}.nii.gz")
    sidecar = sidecars.allowed(scan.sidecars[0], suffix)
    if how := scan.sidecars[0].get(sidecars.DEFACED):
        sidecar[sidecars.DEFACED] = how
    if path.startswith(CONSOLE.as_posix()):
        sidecar["Description"] = _MAPS[suffix]
        if units := _UNITS.get((scan.known.vendor, suffix)):
            sidecar["Units"] = units
    write_text_atomically(target / f"{path}.json", to_json(sidecar))
    return _with_split(RunSummary(f"{path}.nii.gz"), scan)


def _with_split(summary: RunSummary, scan: Scan) -> RunSummary:
    if len(scan.files) == 1:
        return summary
    note = f"The series became {len(scan.files)} images; the first was taken."
    return replace(summary, notes=(note,))
