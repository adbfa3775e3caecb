"""Headers completed by the user's answers: what wins, what contradicts, what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cereflow_bids.intake.parameters.answers import Answer
from cereflow_bids.intake.parameters.labeling import Labeling, Parameter, Parameters, Part

__all__ = ["Completed", "Labeling", "Parameter", "Parameters", "Part", "complete", "required"]

_SAME_SECONDS = 1e-3

FLAGS: dict[str, str] = {
    "ArterialSpinLabelingType": "--labeling-type {PCASL,CASL,PASL}",
    "PostLabelingDelay": "--post-labeling-delay SECONDS",
    "LabelingDuration": "--labeling-duration SECONDS",
    "BolusCutOffDelayTime": "--bolus-cutoff SECONDS",
    "BackgroundSuppression": "--background-suppression {yes,no}",
    "BackgroundSuppressionNumberPulses": "--background-suppression-pulses NUMBER",
    "NumberOfExcitations": "--excitations NUMBER",
    "RepeatsPerDelay": "--repeats-per-delay NUMBER [NUMBER ...]",
}
_EXAMPLES: dict[str, str] = {
    "ArterialSpinLabelingType": "PCASL",
    "BackgroundSuppression": "true",
    "NumberOfExcitations": "3",
    "RepeatsPerDelay": "[2, 2, 2, 3, 3]",
    "MRAcquisitionType": "3D",
    "SliceTiming": "[0.0, 0.045, 0.09]",
}


@dataclass(frozen=True)
class Completed:
    """Parameters after the user's answers filled the gaps."""

    parameters: Parameters
    conflicts: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def flags(self) -> tuple[str, ...]:
        """The options that supply what is missing; what has none goes into a protocol file."""
        return tuple(FLAGS.get(key, f"--protocol FILE (with {key})") for key in self.missing)

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines that a protocol file would need, with the form of each value."""
        return tuple(f"{key}: {_EXAMPLES.get(key, 'SECONDS')}" for key in self.missing)


def complete(
    merged: Parameters, answers: Sequence[Answer], needed: Sequence[str] = ()
) -> Completed:
    """Fill what no header states from the user's answers.

    Parameters
    ----------
    merged
        What headers and images say.
    answers
        What the user says, the strongest first.
    needed
        Keys needed beside those of `required`.

    Returns
    -------
    Completed
        A value stated by a header is never replaced: where the user says otherwise, that is a
        conflict. An inferred value gives way to the user's.
    """
    kind = _kind(merged, answers)
    concerned = [
        Answer(
            answer.origin,
            {key: value for key, value in answer.values.items() if _applies(key, kind, merged)},
        )
        for answer in answers
    ]
    done = supplied(merged, concerned, ())
    found = dict(done.parameters)
    _assume(found, kind)
    missing = tuple(key for key in (*required(kind, found), *needed) if key not in found)
    return replace(done, parameters=found, missing=tuple(dict.fromkeys(missing)))


def supplied(merged: Parameters, answers: Sequence[Answer], needed: Sequence[str]) -> Completed:
    """Fill what no header states, without any rule about what belongs together; see `complete`."""
    found = dict(merged)
    conflicts: list[str] = []
    for answer in answers:
        for key, value in answer.values.items():
            stated = found.get(key)
            stands = stated is not None and (stated.from_header or _answered(stated, answers))
            if stated is not None and not same(stated.value, value):
                conflicts.append(_conflict(key, stated, Parameter(value, answer.origin), stands))
            if not stands:
                found[key] = Parameter(value, answer.origin)
    return Completed(found, tuple(conflicts), tuple(key for key in needed if key not in found))


def _conflict(key: str, stated: Parameter, given: Parameter, stands: bool) -> str:
    """Say that two sources disagree, and which was followed."""
    if stated.origin.startswith("inferred"):
        first = f"{shown(stated.value)} was {stated.origin}"
    else:
        first = f"the {stated.origin} says {shown(stated.value)}"
    followed = stated.origin.split(" (")[0] if stands else given.origin
    says = f"the {given.origin} says {shown(given.value)}"
    return f"{key}: {first}, {says}; the {followed} was followed"


def required(kind: str | None, found: Parameters) -> tuple[str, ...]:
    """Return the BIDS keys without which CBF cannot be computed, for one labelling type."""
    if kind == "PASL":
        flag = found.get("BolusCutOffFlag")
        # A bolus that nothing cuts off has no time at which it is cut off; BIDS allows that.
        cutoff = () if flag is not None and flag.value is False else ("BolusCutOffDelayTime",)
        return ("PostLabelingDelay", *cutoff, "BackgroundSuppression")
    labeling = ("PostLabelingDelay", "LabelingDuration", "BackgroundSuppression")
    return labeling if kind else ("ArterialSpinLabelingType", *labeling)


def _answered(stated: Parameter, answers: Sequence[Answer]) -> bool:
    return any(stated.origin == answer.origin for answer in answers)


def _kind(merged: Parameters, answers: Sequence[Answer]) -> str | None:
    stated = merged.get("ArterialSpinLabelingType")
    if stated is not None and stated.from_header:
        return str(stated.value)
    for answer in answers:
        if "ArterialSpinLabelingType" in answer.values:
            return str(answer.values["ArterialSpinLabelingType"])
    return str(stated.value) if stated else None


def _applies(key: str, kind: str | None, found: Mapping[str, Parameter]) -> bool:
    """Tell whether an answer concerns a run at all: one command line serves many."""
    if key == "LabelingDuration":
        return kind != "PASL"
    if key == "NumberOfExcitations":
        return "NumberOfExcitations" in found or "TotalAcquiredPairs" not in found
    return not key.startswith("BolusCutOff") or kind == "PASL"


def _assume(found: dict[str, Parameter], kind: str | None) -> None:
    """Complete what follows from the answers: suppression pulses, a bolus cut off by the user."""
    pulses = found.get("BackgroundSuppressionNumberPulses")
    if pulses is not None and (
        "BackgroundSuppression" not in found or not found["BackgroundSuppression"].from_header
    ):
        origin = f"{pulses.origin} (the number of suppression pulses)"
        found["BackgroundSuppression"] = Parameter(pulses.value > 0, origin)
    cutoff = found.get("BolusCutOffDelayTime")
    if kind == "PASL" and cutoff is not None:
        found.setdefault("BolusCutOffFlag", Parameter(True, cutoff.origin))
        found.setdefault("BolusCutOffTechnique", Parameter("QUIPSSII", "assumed"))


def same(stated: Any, value: Any) -> bool:
    """Tell whether two values agree, to a millisecond; a list of equal values equals one."""
    if isinstance(stated, list | tuple) or isinstance(value, list | tuple):
        left, right = _several(stated), _several(value)
        if len(left) == len(right):
            return all(same(one, other) for one, other in zip(left, right, strict=True))
        return all(same(left[0], one) for one in (*left, *right))
    if isinstance(value, float) and isinstance(stated, float | int):
        return abs(stated - value) <= _SAME_SECONDS
    return bool(stated == value)


def _several(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def shown(value: Any) -> str:
    """Return a value as a message shows it."""
    if isinstance(value, list | tuple):
        return " ".join(shown(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
