"""Look-Locker readouts: one labelling, many excitations, and an M0 that fits them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from cereflow_bids.bids.parameters import Parameter
from cereflow_bids.bids.run import LABELED, Calibration
from cereflow_bids.bids.sidecar import Sidecar
from cereflow_bids.errors import InputError, PendingError

LARGEST_FLIP_ANGLE = 90.0
"""Degrees: a train of larger ones would turn what is left of the label round."""


def read_flip_angle(
    sidecar: Sidecar, kinds: Sequence[str], delays: Sequence[float], durations: Sequence[float]
) -> Parameter | None:
    """Return the flip angle of a Look-Locker readout, None for one excitation per labelling.

    Parameters
    ----------
    sidecar
        Metadata of the ``_asl`` file.
    kinds
        Type of each volume of the series.
    delays, durations
        One per volume, s; no durations for PASL.

    Raises
    ------
    PendingError
        If the flip angle or the delay of each excitation is not known.
    InputError
        If the volumes are not whole trains of excitations, all with the same flip angle.
    """
    if not sidecar.flag("LookLocker"):
        return None
    used = [k for k, kind in enumerate(kinds) if kind in LABELED]
    flip = sidecar.one_for("FlipAngle", used, len(kinds))
    if flip is None:
        raise PendingError(
            "LookLocker is true, but FlipAngle is not known: each excitation takes 1 − cos(flip "
            "angle) of the label.",
            where=sidecar.where,
            fix="add FlipAngle, in degrees, to the sidecar.",
            missing=("FlipAngle",),
        )
    if not 0 < flip <= LARGEST_FLIP_ANGLE:
        raise InputError(
            f"FlipAngle is {flip:g} degrees in a Look-Locker readout.",
            where=sidecar.where,
            fix="give the flip angle of one excitation, above 0 and up to 90 degrees.",
        )
    if len({delays[k] for k in used}) < 2:
        raise PendingError(
            "LookLocker is true, but PostLabelingDelay holds a single delay.",
            where=sidecar.where,
            fix="give PostLabelingDelay as one number per volume, the delay of each excitation.",
            missing=("PostLabelingDelay",),
        )
    for duration in {durations[k] for k in used} if durations else {None}:
        train = [k for k in used if duration is None or durations[k] == duration]
        whole = sorted({delays[k] for k in train})
        for kind in {kinds[k] for k in train}:
            _check_trains([delays[k] for k in train if kinds[k] == kind], whole, sidecar.where)
    note = "Look-Locker: the delays are taken as all excitations of one train, from the first on"
    return Parameter("FlipAngle", flip, "degrees", sidecar.origin("FlipAngle"), note)


def _check_trains(delays: Sequence[float], whole: Sequence[float], where: str) -> None:
    """Refuse delays of one kind of volume, in their order, that are not trains of the same times.

    A series sorted by delay does not tell its trains apart: then every delay must come as often.
    """
    if list(delays) == sorted(delays):
        complete = len({delays.count(delay) for delay in whole}) == 1
    else:
        ends = [k + 1 for k, (a, b) in enumerate(pairwise(delays)) if b <= a]
        runs = [delays[a:b] for a, b in pairwise([0, *ends, len(delays)])]
        complete = all(list(run) == whole for run in runs)
    if not complete:
        raise InputError(
            "LookLocker is true, but the volumes are not whole trains of excitations with the "
            "same delays: what the missing ones took of the label cannot be known.",
            where=where,
            fix="correct PostLabelingDelay, or mark all volumes of an incomplete train, or of "
            "trains with shifted delays, as n/a in aslcontext.tsv.",
        )


def calibrated_for_readout(
    calibration: Calibration,
    sidecar: Sidecar,
    context: Sequence[str],
    m0: Sidecar | None,
    flip_angle: Parameter | None,
) -> Calibration:
    """Return the calibration with what a Look-Locker readout asks of M0, or its refusal.

    Parameters
    ----------
    calibration
        Where M0 comes from, the readout left aside.
    sidecar
        Metadata of the ``_asl`` file.
    context
        Volume types.
    m0
        Metadata of the separate ``_m0scan``.
    flip_angle
        Of the readout; None unless it is Look-Locker.

    Raises
    ------
    PendingError
        If the flip angle of M0 is not known.
    """
    if flip_angle is None or calibration.source in ("refused", "estimate"):
        return calibration
    if calibration.source == "control":
        return Calibration(
            "refused",
            refusal="M0Type is Absent, and the control images of a Look-Locker readout are "
            f"saturated by the excitations before them. {_SUPPLY}",
        )
    if calibration.source == "included" or m0 is None:
        index = [k for k, kind in enumerate(context) if kind == "m0scan"]
        if len(index) > 1:
            return Calibration(
                "refused",
                refusal=f"The {len(index)} m0scan volumes of a Look-Locker series are the "
                "excitations of a train, as far as its metadata tell, and each is saturated by "
                f"those before it. {_SUPPLY}",
            )
        own = sidecar.one_for("FlipAngle", index, len(context))
    else:
        own = _of_image(m0)
    if own is None or not 0 < own < 180:
        raise PendingError(
            f"FlipAngle of the M0 image is {own}: the signal of a Look-Locker readout, read at "
            f"{flip_angle.value:g} degrees, cannot be compared with it.",
            where=sidecar.where if m0 is None else m0.where,
            fix="add FlipAngle, in degrees, to the sidecar of the M0 image.",
            missing=("FlipAngle",),
        )
    return replace(calibration, flip_angles=(own, float(flip_angle.value)))


_SUPPLY = (
    "Supply an _m0scan of its own with FlipAngle and RepetitionTimePreparation, or an M0Estimate."
)


def _of_image(m0: Sidecar) -> float | None:
    value = m0.values.get("FlipAngle")
    volumes = len(value) if isinstance(value, list) else 1
    return m0.one_for("FlipAngle", range(volumes), volumes)
