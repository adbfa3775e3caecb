"""Separate M0 series: which are none, and which ASL runs each of them is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cereflow_bids.intake import heuristic
from cereflow_bids.intake.nifti import images, volumes
from cereflow_bids.intake.nifti.assembly import Assembly, Scan


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


def _direction(scan: Scan) -> str:
    return str(scan.sidecars[0].get("PhaseEncodingDirection", ""))


def nearest_users(
    path: str, calibrations: Mapping[str, Scan], assemblies: Mapping[str, Assembly]
) -> list[str]:
    """Return the ASL runs to which the M0 at `path` is the nearest by series number.

    Only M0 of one phase encoding direction compete: a pair of opposite ones belongs together.
    """
    direction = _direction(calibrations[path])
    rivals = [one for one in calibrations if _direction(calibrations[one]) == direction]

    def nearest(run: Assembly) -> str:
        number = run.scans[0].known.number
        return min(rivals, key=lambda one: abs(calibrations[one].known.number - number))

    return [user for user, run in assemblies.items() if nearest(run) == path]
