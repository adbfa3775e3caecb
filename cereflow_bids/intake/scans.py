"""Converted series of one study, read: which volume is what, and which M0 is none."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.errors import InputError
from cereflow_bids.intake import heuristic, images, volumes
from cereflow_bids.intake.protocol import Labeling
from cereflow_bids.intake.series import Series
from cereflow_bids.intake.vendors import READERS, ge
from cereflow_bids.intake.vendors.siemens import same_preparation


@dataclass(frozen=True, eq=False)
class Scan:
    """One series with its role, its NIfTI files and dcm2niix's sidecars."""

    series: Series
    kind: str
    files: tuple[Path, ...]
    converted: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, eq=False)
class PerfusionScan:
    """One ASL series, read but not yet written."""

    scan: Scan
    labeling: Labeling
    order: volumes.Order
    signal: NDArray[np.float64]


def read_scan(series: Series, files: list[Path]) -> Scan:
    """Join a series with the files that became of it."""
    kind, _ = heuristic.role(series)
    converted = tuple(
        json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text("utf-8"))
        for path in files
    )
    if kind is None:
        raise ValueError("a series without a role was converted")
    return Scan(series, kind, tuple(files), converted)


def read_perfusion(scan: Scan) -> PerfusionScan:
    """Read what the headers say of an ASL series, and what each of its volumes is.

    Raises
    ------
    InputError
        If the series is incomplete.
    """
    vendor = heuristic.vendor(scan.series) or ""
    labeling = READERS[vendor](scan.series, scan.converted[0])
    if vendor == "ge":
        return _read_ge(scan, labeling)
    if len(scan.files) != 1:
        raise InputError(
            f"An ASL series became {len(scan.files)} images instead of one.",
            where=f"series {scan.series.number}",
            fix="check that all of its images were exported.",
        )
    signal = volumes.mean_signal(images.volumes(scan.files[0]))
    order = volumes.order(signal, labeling.volume_types)
    if order.pairs == 0:
        count = f"{len(signal)} volume{'' if len(signal) == 1 else 's'}"
        raise InputError(
            f"An ASL series of {count} holds no pair of control and label: there is nothing to "
            "subtract.",
            where=f"series {scan.series.number}",
            fix="export the source images (control and label), not only the computed map.",
        )
    return PerfusionScan(scan, labeling, order, signal)


def _read_ge(scan: Scan, labeling: Labeling) -> PerfusionScan:
    """Tell PW from PD by the image type; dcm2niix makes one image of each."""
    kinds = ["deltam" if ge.is_perfusion(one["ImageType"]) else "m0scan" for one in scan.converted]
    if sorted(kinds) != ["deltam", "m0scan"]:
        raise InputError(
            "The series does not hold one perfusion-weighted and one proton-density image.",
            where=f"series {scan.series.number}",
            fix="export the whole 3D ASL series, with both of its passes.",
        )
    # HeuDiConv numbers the two by its own rules; instance numbers give the acquired order.
    first = "deltam" if ge.is_perfusion(scan.series.images[0].image_type) else "m0scan"
    if kinds[0] != first:
        kinds = kinds[::-1]
        scan = replace(scan, files=scan.files[::-1], converted=scan.converted[::-1])
    signal = np.array([images.volumes(path).mean() for path in scan.files])
    return PerfusionScan(
        scan, labeling, volumes.Order(tuple(kinds), "header (image type)"), signal
    )


def without_false_m0(
    scans: list[Scan], perfusion: Mapping[str, PerfusionScan]
) -> tuple[list[Scan], list[str]]:
    """Leave out "M0" series that were prepared and suppressed like the ASL itself."""
    kept, notes = [], []
    for scan in scans:
        if scan.kind == heuristic.rules().M0SCAN and any(
            _same_as(scan, asl) for asl in perfusion.values()
        ):
            notes.append(
                f"Series {scan.series.number} is called M0 but has the inversion time, the "
                "suppression and the brightness of the ASL series: it is no calibration scan and "
                "was left out (M0Type Absent)."
            )
        else:
            kept.append(scan)
    return kept, notes


def _same_as(scan: Scan, asl: PerfusionScan) -> bool:
    if heuristic.vendor(scan.series) != "siemens":
        return False
    brightness = volumes.mean_signal(images.volumes(scan.files[0])).mean()
    reference = np.median(asl.signal)
    alike = brightness < volumes.UNSUPPRESSED_RATIO * reference
    return bool(alike) and same_preparation(scan.series, asl.scan.series)
