"""Separate M0 series: which are none, and which ASL runs each of them is for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cereflow_bids.intake import heuristic
from cereflow_bids.intake.nifti import images, volumes
from cereflow_bids.intake.nifti.assembly import Assembly, Scan

# Share by which sizes of voxels may differ: the signal goes with their volume.
_SAME_SIZE = 0.01
_NAMED = re.compile("pcasl|pasl|casl", re.IGNORECASE)


def without_false_m0(
    scans: Sequence[Scan], assembled: Sequence[Assembly]
) -> tuple[list[Scan], list[str]]:
    """Leave out "M0" series that are prepared like the ASL itself, or not comparable with it.

    Parameters
    ----------
    scans
        All scans of a study that are not ASL.
    assembled
        Its acquisitions.

    Returns
    -------
    kept
        The scans that stay.
    notes
        One sentence for each that does not.
    """
    kept, notes = [], []
    for scan in scans:
        problem = _problem(scan, assembled) if scan.known.kind == heuristic.rules().M0SCAN else ""
        if problem:
            notes.append(f"Series {scan.known.number} {problem}.")
        else:
            kept.append(scan)
    return kept, notes


def _problem(scan: Scan, assembled: Sequence[Assembly]) -> str:
    """Say what speaks against a series that is called M0; empty if nothing does."""
    if any(_same_as(scan, asl) for asl in assembled):
        return (
            "is called M0 but has the inversion time, the suppression and the brightness of the "
            "ASL series: it is no calibration scan and was left out (M0Type Absent)"
        )
    others = (other for asl in assembled for other in asl.scans)
    if any(_for_display_only(one) for one in (scan, *others)):
        return (
            "is a separate M0, but Philips' scale slope (2005,100E) was removed from it or from "
            "the ASL series: their values cannot be compared, and it was left out"
        )
    return ""


def _for_display_only(scan: Scan) -> bool:
    """Tell whether a Philips image has lost the scale that makes series comparable."""
    precise = any("PhilipsScaleSlope" in sidecar for sidecar in scan.sidecars)
    return scan.known.vendor == "philips" and not precise


def _same_as(scan: Scan, asl: Assembly) -> bool:
    own = scan.known.labeling.preparation
    if not own or all(own != other.known.labeling.preparation for other in asl.scans):
        return False
    brightness = volumes.mean_signal(images.volumes(scan.files[0])).mean()
    return bool(brightness < volumes.UNSUPPRESSED_RATIO * np.median(asl.signal))


# -- which M0 is for which run -------------------------------------------------------------------


@dataclass(frozen=True)
class Links:
    """Which runs each M0 is for, and what is to be said of it.

    Attributes
    ----------
    users
        Path of an M0 → paths of the runs that it serves.
    notes
        Path of an M0 or of a run → sentences.
    """

    users: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def serve(self, run: str) -> bool:
        """Tell whether a separate M0 is for this run."""
        return any(run in users for users in self.users.values())


def link(calibrations: Mapping[str, Scan], assemblies: Mapping[str, Assembly]) -> Links:
    """Find out which M0 is for which run.

    An M0 serves runs on its grid alone, and where it is of the labelling of some of them, only
    those. Of several that would do, the nearest by series number serves; M0 of opposite phase
    encoding directions do not compete, since a pair of them belongs together.

    Parameters
    ----------
    calibrations
        Path → scan of each M0.
    assemblies
        Path → acquisition of each run.
    """
    runs = tuple(assemblies.values())
    serving = {path: _serving(run, calibrations, runs) for path, run in assemblies.items()}
    users = {m0: tuple(run for run in serving if m0 in serving[run]) for m0 in calibrations}
    notes: dict[str, tuple[str, ...]] = {}
    serving_numbers = [calibrations[m0].known.number for m0 in users if users[m0]]
    for path, run in assemblies.items():
        scans = [calibrations[m0] for m0 in serving[path]]
        if scans:
            notes[path] = tuple(filter(None, (_doubt(scan, run, runs) for scan in scans)))
        elif "m0scan" not in run.order.types:
            notes[path] = tuple(_not_for(scan, run, runs) for scan in calibrations.values())
    for path, scan in calibrations.items():
        if not users[path]:
            notes[path] = (_unused(scan, serving_numbers, runs),)
    return Links(users, notes)


def _serving(
    run: Assembly, calibrations: Mapping[str, Scan], runs: Sequence[Assembly]
) -> tuple[str, ...]:
    """Return the M0 that serve a run: one, or one of each phase encoding direction."""
    fitting = [m0 for m0, scan in calibrations.items() if not _objection(scan, run, runs)]
    own = [m0 for m0 in fitting if _kind(calibrations[m0]) and _alike(calibrations[m0], run)]
    number = run.scans[0].known.number
    nearest: dict[str, str] = {}
    for m0 in sorted(own or fitting, key=lambda one: abs(calibrations[one].known.number - number)):
        nearest.setdefault(_direction(calibrations[m0]), m0)
    return tuple(nearest.values())


def _objection(scan: Scan, run: Assembly, runs: Sequence[Assembly]) -> str:
    """Say why an M0 cannot be for a run; empty if nothing speaks against it."""
    first = run.scans[0]
    if scan.known.vendor != first.known.vendor:
        return "it comes from a scanner of another vendor"
    if not _on_one_grid(scan, first):
        return f"its voxels are {_grid(scan)}, those of the ASL series {_grid(first)}"
    owners = [one for one in runs if _on_one_grid(scan, one.scans[0]) and _alike(scan, one)]
    if _kind(scan) and _labelling(run) and owners and run not in owners:
        numbers = ", ".join(str(one.scans[0].known.number) for one in owners)
        return (
            f"by its name or sequence it belongs to the {_kind(scan)} of series {numbers}, and "
            f"this is {_labelling(run)}"
        )
    return ""


def _kind(scan: Scan) -> str:
    """Return the labelling that a series is of, by its header, or else by its name."""
    stated = scan.known.labeling.parameters.get("ArterialSpinLabelingType")
    named = _NAMED.search(scan.known.description)
    return str(stated.value) if stated is not None else named[0].upper() if named else ""


def _labelling(run: Assembly) -> str:
    return _kind(run.scans[0])


def _alike(scan: Scan, run: Assembly) -> bool:
    return _kind(scan) == _labelling(run)


def _direction(scan: Scan) -> str:
    return str(scan.sidecars[0].get("PhaseEncodingDirection", ""))


def _on_one_grid(scan: Scan, other: Scan) -> bool:
    """Tell whether matrix and voxels of two series are alike, and so their fields of view."""
    (shape, sizes), (other_shape, other_sizes) = (
        images.grid(one.files[0]) for one in (scan, other)
    )
    return shape == other_shape and np.allclose(sizes, other_sizes, rtol=_SAME_SIZE, atol=0)


def _grid(scan: Scan) -> str:
    shape, sizes = images.grid(scan.files[0])
    matrix = " x ".join(str(count) for count in shape)
    return f"{matrix} of {' x '.join(f'{size:.3g}' for size in sizes)} mm"


# -- what is to be said of it --------------------------------------------------------------------


def _not_for(scan: Scan, run: Assembly, runs: Sequence[Assembly]) -> str:
    why = _objection(scan, run, runs)
    return f"The M0 of series {scan.known.number} is not for this run (M0Type Absent): {why}."


def _doubt(scan: Scan, run: Assembly, runs: Sequence[Assembly]) -> str:
    """Say so where nothing tells that an M0 that serves a run was measured for it."""
    number, kind, needed = scan.known.number, _kind(scan), _labelling(run)
    if "m0scan" in run.order.types:
        return ""
    if kind and needed and kind != needed:
        return (
            f"The M0 of series {number} is of a {kind} sequence, this run is {needed}. There is "
            "no other, so it was taken: check that both were read out alike."
        )
    several = {
        _labelling(one)
        for one in runs
        if _on_one_grid(scan, one.scans[0]) and "m0scan" not in one.order.types
    }
    if len(several) > 1 and not (kind and needed):
        return (
            f"Nothing tells for which of the ASL sequences of the study the M0 of series {number} "
            "was measured; it was taken for this run: check that both were read out alike."
        )
    return ""


def _unused(scan: Scan, used: Sequence[int], runs: Sequence[Assembly]) -> str:
    """Say why an M0 is for no run."""
    start = "This M0 is for no run, and its IntendedFor is empty:"
    objections = [_objection(scan, run, runs) for run in runs]
    if all(objections):
        return f"{start} {objections[0]}."
    numbers = ", ".join(str(number) for number in used)
    return f"{start} the M0 of series {numbers} is nearer to the ASL series, or more like it."
