"""Which runs of a participant are the baseline and the stimulus of a reactivity measurement.

A run is marked by its ``acq-`` label or by ``CereflowCondition`` in its sidecar. Where the marks
do not single out one run of each kind, nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Condition = Literal["baseline", "stimulus"]

KEY = "CereflowCondition"
ACQUISITION_LABELS: Mapping[Condition, frozenset[str]] = {
    "baseline": frozenset({"baseline", "rest", "pre"}),
    "stimulus": frozenset(
        {"stimulus", "acetazolamide", "acz", "diamox", "co2", "post", "hypercapnia"}
    ),
}
"""Whole labels of ``acq-``, compared without regard to case."""

UNMARKED = "none"
VALUES = ("baseline", "stimulus", UNMARKED)


@dataclass(frozen=True)
class Scan:
    """What pairing looks at of one run.

    Attributes
    ----------
    stem
        Entities, e.g. ``sub-01_ses-1_acq-baseline``.
    condition
        Value of `KEY` in the sidecar, None where it is not there.
    """

    stem: str
    condition: Any = None

    @property
    def group(self) -> str:
        """Participant and session, e.g. ``sub-01_ses-1``: runs of one group may pair."""
        return "_".join(p for p in self.stem.split("_") if p.startswith(("sub-", "ses-")))


@dataclass(frozen=True)
class Pair:
    """One baseline and one stimulus run.

    Attributes
    ----------
    group
        Participant and session.
    baseline, stimulus
        Stems of the runs.
    marks
        How each was told to be what it is.
    """

    group: str
    baseline: str
    stimulus: str
    marks: tuple[str, str] = field(default=("", ""))


@dataclass(frozen=True)
class Unpaired:
    """Marked runs of a participant and session that make no pair; why, and what to add."""

    group: str
    what: str
    fix: str


@dataclass(frozen=True)
class _Mark:
    scan: Scan
    condition: Condition | None
    how: str
    problem: str = ""
    # Labels such as "rest" and "pre" are also given where nobody thinks of reactivity.
    deliberate: bool = False


def pair_runs(scans: Iterable[Scan]) -> list[Pair | Unpaired]:
    """Return one entry for each participant and session with runs that are marked.

    Parameters
    ----------
    scans
        All runs, in any order, those included that cannot be processed.

    Returns
    -------
    list of Pair or Unpaired
        By group. A group has no entry where no run is marked, or where the only mark is an
        ``acq-`` label of a baseline, which says little by itself.
    """
    groups: dict[str, list[Scan]] = {}
    for scan in sorted(scans, key=lambda one: one.stem):
        groups.setdefault(scan.group, []).append(scan)
    entries = [_entry(group, [_mark(scan) for scan in members]) for group, members in
               sorted(groups.items())]  # fmt: skip
    return [entry for entry in entries if entry is not None]


def _entry(group: str, marks: Sequence[_Mark]) -> Pair | Unpaired | None:
    problems = [mark.problem for mark in marks if mark.problem]
    if problems:
        return Unpaired(group, " ".join(problems), _CORRECT)
    baselines, stimuli = (_of(marks, kind) for kind in ("baseline", "stimulus"))
    if len(baselines) == len(stimuli) == 1:
        baseline, stimulus = baselines[0], stimuli[0]
        how = (baseline.how, stimulus.how)
        return Pair(group, baseline.scan.stem, stimulus.scan.stem, how)
    if not stimuli and not any(mark.deliberate for mark in baselines):
        return None
    if baselines and stimuli:
        listed = [f"{_names(kind)} as {kind[0].condition}" for kind in (baselines, stimuli)]
        return Unpaired(group, f"several runs could be the pair: {'; '.join(listed)}.", _LEAVE_ONE)
    present, absent = ("baseline", "stimulus") if baselines else ("stimulus", "baseline")
    others = [mark.scan.stem for mark in marks if mark.condition is None]
    among = f" The unmarked runs are {', '.join(others)}." if others else ""
    return Unpaired(
        group,
        f"{_names(baselines or stimuli)} is marked as {present}, but no run of the same "
        f"participant and session as {absent}.{among}",
        f'write "{KEY}": "{absent}" into the sidecar of the {absent} run.',
    )


_CORRECT = (
    f'let file name and sidecar agree; "{KEY}" in the sidecar is "baseline", "stimulus" or '
    f'"{UNMARKED}".'
)
_LEAVE_ONE = (
    f'write "{KEY}": "{UNMARKED}" into the sidecars of the runs that are not meant, so that one '
    "baseline and one stimulus run are left."
)


def _of(marks: Sequence[_Mark], condition: str) -> list[_Mark]:
    return [mark for mark in marks if mark.condition == condition]


def _names(marks: Sequence[_Mark]) -> str:
    return ", ".join(mark.scan.stem for mark in marks)


def _mark(scan: Scan) -> _Mark:
    by_name, label = _by_name(scan.stem)
    value = scan.condition
    if value is None:
        return _Mark(scan, by_name, f"acq-{label}" if by_name else "")
    told = value.strip().lower() if isinstance(value, str) else value
    if told not in VALUES:
        problem = f"{KEY} of {scan.stem} is {value!r}."
        return _Mark(scan, None, "", problem)
    how = f'"{KEY}": "{told}" in the sidecar'
    if told == UNMARKED:
        return _Mark(scan, None, how)
    condition: Condition = "baseline" if told == "baseline" else "stimulus"
    if by_name not in (None, condition):
        problem = f"{scan.stem} is a {by_name} by its name and a {told} by {KEY}."
        return _Mark(scan, None, "", problem)
    return _Mark(scan, condition, how, deliberate=True)


def _by_name(stem: str) -> tuple[Condition | None, str]:
    found = re.search(r"_acq-([^_]+)", stem)
    label = found.group(1) if found else ""
    for condition, labels in ACQUISITION_LABELS.items():
        if label.lower() in labels:
            return condition, label
    return None, label
