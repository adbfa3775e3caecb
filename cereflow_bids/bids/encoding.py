"""Time-encoded labelling that the scanner has not decoded: which volume holds which block.

BIDS has no keys for it. Those of ExploreASL are read, `TimeEncodedMatrix` and its size
(https://github.com/ExploreASL/ExploreASL, xASL_quant_HadamardDecoding.m).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from cereflow_bids.bids.run import Encoding
from cereflow_bids.bids.sidecar import Sidecar, is_number
from cereflow_bids.errors import InputError, PendingError
from cereflow_bids.perfusion.hadamard import block_delays, check_signs

KEYS = ("TimeEncodedMatrix", "TimeEncodedMatrixSize", "TimeEncodedMatrixType")
LAYOUT = (
    "give TimeEncodedMatrix with one row per block, in the order of labelling, behind a first row "
    "of ones, and one column per volume of a cycle: 1 where the block was control, -1 where label"
)
_TOLERANCE = 1e-3


def read_encoding(
    sidecar: Sidecar,
    context: Sequence[str],
    delays: Sequence[float],
    durations: Sequence[float],
) -> Encoding | None:
    """Return how the volumes are encoded; None where they are not, or are decoded already.

    Parameters
    ----------
    sidecar
        Metadata of the ``_asl`` file.
    context
        Type of each volume.
    delays, durations
        What the sidecar says of each volume, s; no durations for PASL.

    Raises
    ------
    PendingError
        If matrix or times of the blocks are not known.
    InputError
        If they contradict each other or the volumes.
    """
    encoded = [k for k, kind in enumerate(context) if kind in ("control", "label")]
    if not encoded or not any(sidecar.values.get(key) for key in KEYS):
        return None
    _check_sequence(sidecar, context, durations)
    signs = _signs(sidecar)
    cycle = len(signs[0])
    _check_volumes(signs, [context[k] for k in encoded], sidecar.where)
    own = [[values[k] for k in encoded] for values in (delays, durations)]
    if any(values != values[:cycle] * (len(encoded) // cycle) for values in own):
        raise InputError(
            "PostLabelingDelay or LabelingDuration differs between the cycles of time encoding.",
            where=sidecar.where,
            fix="repeat the same values in every cycle.",
        )
    times, derived = _times(sidecar, own[0][:cycle], own[1][:cycle])
    order = sorted(range(len(signs)), key=lambda block: times[block])
    return Encoding(
        signs=tuple(tuple(signs[block][k] for block in order) for k in range(cycle)),
        delays=tuple(times[block][0] for block in order),
        durations=tuple(times[block][1] for block in order),
        volumes=tuple(encoded),
        final_delay=own[0][0] if derived else None,
    )


def _check_sequence(sidecar: Sidecar, context: Sequence[str], durations: Sequence[float]) -> None:
    if not durations or sidecar.flag("LookLocker"):
        raise InputError(
            "TimeEncodedMatrix is given for "
            f"{'a Look-Locker readout' if durations else 'PASL'}, which is not modelled.",
            where=sidecar.where,
            fix="remove it if the volumes are not encoded; else give decoded deltam volumes.",
        )
    if "deltam" in context:
        raise InputError(
            "TimeEncodedMatrix is given, and aslcontext.tsv lists decoded and encoded volumes.",
            where=sidecar.where,
            fix="keep either the deltam or the control and label volumes, the others as n/a.",
        )


def _signs(sidecar: Sidecar) -> list[list[int]]:
    """Return the sign of each block (b) in each volume of a cycle (n)."""
    matrix = sidecar.values.get("TimeEncodedMatrix")
    if matrix is None:
        raise PendingError(
            "the volumes are time-encoded, but TimeEncodedMatrix is not known; scanners order "
            "matrices of the same TimeEncodedMatrixType differently.",
            where=sidecar.where,
            fix=f"{LAYOUT}.",
            missing=("TimeEncodedMatrix",),
        )
    rows = _rows(matrix)
    if rows and set(rows[0]) == {1}:
        rows = rows[1:]
    size = sidecar.number("TimeEncodedMatrixSize")
    if not rows or len(rows) != len(rows[0]) - 1 or size not in (None, len(rows[0])):
        shape = f"{len(rows)} blocks and {len(rows[0])} volumes" if rows else "not understood"
        told = "" if size is None else f", TimeEncodedMatrixSize is {size:g}"
        raise InputError(
            f"TimeEncodedMatrix is {shape}{told}.", where=sidecar.where, fix=f"{LAYOUT}."
        )
    try:
        check_signs(list(zip(*rows, strict=True)))
    except ValueError as error:
        raise InputError(
            f"TimeEncodedMatrix cannot be decoded: {error}.",
            where=sidecar.where,
            fix=f"{LAYOUT}.",
        ) from error
    return rows


def _rows(matrix: Any) -> list[list[int]]:
    """Return a matrix of whole numbers, empty if it is none."""
    good = (
        isinstance(matrix, list)
        and all(isinstance(row, list) and len(row) == len(matrix[0]) for row in matrix)
        and all(is_number(value) and value == int(value) for row in matrix for value in row)
    )
    return [[int(value) for value in row] for row in matrix] if good else []


def _check_volumes(signs: list[list[int]], kinds: Sequence[str], where: str) -> None:
    """Compare matrix and aslcontext.tsv: a control is a volume in which no block was label."""
    cycle = len(signs[0])
    if len(kinds) % cycle:
        raise InputError(
            f"aslcontext.tsv lists {len(kinds)} control and label volumes, which are no whole "
            f"number of cycles of {cycle}.",
            where=where,
            fix="list every volume of each cycle as control or label, or all of them as n/a.",
        )
    pure = ["control" if all(row[k] == 1 for row in signs) else "label" for k in range(cycle)]
    wrong = [k for k, kind in enumerate(kinds) if kind != pure[k % cycle]]
    if wrong:
        raise InputError(
            f"TimeEncodedMatrix makes volume {wrong[0] % cycle + 1} of a cycle a "
            f"{pure[wrong[0] % cycle]}, aslcontext.tsv lists a {kinds[wrong[0]]} there.",
            where=where,
            fix="list volumes in which no block was label as control, all others as label, or "
            "correct the matrix.",
        )


def _times(
    sidecar: Sidecar, delays: Sequence[float], durations: Sequence[float]
) -> tuple[list[tuple[float, float]], bool]:
    """Return delay and duration of each block, and whether the delays follow from the last one.

    The entry of the first volume of a cycle belongs to no block, as in ExploreASL.
    """
    blocks = list(durations[1:])
    same = len(set(delays)) == 1
    if len(blocks) > 1 and same and not isinstance(sidecar.values["LabelingDuration"], list):
        raise PendingError(
            "the volumes are time-encoded, and one LabelingDuration does not tell whether it is "
            "that of a block or of all blocks.",
            where=sidecar.where,
            fix="give LabelingDuration as one number per volume: in each cycle any first number, "
            "then the duration of each block.",
            missing=("LabelingDuration",),
        )
    if min(blocks) <= 0:
        raise InputError(
            f"LabelingDuration of a block is {min(blocks):g} s.",
            where=sidecar.where,
            fix="give the duration of each block, in seconds.",
        )
    if same:
        found = [round(delay, 6) for delay in block_delays(blocks, delays[0])]
        return list(zip(found, blocks, strict=True)), len(blocks) > 1
    times = list(zip(delays[1:], blocks, strict=True))
    for early, late in pairwise(sorted(times, reverse=True)):
        if early[0] < sum(late) - _TOLERANCE:
            raise InputError(
                f"the blocks of time encoding overlap: one with a delay of {early[0]:g} s ends "
                f"after the next one has begun, {sum(late):g} s before the readout.",
                where=sidecar.where,
                fix="give as PostLabelingDelay one number, the time from the last block to the "
                "readout, or for each block the time from its own end to the readout.",
            )
    return times, False
