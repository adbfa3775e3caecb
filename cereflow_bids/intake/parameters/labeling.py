"""What the headers of one series say about its labelling, every value with its origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

HEADER = "header"


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


class Part(NamedTuple):
    """What makes a series one of several that are a single acquisition.

    Attributes
    ----------
    group
        Equal for the series of one acquisition; never published.
    by
        ``"delay"``: each series is one delay; ``"volume"``: each is one volume; ``"pair"``: each
        is the control or the label images of one delay.
    role
        For pairs ``"first"`` or ``"second"``.
    """

    group: str
    by: str
    role: str = ""


@dataclass(frozen=True)
class Labeling:
    """What one vendor's reader found out about one series.

    Attributes
    ----------
    parameters
        BIDS key → value and origin; what the header does not hold is not there. A series with
        several delays has a tuple with one value per delay. ``NumberOfExcitations`` and
        ``RepeatsPerDelay`` are ours: they lead to BIDS keys, but are none.
    volume_types
        BIDS volume type of each volume where the header tags them, in acquired order, else None.
    volume_delays
        Delay of each volume, s, where the header tells it (0 for M0), else None.
    part
        Set where the series may be one of several that make up a single acquisition.
    divisor
        Constant by which the scanner multiplied a perfusion-weighted image.
    preparation
        Equal for two series that were prepared and suppressed alike; empty where unknown.
    notes
        Sentences for the summary, without any name.
    """

    parameters: Parameters
    volume_types: tuple[str, ...] | None = None
    volume_delays: tuple[float, ...] | None = None
    part: Part | None = None
    divisor: float = 1.0
    preparation: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Known:
    """One series that has a role, read: all that is needed of its headers from then on.

    Attributes
    ----------
    uid
        Digest of the series' UID.
    kind, rule, why
        What the series is for, by which rule of the heuristic, and what that says.
    vendor, model, software, description
        What a protocol file matches, without the names of persons; never published.
    repetition_time
        s, or None.
    labeling
        What the headers say of the labelling; empty for anything but ASL.
    """

    uid: str
    number: int
    kind: str
    rule: str
    why: str
    vendor: str
    model: str
    software: str
    description: str
    acquisition_type: str
    repetition_time: float | None
    labeling: Labeling

    def __repr__(self) -> str:
        return f"Known(number={self.number}, kind={self.kind})"
