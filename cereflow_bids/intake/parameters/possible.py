"""Which values a user may give: what is possible, and what to say of what is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cereflow_bids.errors import UsageError

# The slowest labelling in use lasts a few seconds: larger numbers are milliseconds.
LONGEST_SECONDS = 10.0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_seconds(value: Any) -> bool:
    return _is_number(value) and 0 < value <= LONGEST_SECONDS


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _each(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    def many(value: Any) -> bool:
        parts = value if isinstance(value, list | tuple) else (value,)
        return bool(parts) and all(test(part) for part in parts)

    return many


_SECONDS = "give seconds, not milliseconds, such as 1.8."
ALLOWED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "ArterialSpinLabelingType": (
        lambda value: value in ("PCASL", "CASL", "PASL"),
        "give PCASL, CASL or PASL.",
    ),
    "PostLabelingDelay": (_each(_is_seconds), _SECONDS),
    "LabelingDuration": (_each(_is_seconds), _SECONDS),
    "BolusCutOffFlag": (lambda value: isinstance(value, bool), "give true or false."),
    "BolusCutOffDelayTime": (_each(_is_seconds), _SECONDS),
    "BolusCutOffTechnique": (
        lambda value: value in ("QUIPSS", "QUIPSSII", "Q2TIPS"),
        "give QUIPSS, QUIPSSII or Q2TIPS.",
    ),
    "RepeatsPerDelay": (_each(_is_count), "give one whole number per delay, such as 2 2 2 3 3."),
    "BackgroundSuppression": (lambda value: isinstance(value, bool), "give true or false."),
    "BackgroundSuppressionNumberPulses": (
        lambda value: value == 0 or _is_count(value),
        "give a whole number, such as 2.",
    ),
    "NumberOfExcitations": (_is_count, "give the NEX of the GE protocol, such as 3."),
    "LabelingEfficiency": (
        lambda value: _is_number(value) and 0 < value <= 1,
        "give the measured fraction, such as 0.85.",
    ),
    "MRAcquisitionType": (lambda value: value in ("2D", "3D"), "give 2D or 3D."),
    "MagneticFieldStrength": (
        lambda value: _is_number(value) and 0 < value < 20,
        "give tesla, such as 3.",
    ),
    "EchoTime": (lambda value: _is_number(value) and 0 < value < 1, "give seconds, as 0.0105."),
    "RepetitionTimePreparation": (
        _each(lambda value: _is_number(value) and 0 < value <= 60),
        "give the repetition time in seconds, such as 4.8.",
    ),
    "FlipAngle": (
        _each(lambda value: _is_number(value) and 0 < value <= 360),
        "give degrees, such as 35.",
    ),
    "SliceTiming": (
        _each(lambda value: _is_number(value) and 0 <= value <= LONGEST_SECONDS),
        "give one time per slice in seconds, the first slice first.",
    ),
}


def check(key: str, value: Any, where: str) -> None:
    """Raise `UsageError` unless `value` is possible for `key`."""
    test, fix = ALLOWED[key]
    if not test(value):
        shown = " ".join(str(part) for part in value) if isinstance(value, tuple) else value
        raise UsageError(f"{shown} is not a possible value of {key}.", where=where, fix=fix)
