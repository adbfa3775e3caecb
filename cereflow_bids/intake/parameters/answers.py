"""What the user says about the labelling: on the command line, or in a protocol file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from cereflow_bids.errors import UsageError
from cereflow_bids.intake.parameters.labeling import Known
from cereflow_bids.intake.parameters.possible import ALLOWED, check

COMMAND_LINE = "command line"
PROTOCOL_FILE = "protocol file"
_VENDORS = ("ge", "philips", "siemens")
_MATCHING = ("vendor", "model", "software", "description")


class Answer(NamedTuple):
    """Values by BIDS key, and where they come from."""

    origin: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Given:
    """Values from the command line; times in seconds, None or empty where the user said nothing.

    Raises
    ------
    UsageError
        If a value cannot be right.
    """

    labeling_type: str | None = None
    post_labeling_delay: tuple[float, ...] = ()
    labeling_duration: tuple[float, ...] = ()
    bolus_cutoff: float | None = None
    repeats_per_delay: tuple[int, ...] = ()
    background_suppression: bool | None = None
    background_suppression_pulses: int | None = None
    excitations: int | None = None

    def __post_init__(self) -> None:
        for key, (flag, value) in self._named().items():
            check(key, value, flag)

    def values(self) -> dict[str, Any]:
        """Return BIDS key → value for what was given; one value stands for itself."""
        return {key: _single(value) for key, (_, value) in self._named().items()}

    def _named(self) -> dict[str, tuple[str, Any]]:
        named = {
            "ArterialSpinLabelingType": ("--labeling-type", self.labeling_type),
            "PostLabelingDelay": ("--post-labeling-delay", self.post_labeling_delay),
            "LabelingDuration": ("--labeling-duration", self.labeling_duration),
            "BolusCutOffDelayTime": ("--bolus-cutoff", self.bolus_cutoff),
            "RepeatsPerDelay": ("--repeats-per-delay", self.repeats_per_delay),
            "BackgroundSuppression": ("--background-suppression", self.background_suppression),
            "BackgroundSuppressionNumberPulses": (
                "--background-suppression-pulses",
                self.background_suppression_pulses,
            ),
            "NumberOfExcitations": ("--excitations", self.excitations),
        }
        return {key: pair for key, pair in named.items() if pair[1] not in (None, ())}


def _single(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and len(value) == 1 else value


# -- protocol file -------------------------------------------------------------------------------


@dataclass(frozen=True)
class ProtocolRule:
    """One entry of a protocol file: which series it is for, and what it says of them."""

    number: int
    match: Mapping[str, str]
    values: Mapping[str, Any]

    def matches(self, known: Known) -> bool:
        """Tell whether every pattern fits the series, whatever the case of its letters."""
        return all(
            fnmatchcase(str(getattr(known, key)).casefold().strip(), pattern.casefold())
            for key, pattern in self.match.items()
        )


@dataclass(frozen=True)
class Answers:
    """All that the user said, by series."""

    given: Given = field(default_factory=Given)
    rules: tuple[ProtocolRule, ...] = ()
    # Numbers of the entries that fitted a series so far; more than one thread may add to it.
    used: set[int] = field(default_factory=set, compare=False, repr=False)

    @property
    def unused(self) -> list[str]:
        """One sentence for each entry of the protocol file that fitted no series."""
        return [
            f"entry {rule.number} of the protocol file fits no series of these inputs; "
            "--explain shows what it has to match."
            for rule in self.rules
            if rule.number not in self.used
        ]

    @property
    def any(self) -> bool:
        """Whether the user said anything at all."""
        return bool(self.given.values() or self.rules)

    def after(self, earlier: Answers) -> Answers:
        """Return these together with what was said earlier and is not said anew."""
        new = {key: value for key, value in vars(self.given).items() if value not in (None, ())}
        return Answers(replace(earlier.given, **new), self.rules or earlier.rules, self.used)

    def written(self) -> dict[str, Any]:
        """Return everything said as JSON can hold it."""
        return {"given": asdict(self.given), "rules": [asdict(rule) for rule in self.rules]}

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> Answers:
        """Return what was `written`; nothing written is nothing said."""
        if not written:
            return cls()
        found = _tuples(written)
        rules = tuple(ProtocolRule(**rule) for rule in found["rules"])
        return cls(Given(**found["given"]), rules)

    def of(self, known: Known) -> tuple[Answer, ...]:
        """Return what the user says of one series, the strongest first.

        Raises
        ------
        UsageError
            If two entries of the protocol file disagree about it.
        """
        values: dict[str, Any] = {}
        told: dict[str, int] = {}
        for rule in self.rules:
            if not rule.matches(known):
                continue
            self.used.add(rule.number)
            for key, value in rule.values.items():
                if key in values and values[key] != value:
                    raise UsageError(
                        f"Entries {told[key]} and {rule.number} give series {known.number} "
                        f"different values of {key}.",
                        where="--protocol",
                        fix="make their patterns exclude each other.",
                    )
                values[key], told[key] = value, rule.number
        answers = (Answer(COMMAND_LINE, self.given.values()), Answer(PROTOCOL_FILE, values))
        return tuple(answer for answer in answers if answer.values)


def _tuples(value: Any) -> Any:
    """Return JSON's lists as the tuples that they were."""
    if isinstance(value, list | tuple):
        return tuple(_tuples(part) for part in value)
    if isinstance(value, dict):
        return {key: _tuples(part) for key, part in value.items()}
    return value


