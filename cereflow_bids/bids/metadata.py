"""From a sidecar to a validated Labeling, every value with its origin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

from cereflow_bids.bids.encoding import read_encoding
from cereflow_bids.bids.parameters import DEFAULT, DERIVED, Parameter
from cereflow_bids.bids.readout import read_flip_angle
from cereflow_bids.bids.run import LABELED, Encoding, Labeling, LabelingType
from cereflow_bids.bids.sidecar import Sidecar
from cereflow_bids.errors import InputError, PendingError
from cereflow_bids.perfusion.constants import (
    LABELING_EFFICIENCY,
    SUPPRESSION_EFFICIENCY,
    blood_t1,
    suppressed_efficiency,
)

LONGEST_DELAY = 10.0
"""Delays and durations beyond this, s, are milliseconds that nobody converted."""

FLAGS = {
    "PostLabelingDelay": "--post-labeling-delay",
    "LabelingDuration": "--labeling-duration",
}


def read_labeling(
    sidecar: Sidecar, context: Sequence[str], shape: Sequence[int]
) -> tuple[Labeling, list[str]]:
    """Build the Labeling of a run and the sentences that the report should add.

    Parameters
    ----------
    sidecar
        Metadata of the ``_asl`` file.
    context
        Type of each volume.
    shape
        Shape of the image.

    Raises
    ------
    PendingError
        If a value that only the user can know is missing.
    InputError
        If a value cannot be right.
    """
    kind = _kind(sidecar)
    keys = ["PostLabelingDelay"] + ["LabelingDuration"] * (kind != "PASL")
    times = {key: sidecar.per_volume(key, len(context)) for key in keys}
    _require(times, sidecar)
    # Signals of several echoes are not one signal.
    sidecar.one_for("EchoTime", _labeled(context), len(context))
    delays = times["PostLabelingDelay"] or ()
    durations = times.get("LabelingDuration") or ()
    encoding = read_encoding(sidecar, context, delays, durations)
    delay, duration = _timing(sidecar, context, delays, durations, encoding)
    efficiency, notes = _efficiency(sidecar, kind)
    if encoding is not None:
        notes.append(encoding.sentence)
    labeling = Labeling(
        kind=kind,
        post_labeling_delay=delay,
        labeling_duration=duration,
        bolus_cutoff=_bolus_cutoff(sidecar) if kind == "PASL" else None,
        efficiency=efficiency,
        t1_blood=_t1_blood(sidecar),
        slice_timing=_slice_timing(sidecar, shape),
        slice_axis=_slice_axis(sidecar)[0],
        volume_delays=delays,
        volume_durations=durations,
        readout_flip_angle=read_flip_angle(sidecar, context, delays, durations),
        encoding=encoding,
    )
    return labeling, notes


def _labeled(context: Sequence[str]) -> list[int]:
    return [k for k, one in enumerate(context) if one in LABELED]


def _kind(sidecar: Sidecar) -> LabelingType:
    kind = sidecar.values.get("ArterialSpinLabelingType")
    if not isinstance(kind, str) or kind not in LABELING_EFFICIENCY:
        raise InputError(
            f"ArterialSpinLabelingType is {kind!r}.",
            where=sidecar.where,
            fix="set it to PCASL, CASL or PASL.",
        )
    return cast("LabelingType", kind)


def _timing(
    sidecar: Sidecar,
    context: Sequence[str],
    delays: Sequence[float],
    durations: Sequence[float],
    encoding: Encoding | None,
) -> tuple[Parameter, Parameter | None]:
    """Return delay and duration of each measurement, of each block where it is encoded."""
    if encoding is None:
        measured = measurements(_labeled(context), delays, durations)
    else:
        measured = list(zip(encoding.delays, encoding.durations, strict=True))
    delay = _times("PostLabelingDelay", [m[0] for m in measured], sidecar)
    if encoding is not None and encoding.final_delay is not None:
        how = f"of each block: {encoding.final_delay:g} s and the blocks after it"
        delay = replace(delay, origin=DERIVED, note=how)
    if not durations:
        return delay, None
    return delay, _times("LabelingDuration", [m[1] for m in measured], sidecar)


def measurements(
    volumes: Sequence[int], delays: Sequence[float], durations: Sequence[float]
) -> list[tuple[float, float]]:
    """Return the different (delay, duration) of some volumes, in the order of their delays.

    Parameters
    ----------
    volumes
        Indices of the label, control or deltam volumes.
    delays, durations
        One per volume of the series; no durations for PASL, where 0 stands in.

    Examples
    --------
    >>> measurements([1, 2, 3], [0, 2.0, 2.0, 1.5], [1.8] * 4)
    [(1.5, 1.8), (2.0, 1.8)]
    """
    return sorted({(delays[k], durations[k] if durations else 0.0) for k in volumes})


def _require(times: Mapping[str, tuple[float, ...] | None], sidecar: Sidecar) -> None:
    missing = [key for key, value in times.items() if value is None]
    if missing:
        flags = " ".join(f"{FLAGS[key]} SECONDS" for key in missing)
        raise PendingError(
            f"{' and '.join(missing)} not known.",
            where=sidecar.where,
            fix="add it to the sidecar, in seconds, or, where cereflow-convert made the dataset, "
            f"call cereflow-convert BIDS_DIR {flags}; nothing is converted again.",
            missing=tuple(missing),
        )


def _times(key: str, values: Sequence[float], sidecar: Sidecar) -> Parameter:
    """One number where a run has one measurement or all agree on the duration, else a tuple."""
    one = len(values) == 1 or (key != "PostLabelingDelay" and len(set(values)) == 1)
    checked = [_time(key, value, sidecar) for value in values]
    if one:
        return checked[0]
    return Parameter(
        key, tuple(values), "s", checked[0].origin, "one per measurement, by rising delay"
    )


def _time(key: str, value: float, sidecar: Sidecar) -> Parameter:
    if not 0 <= value <= LONGEST_DELAY or (key != "PostLabelingDelay" and not value):
        hint = "it looks like milliseconds" if value and value > LONGEST_DELAY else "impossible"
        raise InputError(
            f"{key} is {value:g} s: {hint}.", where=sidecar.where, fix=f"give {key} in seconds."
        )
    return Parameter(key, value, "s", sidecar.origin(key))


def _bolus_cutoff(sidecar: Sidecar) -> Parameter | None:
    if not sidecar.flag("BolusCutOffFlag"):
        return None
    value = sidecar.values.get("BolusCutOffDelayTime")
    first = value[0] if isinstance(value, list) and value else value
    if isinstance(first, bool) or not isinstance(first, int | float):
        raise PendingError(
            "BolusCutOffFlag is true but BolusCutOffDelayTime is not known.",
            where=sidecar.where,
            fix="add BolusCutOffDelayTime (TI1, in seconds) to the sidecar.",
            missing=("BolusCutOffDelayTime",),
        )
    parameter = _time("BolusCutOffDelayTime", float(first), sidecar)
    if isinstance(value, list) and len(value) > 1:
        return Parameter(
            parameter.name, parameter.value, "s", parameter.origin, "TI1, the first of the list"
        )
    return parameter


def _efficiency(sidecar: Sidecar, kind: str) -> tuple[Parameter, list[str]]:
    given = sidecar.number("LabelingEfficiency")
    if given is not None:
        if not 0 < given <= 1:
            raise InputError(
                f"LabelingEfficiency is {given:g}.",
                where=sidecar.where,
                fix="give a fraction between 0 and 1.",
            )
        return Parameter("LabelingEfficiency", given, "", sidecar.origin("LabelingEfficiency")), []
    base = LABELING_EFFICIENCY[kind]
    source = f"{kind}, {'Wang 2005' if kind == 'CASL' else 'Alsop 2015'}"
    if not sidecar.flag("BackgroundSuppression"):
        return Parameter("LabelingEfficiency", base, "", DEFAULT, source), []
    pulses = sidecar.number("BackgroundSuppressionNumberPulses")
    if pulses is None:
        note = (
            "The number of background suppression pulses is unknown, so the labelling efficiency "
            "was not reduced for them: each pulse would raise CBF by about 5 %. Add "
            "BackgroundSuppressionNumberPulses to the sidecar if you know it."
        )
        return Parameter("LabelingEfficiency", base, "", DEFAULT, source), [note]
    if pulses < 0 or pulses != int(pulses):
        raise InputError(
            f"BackgroundSuppressionNumberPulses is {pulses:g}.",
            where=sidecar.where,
            fix="give a whole number, 0 or more.",
        )
    value = suppressed_efficiency(base, int(pulses))
    how = f"{base:g} × {SUPPRESSION_EFFICIENCY:g}^{int(pulses)} for background suppression pulses"
    return Parameter("LabelingEfficiency", value, "", DERIVED, how), []


def _t1_blood(sidecar: Sidecar) -> Parameter:
    field_strength = sidecar.number("MagneticFieldStrength")
    if field_strength is None or field_strength <= 0:
        raise InputError(
            f"MagneticFieldStrength is {field_strength}; T1 of blood depends on it.",
            where=sidecar.where,
            fix="add it, in tesla.",
        )
    return Parameter(
        "T1Blood",
        blood_t1(field_strength),
        "s",
        DEFAULT,
        f"arterial blood at {field_strength:g} T",
    )


def _slice_axis(sidecar: Sidecar) -> tuple[int, bool]:
    direction = sidecar.values.get("SliceEncodingDirection", "k")
    if direction not in ("i", "i-", "j", "j-", "k", "k-"):
        raise InputError(
            f"SliceEncodingDirection is {direction!r}.",
            where=sidecar.where,
            fix="set it to i, j or k, with a minus for reversed order.",
        )
    return "ijk".index(direction[0]), direction.endswith("-")


def _slice_timing(sidecar: Sidecar, shape: Sequence[int]) -> tuple[float, ...] | None:
    kind, timing = sidecar.values.get("MRAcquisitionType"), sidecar.values.get("SliceTiming")
    if kind == "3D":
        return None
    if kind != "2D" or not isinstance(timing, list):
        raise InputError(
            f"MRAcquisitionType is {kind!r}, SliceTiming is {timing!r}; a 2D readout delays each "
            "slice differently.",
            where=sidecar.where,
            fix="set MRAcquisitionType to 3D, or to 2D with SliceTiming in seconds.",
        )
    axis, reverse = _slice_axis(sidecar)
    if len(timing) != shape[axis] or not all(0 <= t < LONGEST_DELAY for t in timing):
        raise InputError(
            f"SliceTiming has {len(timing)} entries for {shape[axis]} slices, or entries that "
            "cannot be seconds.",
            where=sidecar.where,
            fix="give one time per slice, in seconds.",
        )
    ordered = timing[::-1] if reverse else timing
    return tuple(float(t) for t in ordered)
