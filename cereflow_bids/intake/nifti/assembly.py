"""The volumes of one acquisition, from however many series and files, and what each of them is."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.errors import InputError
from cereflow_bids.intake.nifti import images, sidecars, volumes
from cereflow_bids.intake.parameters.labeling import Known
from cereflow_bids.intake.vendors import ARRANGERS

PAIRED = ("control", "label", "deltam")


@dataclass(frozen=True, eq=False)
class Scan:
    """One converted series: what is known of it, its NIfTI files, and dcm2niix's sidecars.

    The sidecars hold nothing but fields that may be published or that tell files apart.
    """

    known: Known
    files: tuple[Path, ...]
    sidecars: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Source:
    """Where one volume comes from: which scan of the acquisition, which file, which index."""

    scan: int
    file: int
    index: int


@dataclass(frozen=True, eq=False)
class Assembly:
    """One acquisition, read but not yet written.

    Attributes
    ----------
    sources
        One per volume, in the order that the run shall have.
    order
        What each volume is.
    signal
        Mean signal of each volume.
    delay_index
        Which delay each volume belongs to (−1: none), or None where a single series holds
        several delays and nothing tells which volume has which.
    """

    scans: tuple[Scan, ...]
    sources: tuple[Source, ...]
    order: volumes.Order
    signal: NDArray[np.float64]
    delay_index: tuple[int, ...] | None

    @property
    def units(self) -> int:
        """Number of control-label pairs, or of perfusion-weighted volumes."""
        return self.order.pairs or self.order.types.count("deltam")


def read_scan(known: Known, files: Sequence[Path], identifiers: frozenset[str]) -> Scan:
    """Join a series with the files that became of it."""
    kept = tuple(
        sidecars.kept(
            json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text("utf-8")),
            identifiers,
        )
        for path in files
    )
    return Scan(known, tuple(files), kept)


def assemble(scans: Sequence[Scan]) -> Assembly:
    """Find out what each volume of an acquisition is.

    Raises
    ------
    InputError
        If the series are incomplete, or hold nothing to subtract.
    """
    part = scans[0].known.labeling.part
    signals, arranged = _arranged(scans)
    if part is not None and part.by == "pair":
        return _in_pairs(tuple(scans), arranged, signals)
    if part is not None and part.by == "volume":
        found = [volumes.order(np.concatenate(signals), _tags(scans))]
    else:
        read = [scan.known.labeling for scan in scans]
        found = [
            volumes.order(signal, labeling.volume_types, labeling.volume_delays)
            for signal, labeling in zip(signals, read, strict=True)
        ]
    order = volumes.Order(
        tuple(kind for one in found for kind in one.types),
        found[0].origin,
        tuple(dict.fromkeys(note for one in found for note in one.notes)),
    )
    _refuse_unpaired(order, scans)
    sources = tuple(source for one in arranged for source in one)
    return Assembly(
        tuple(scans),
        sources,
        order,
        np.concatenate(signals),
        _delay_index(scans, sources, order.types),
    )


def _arranged(scans: Sequence[Scan]) -> tuple[list[NDArray[np.float64]], list[list[Source]]]:
    """Return signal and source of each volume, one list per scan, in acquired order."""
    signals, arranged = [], []
    for number, scan in enumerate(scans):
        found = [volumes.mean_signal(images.volumes(path)) for path in scan.files]
        counts = [len(signal) for signal in found]
        arrange = ARRANGERS.get(scan.known.vendor)
        if len(scan.files) > 1 and arrange is None:
            raise _split(scan)
        places = [(0, index) for index in range(counts[0])]
        if arrange is not None and len(scan.files) > 1:
            places = arrange(scan.known.labeling, scan.sidecars, counts)
        if sorted(places) != [(f, i) for f, count in enumerate(counts) for i in range(count)]:
            raise _split(scan)
        arranged.append([Source(number, file, index) for file, index in places])
        signals.append(np.array([found[file][index] for file, index in places]))
    return signals, arranged


def _split(scan: Scan) -> InputError:
    return InputError(
        f"An ASL series became {len(scan.files)} images instead of one.",
        where=f"series {scan.known.number}",
        fix="check that all of its images were exported.",
    )


def _tags(scans: Sequence[Scan]) -> tuple[str, ...] | None:
    tags = [scan.known.labeling.volume_types for scan in scans]
    return None if None in tags else tuple(kind for one in tags for kind in one or ())


def _in_pairs(
    scans: tuple[Scan, ...], arranged: list[list[Source]], signals: list[NDArray[np.float64]]
) -> Assembly:
    """Lay out series that hold either all controls or all labels of one delay."""
    delays = [_delay(scan) for scan in scans]
    # In acquired order, as the delays are listed.
    levels = list(dict.fromkeys(delay for delay in delays if delay is not None))
    sides: dict[tuple[float | None, str], list[tuple[int, int]]] = defaultdict(list)
    for number, scan in enumerate(scans):
        part = scan.known.labeling.part
        side = sides[delays[number], part.role if part else ""]
        side += [(number, repeat) for repeat in range(len(arranged[number]))]
    places: list[tuple[int, int, str]] = []
    for delay in levels:
        first, second = sides[delay, "first"], sides[delay, "second"]
        if len(first) != len(second):
            raise InputError(
                f"The images of delay {delay:g} s are not there as often with as without label.",
                where=f"series {scans[(first or second)[0][0]].known.number}",
                fix="export both series of every delay.",
            )
        for one, other in zip(first, second, strict=True):
            places += [(*one, "first"), (*other, "second")]
    signal = np.array([signals[scan][repeat] for scan, repeat, _ in places])
    role = np.array([side for _, _, side in places])
    first_brighter = signal[role == "first"].sum() > signal[role == "second"].sum()
    brighter = "first" if first_brighter else "second"
    types = tuple("control" if side == brighter else "label" for side in role)
    order = volumes.Order(types, "inferred from the signal", volumes.doubt(signal, types))
    sources = tuple(arranged[scan][repeat] for scan, repeat, _ in places)
    index = tuple(levels.index(delays[scan] or 0.0) for scan, _, _ in places)
    return Assembly(scans, sources, order, signal, index)


def _delay(scan: Scan) -> float | None:
    found = scan.known.labeling.parameters.get("PostLabelingDelay")
    return None if found is None else float(found.value)


def _refuse_unpaired(order: volumes.Order, scans: Sequence[Scan]) -> None:
    if order.pairs:
        return
    if "deltam" in order.types:
        if "m0scan" not in order.types and scans[0].known.vendor == "ge":
            raise InputError(
                "The series does not hold one perfusion-weighted and one proton-density image.",
                where=f"series {scans[0].known.number}",
                fix="export the whole 3D ASL series, with both of its passes.",
            )
        return
    count = f"{len(order.types)} volume{'' if len(order.types) == 1 else 's'}"
    raise InputError(
        f"An ASL series of {count} holds no pair of control and label: there is nothing to "
        "subtract.",
        where=f"series {scans[0].known.number}",
        fix="export the source images (control and label), not only the computed map.",
    )


def _delay_index(
    scans: Sequence[Scan], sources: Sequence[Source], types: Sequence[str]
) -> tuple[int, ...] | None:
    """Tell which delay each volume has, where the series or their headers tell."""
    part = scans[0].known.labeling.part
    if len(scans) > 1 and part is not None and part.by == "delay":
        return tuple(
            source.scan if kind in PAIRED else -1
            for source, kind in zip(sources, types, strict=True)
        )
    stated = [scan.known.labeling.volume_delays for scan in scans]
    if None in stated:
        return None
    values = [value for one in stated for value in one or ()]
    if len(values) != len(types):
        return None
    levels = distinct_delays(scans)
    return tuple(
        levels.index(value) if kind in PAIRED else -1
        for value, kind in zip(values, types, strict=True)
    )


def distinct_delays(scans: Sequence[Scan]) -> list[float]:
    """Return the delays that headers give volume by volume, each once, in acquired order."""
    values = [value for scan in scans for value in scan.known.labeling.volume_delays or ()]
    return list(dict.fromkeys(value for value in values if value > 0))


def repeated(types: Sequence[str], repeats: Sequence[int]) -> tuple[int, ...]:
    """Return the delay of each volume when every delay is repeated before the next one comes.

    Parameters
    ----------
    types
        Volume types.
    repeats
        Number of pairs (or perfusion-weighted volumes) per delay.

    >>> repeated(["m0scan", "label", "control", "label", "control", "label", "control"], [1, 2])
    (-1, 0, 0, 1, 1, 1, 1)
    """
    of_unit = np.repeat(np.arange(len(repeats)), repeats)
    seen = dict.fromkeys(PAIRED, 0)
    result = []
    for kind in types:
        if kind not in seen:
            result.append(-1)
            continue
        result.append(int(of_unit[seen[kind]]))
        seen[kind] += 1
    return tuple(result)