def read_protocol(path: Path) -> tuple[ProtocolRule, ...]:
    """Read a protocol file.

    Parameters
    ----------
    path
        YAML: a list of entries, each with ``match`` (vendor, model, software, description;
        ``*`` stands for any text) and ``parameters`` (BIDS key → value, times in seconds).

    Raises
    ------
    UsageError
        If the file cannot be read, or an entry is not understood: which one, and what of it.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"The protocol file cannot be read ({type(error).__name__}).",
            where="--protocol",
            fix="check the path; the file is YAML, in UTF-8.",
        ) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        raise UsageError(
            f"The protocol file is not valid YAML{line}.",
            where="--protocol",
            fix="compare it with the example in the documentation.",
        ) from error
    if not isinstance(content, list) or not content:
        raise UsageError(
            "The protocol file is not a list of entries.",
            where="--protocol",
            fix="begin each entry with '- match:', as in the documentation's example.",
        )
    return tuple(_rule(number, entry) for number, entry in enumerate(content, start=1))


def _rule(number: int, entry: Any) -> ProtocolRule:
    where = f"--protocol, entry {number}"
    parts = entry if isinstance(entry, dict) else {}
    match, values = parts.get("match", {}), parts.get("parameters")
    if not isinstance(match, dict) or not isinstance(values, dict) or not values:
        raise UsageError(
            "The entry lacks its parameters, or its match is no mapping.",
            where=where,
            fix="give 'match:' with patterns and 'parameters:' with BIDS keys.",
        )
    unknown = [
        str(key)
        for keys, known in (
            (parts, ("match", "parameters")),
            (match, _MATCHING),
            (values, ALLOWED),
        )
        for key in keys
        if key not in known
    ]
    if unknown:
        near = get_close_matches(unknown[0], [*_MATCHING, *ALLOWED], 1)
        every = f"match by {', '.join(_MATCHING)}; parameters are {', '.join(ALLOWED)}."
        raise UsageError(
            f"{', '.join(unknown)} is not known.",
            where=where,
            fix=f"{near[0]} may be meant." if near else every,
        )
    patterns = {key: re.sub(r"\s+", " ", str(value)) for key, value in match.items()}
    if "vendor" in patterns and patterns["vendor"].casefold() not in _VENDORS:
        raise UsageError(
            f"{patterns['vendor']} is no vendor.", where=where, fix=f"give {', '.join(_VENDORS)}."
        )
    for key, value in values.items():
        check(key, tuple(value) if isinstance(value, list) else value, where)
    clean = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
    return ProtocolRule(number, patterns, {key: _single(value) for key, value in clean.items()})
