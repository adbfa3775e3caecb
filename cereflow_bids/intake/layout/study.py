"""One converted study, completed and laid out as BIDS in a folder of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cereflow_bids.atomic import write_text_atomically
from cereflow_bids.intake import heuristic
from cereflow_bids.intake.layout.dataset import CONSOLE, to_json
from cereflow_bids.intake.nifti import gain, images, merging, perfusion, sidecars
from cereflow_bids.intake.nifti.assembly import Assembly, Scan, assemble
from cereflow_bids.intake.nifti.calibration import Links, link, without_false_m0
from cereflow_bids.intake.nifti.rescans import one_per_scan
from cereflow_bids.intake.parameters import acquisitions
from cereflow_bids.intake.parameters.answers import Answers
from cereflow_bids.intake.parameters.protocol import Completed, shown

_UNITS = {("philips", "cbf"): "mL/100 g/min", ("ge", "cbf"): "mL/100 g/min", ("ge", "att"): "ms"}
_TIMES = ("PostLabelingDelay", "LabelingDuration")
_NAMED = "inferred from the series' name"
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
    assemblies: Mapping[str, Assembly]
    links: Links


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
    assembled = [
        found
        for members in groups
        for found in one_per_scan(assemble([by_uid[known.uid] for known in members]))
    ]
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
    placed = dict(zip(paths, runs, strict=True))
    assemblies = dict(zip(paths, assembled, strict=False))
    calibrations = {path: run.scans[0] for path, run in placed.items() if run.kind == kinds.M0SCAN}
    layout = _Layout(target, answers, placed, assemblies, link(calibrations, assemblies))
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
    done = merging.completed(found, base, layout.answers, layout.links.serve(path))
    gains = gain.corrections(found)
    factors = perfusion.factors(found, done, gains)
    perfusion.write(found, factors, layout.target / f"{path}.nii.gz")
    extra: dict[str, Any] = {sidecars.SERIES: perfusion.traces(found, done, gains)}
    if "deltam" in found.order.types:
        extra[sidecars.SCALING] = perfusion.scaling(found, done)
    known = {key: one for key, one in done.parameters.items() if key not in merging.OURS}
    sidecar = sidecars.perfusion(base, known, extra=extra)
    write_text_atomically(layout.target / f"{path}.json", to_json(sidecar))
    context = layout.target / f"{path.removesuffix('_asl')}_aslcontext.tsv"
    write_text_atomically(context, sidecars.context_table(found.order.types))
    notes = [note for scan in found.scans for note in scan.known.labeling.notes]
    notes += [*gain.remarks(found, gains), *merging.disagreements(found, done, layout.answers)]
    notes += [*layout.links.notes.get(path, ()), *_from_names(done)]
    return RunSummary(
        run=f"{path}.nii.gz",
        types=found.order.types,
        missing=done.missing,
        flags=done.flags,
        lines=done.lines,
        conflicts=done.conflicts,
        notes=tuple(dict.fromkeys((*notes, *found.order.notes))),
    )


def _from_names(done: Completed) -> list[str]:
    """Say which times were read from the name of a series: somebody typed it."""
    return [
        f"{key} {shown(parameter.value)} s was {parameter.origin}: check it."
        for key, parameter in done.parameters.items()
        if key in _TIMES and parameter.origin.startswith(_NAMED)
    ]


def _write_m0(path: str, layout: _Layout) -> RunSummary:
    (scan,) = layout.runs[path].scans
    images.publish(scan.files[0], layout.target / f"{path}.nii.gz")
    uris = [f"bids::{user}.nii.gz" for user in layout.links.users[path]]
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
        notes=layout.links.notes.get(path, ()),
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
        # Of several delays each has a map of its own, which nothing else would tell apart.
        sidecar[sidecars.SERIES] = [{"SeriesNumber": scan.known.number}]
        if scan.known.vendor == "ge" and suffix == "cbf" and "InversionTime" in scan.sidecars[0]:
            sidecar["PostLabelingDelay"] = scan.sidecars[0]["InversionTime"]
        if units := _UNITS.get((scan.known.vendor, suffix)):
            sidecar["Units"] = units
    write_text_atomically(target / f"{path}.json", to_json(sidecar))
    return _with_split(RunSummary(f"{path}.nii.gz"), scan)


def _with_split(summary: RunSummary, scan: Scan) -> RunSummary:
    if len(scan.files) == 1:
        return summary
    note = f"The series became {len(scan.files)} images; the first was taken."
    return replace(summary, notes=(note, *summary.notes))
