"""What the labelling of one ASL series was, where each value comes from, and what is missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cereflow_bids.errors import UsageError

HEADER = "header"
COMMAND_LINE = "command line"
# The slowest labelling in use lasts a few seconds: larger numbers are milliseconds.
LONGEST_SECONDS = 10.0
_SAME_SECONDS = 1e-3

FLAGS: dict[str, str] = {
    "ArterialSpinLabelingType": "--labeling-type {PCASL,CASL,PASL}",
    "PostLabelingDelay": "--post-labeling-delay SECONDS",
    "LabelingDuration": "--labeling-duration SECONDS",
    "BolusCutOffDelayTime": "--bolus-cutoff-delay SECONDS",
    "BackgroundSuppression": "--background-suppression {yes,no}",
    "TotalAcquiredPairs": "--excitations NUMBER",
}


@dataclass(frozen=True)
class Parameter:
    """One value and where it comes from (``"header …"``, ``"inferred …"``, ``"command line"``)."""

    value: Any
    origin: str

    @property
    def from_header(self) -> bool:
        """Whether a header states the value outright."""
        return self.origin.startswith(HEADER)


Parameters = Mapping[str, Parameter]


@dataclass(frozen=True)
class Labeling:
    """What one vendor's reader found out about one series.

    Attributes
    ----------
    parameters
        BIDS key → value and origin; what the header does not hold is not there.
    volume_types
        BIDS volume type of each volume where the header tags them, in acquired order, else None.
    notes
        Sentences for the summary, without any name.
    """

    parameters: Parameters
    volume_types: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Given:
    """Values from the command line; times in seconds, None where the user said nothing.

    Raises
    ------
    UsageError
        If a time is not positive, or so long that it must be in milliseconds.
    """

    labeling_type: str | None = None
    post_labeling_delay: float | None = None
    labeling_duration: float | None = None
    bolus_cutoff_delay: float | None = None
    background_suppression: bool | None = None
    excitations: int | None = None

    def __post_init__(self) -> None:
        times = {
            "--post-labeling-delay": self.post_labeling_delay,
            "--labeling-duration": self.labeling_duration,
            "--bolus-cutoff-delay": self.bolus_cutoff_delay,
        }
        for flag, value in times.items():
            if value is not None and not 0 < value <= LONGEST_SECONDS:
                raise UsageError(
                    f"{value:g} s is not a possible value.",
                    where=flag,
                    fix="give seconds, not milliseconds, such as 1.8.",
                )
        if self.excitations is not None and self.excitations < 1:
            raise UsageError(
                f"{self.excitations} is not a possible number.",
                where="--excitations",
                fix="give the NEX of the GE protocol, such as 3.",
            )

    def values(self) -> dict[str, Any]:
        """Return BIDS key → value for what was given."""
        named = {
            "ArterialSpinLabelingType": self.labeling_type,
            "PostLabelingDelay": self.post_labeling_delay,
            "LabelingDuration": self.labeling_duration,
            "BolusCutOffDelayTime": self.bolus_cutoff_delay,
            "BackgroundSuppression": self.background_suppression,
            "TotalAcquiredPairs": self.excitations,
        }
        return {key: value for key, value in named.items() if value is not None}


@dataclass(frozen=True)
class Completed:
    """Parameters after the command line filled the gaps."""

    parameters: Parameters
    conflicts: tuple[str, ...] = ()
    missing: tuple[str, ...] = field(default=())

    @property
    def flags(self) -> tuple[str, ...]:
        """The options that would supply what is missing."""
        return tuple(FLAGS[key] for key in self.missing)


def complete(found: Parameters, given: Given) -> Completed:
    """Fill what no header states with what the user gave, and tell what is still missing.

    A value stated in a header always stays: it belongs to this very scan, whereas one command
    line may serve scans of several protocols. A disagreement is returned, to be shown.
    """
    merged = dict(found)
    conflicts = []
    offered = given.values()
    kind = _kind(merged, offered)
    for key, value in offered.items():
        stated = merged.get(key)
        if not _applies(key, kind, stated):
            continue
        if stated is None or not stated.from_header:
            merged[key] = Parameter(value, COMMAND_LINE)
            if key == "BolusCutOffDelayTime":
                _assume_cutoff(merged)
        elif not _same(stated.value, value):
            option = FLAGS[key].split()[0]
            conflicts.append(
                f"{key}: the {stated.origin} says {stated.value}, {option} says {value}; "
                "the header's value was kept"
            )
    missing = tuple(key for key in required(kind) if key not in merged)
    return Completed(merged, tuple(conflicts), missing)


def required(kind: str | None) -> tuple[str, ...]:
    """Return the BIDS keys without which CBF cannot be computed, for one labelling type."""
    general = ("BackgroundSuppression", "TotalAcquiredPairs")
    if kind == "PASL":
        return ("PostLabelingDelay", "BolusCutOffDelayTime", *general)
    labeling = ("PostLabelingDelay", "LabelingDuration", *general)
    return labeling if kind else ("ArterialSpinLabelingType", *labeling)


def _kind(merged: Parameters, offered: Mapping[str, Any]) -> str | None:
    stated = merged.get("ArterialSpinLabelingType")
    if stated is not None and stated.from_header:
        return str(stated.value)
    kind = offered.get("ArterialSpinLabelingType") or (stated.value if stated else None)
    return str(kind) if kind else None


def _applies(key: str, kind: str | None, stated: Parameter | None) -> bool:
    """Tell whether an option concerns a series at all: one command line serves many."""
    if key == "LabelingDuration":
        return kind != "PASL"
    if key == "TotalAcquiredPairs":
        return stated is None or stated.from_header
    return key != "BolusCutOffDelayTime" or kind == "PASL"


def _assume_cutoff(merged: dict[str, Parameter]) -> None:
    """Complete the flags that BIDS wants beside a bolus cut-off time that the user gave."""
    merged.setdefault("BolusCutOffFlag", Parameter(True, COMMAND_LINE))
    merged.setdefault("BolusCutOffTechnique", Parameter("QUIPSSII", "assumed"))


def _same(stated: Any, value: Any) -> bool:
    if isinstance(stated, Sequence) and not isinstance(stated, str):
        return all(_same(part, value) for part in stated)
    if isinstance(value, float) and isinstance(stated, float | int):
        return abs(stated - value) <= _SAME_SECONDS
    return bool(stated == value)
