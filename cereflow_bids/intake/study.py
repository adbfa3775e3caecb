"""One converted study, completed and laid out as BIDS in a folder of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cereflow_bids.atomic import write_text_atomically
from cereflow_bids.intake import heuristic, images, sidecars, volumes
from cereflow_bids.intake.dataset import CONSOLE, to_json
from cereflow_bids.intake.protocol import Completed, Given, Parameter, complete
from cereflow_bids.intake.scans import (
    PerfusionScan,
    Scan,
    read_perfusion,
    read_scan,
    without_false_m0,
)
from cereflow_bids.intake.series import Series
from cereflow_bids.intake.vendors import ge


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
    missing, flags
        BIDS keys that nothing supplied, and the options that would.
    conflicts
        Disagreements between header and command line.
    """

    run: str
    types: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def pending(self) -> dict[str, Any] | None:
        """The entry for ``pending.json``, or None if the run is complete."""
        if not self.missing:
            return None
        return {"run": self.run, "missing": list(self.missing), "flags": list(self.flags)}


def publish(
    chosen: Sequence[Series],
    files: Mapping[str, list[Path]],
    target: Path,
    place: Place,
    given: Given,
) -> tuple[list[RunSummary], list[str]]:
    """Write one study to `target`, complete but for what nobody knows.

    Parameters
    ----------
    chosen
        Its series that have a role.
    files
        Series UID → NIfTI files, as HeuDiConv left them.
    target
        Root of a dataset in the making.
    place
        Participant and session.
    given
        What the user said about the labelling.

    Returns
    -------
    runs
        One summary per image.
    notes
        What was left out, and why.
    """
    scans = [read_scan(series, files[series.uid]) for series in chosen]
    perfusion = {
        scan.series.uid: read_perfusion(scan)
        for scan in scans
        if scan.kind == heuristic.rules().ASL
    }
    scans, notes = without_false_m0(scans, perfusion)
    stems = heuristic.rules().stems([scan.kind for scan in scans])
    paths = [
        stem.format(
            bids_subject_session_dir=place.folder, bids_subject_session_prefix=place.prefix
        )
        for stem in stems
    ]
    layout = dict(zip(paths, scans, strict=True))
    return [_write(path, layout, perfusion, target, given) for path in paths], notes


def _write(
    path: str,
    layout: Mapping[str, Scan],
    perfusion: Mapping[str, PerfusionScan],
    target: Path,
    given: Given,
) -> RunSummary:
    """Write the scan that goes to `path`; `layout` is the whole study, path → scan."""
    scan = layout[path]
    (target / path).parent.mkdir(parents=True, exist_ok=True)
    if scan.kind == heuristic.rules().ASL:
        has_m0 = any(other.kind == heuristic.rules().M0SCAN for other in layout.values())
        return _write_perfusion(perfusion[scan.series.uid], target, path, given, has_m0)
    if scan.kind == heuristic.rules().M0SCAN:
        return _write_m0(scan, target, path, _users(scan, layout, perfusion))
    return _write_plain(scan, target, path)


def _users(
    calibration: Scan, layout: Mapping[str, Scan], perfusion: Mapping[str, PerfusionScan]
) -> list[str]:
    """Return the ASL runs to which this M0 is the nearest by series number."""
    others = [scan for scan in layout.values() if scan.kind == calibration.kind]

    def nearest(run: Scan) -> Scan:
        return min(others, key=lambda m0: abs(m0.series.number - run.series.number))

    return [
        path
        for path, scan in layout.items()
        if scan.series.uid in perfusion and nearest(scan) is calibration
    ]


def _write_perfusion(
    asl: PerfusionScan, target: Path, path: str, given: Given, has_m0: bool
) -> RunSummary:
    base = sidecars.allowed(asl.scan.converted[0], "asl", asl.scan.series.patient.identifiers)
    done = complete({**asl.labeling.parameters, **_measured(asl, has_m0)}, given)
    extra: dict[str, Any] = {}
    if "deltam" in asl.order.types:
        number = done.parameters.get("TotalAcquiredPairs")
        extra = _write_ge_image(asl, target / f"{path}.nii.gz", number.value if number else 1)
    else:
        images.publish(asl.scan.files[0], target / f"{path}.nii.gz")
    sidecar = sidecars.perfusion(base, done.parameters, extra=extra)
    write_text_atomically(target / f"{path}.json", to_json(sidecar))
    context = target / f"{path.removesuffix('_asl')}_aslcontext.tsv"
    write_text_atomically(context, sidecars.context_table(asl.order.types))
    return _summary(f"{path}.nii.gz", asl, done)


def _summary(run: str, asl: PerfusionScan, done: Completed) -> RunSummary:
    return RunSummary(
        run=run,
        types=asl.order.types,
        missing=done.missing,
        flags=done.flags,
        conflicts=done.conflicts,
        notes=(*asl.labeling.notes, *asl.order.notes),
    )


def _measured(asl: PerfusionScan, has_m0: bool) -> dict[str, Parameter]:
    """Return what the images and the protocol's timing say, rather than the labelling's tags."""
    found: dict[str, Parameter] = {}
    types, series = asl.order.types, asl.scan.series
    if "m0scan" in types:
        found["M0Type"] = Parameter("Included", asl.order.origin)
    elif has_m0:
        found["M0Type"] = Parameter("Separate", "header (an M0 series of the same study)")
    else:
        found["M0Type"] = Parameter("Absent", "no M0 volume and no M0 series in the study")
    if "deltam" not in types:
        found["TotalAcquiredPairs"] = Parameter(asl.order.pairs, "counted in the series")
    if (dark := volumes.suppressed(asl.signal, types)) is not None:
        found["BackgroundSuppression"] = Parameter(
            dark, "inferred (brightness of M0 against control)"
        )
    if series.repetition_time is not None:
        found["RepetitionTimePreparation"] = _repetition(series.repetition_time, types)
    return found


def _repetition(seconds: float, types: tuple[str, ...]) -> Parameter:
    if "deltam" not in types:
        return Parameter(seconds, "header (0018,0080)")
    per_volume = [ge.SATURATION_RECOVERY if kind == "m0scan" else seconds for kind in types]
    return Parameter(
        per_volume, "header (0018,0080); 2 s of saturation recovery before the GE PD image"
    )


def _write_ge_image(asl: PerfusionScan, target: Path, number: int) -> dict[str, Any]:
    """Join PW and PD, bring PW to the units of PD, and return what the sidecar says of it."""
    scaling = ge.scaling(asl.scan.series)
    factors = [1 / (scaling * number) if kind == "deltam" else 1.0 for kind in asl.order.types]
    images.join(list(asl.scan.files), factors, target, f"series {asl.scan.series.number}")
    return {
        sidecars.SCALING: {
            "Description": "deltam = PW / (ScalingFactor x NumberOfExcitations); applied",
            "ScalingFactor": scaling,
            "NumberOfExcitations": number,
        }
    }


def _write_m0(scan: Scan, target: Path, path: str, users: list[str]) -> RunSummary:
    images.publish(scan.files[0], target / f"{path}.nii.gz")
    base = sidecars.allowed(scan.converted[0], "m0scan", scan.series.patient.identifiers)
    seconds = scan.series.repetition_time
    repetition = Parameter(seconds, "header (0018,0080)") if seconds else None
    uris = [f"bids::{user}.nii.gz" for user in users]
    write_text_atomically(
        target / f"{path}.json", to_json(sidecars.calibration(base, repetition, uris))
    )
    return RunSummary(f"{path}.nii.gz")


def _write_plain(scan: Scan, target: Path, path: str) -> RunSummary:
    suffix = path.rsplit("_", 1)[-1]
    images.publish(scan.files[0], target / f"{path}.nii.gz")
    sidecar = sidecars.allowed(scan.converted[0], suffix, scan.series.patient.identifiers)
    if path.startswith(CONSOLE.as_posix()):
        sidecar["Description"] = "CBF as the scanner's console computed it"
        if heuristic.vendor(scan.series) == "philips":
            sidecar["Units"] = "mL/100 g/min"
    write_text_atomically(target / f"{path}.json", to_json(sidecar))
    summary = RunSummary(f"{path}.nii.gz")
    if len(scan.files) > 1:
        note = f"The series became {len(scan.files)} images; the first was taken."
        summary = replace(summary, notes=(note,))
    return summary
