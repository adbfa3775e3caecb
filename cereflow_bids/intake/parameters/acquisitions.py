"""Which series are one acquisition: delays, volumes or pairs that a scanner stored apart."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from cereflow_bids.intake.parameters.answers import Answers
from cereflow_bids.intake.parameters.labeling import Known

DELAY = "PostLabelingDelay"
# Volumes; numbers that jump after every pair are no scans, but have a map between them.
_SCAN = 4


def group(asl: Sequence[Known], answers: Answers) -> list[list[Known]]:
    """Bring together the ASL series of one study that are parts of one acquisition.

    Parameters
    ----------
    asl
        ASL series in order of their numbers.
    answers
        What the user says: where no header holds the delays, it decides whether series are
        delays of one labelling (as many different delays as series) or repeats.

    Returns
    -------
    list of list
        Acquisitions in the order of their first series; the series of each in acquired order.
    """
    result = [[known] for known in asl if known.labeling.part is None]
    for members in _alike(asl):
        by = _part(members[0])
        if by == "delay":
            result += _by_delay(members, answers)
        else:
            result += _by_scan(members) if by == "volume" else [members]
    return sorted(result, key=lambda members: members[0].number)


def remarks(asl: Sequence[Known], answers: Answers) -> list[str]:
    """Say which series may be delays of one labelling, where no header tells their delays."""
    found = []
    for members in _alike(asl):
        found += _joined_or_not(members)
        several = _part(members[0]) == "delay" and len(members) > 1
        known = delays(members, answers)
        if not several or (known and (len(set(known)) > 1 or _all_stated(members))):
            continue
        numbers = ", ".join(str(one.number) for one in members)
        taken = "were taken for" if known else "may be"
        found.append(
            f"series {numbers} are alike and {taken} repeats of one delay. If they are delays of "
            f"one labelling, give --post-labeling-delay {len(members)} values, one per series: "
            "they then become one run"
        )
    return found


def _all_stated(members: Sequence[Known]) -> bool:
    stated = [known.labeling.parameters.get(DELAY) for known in members]
    return all(one is not None and one.from_header for one in stated)


def _alike(asl: Sequence[Known]) -> list[list[Known]]:
    """Bring together the series that may be parts of one acquisition."""
    groups: dict[tuple[str, str], list[Known]] = defaultdict(list)
    for known in asl:
        part = known.labeling.part
        if part is not None:
            groups[part.by, part.group].append(known)
    return list(groups.values())


def delays(members: Sequence[Known], answers: Answers) -> list[float] | None:
    """Return one delay per series of an acquisition, s, or None where one of them is unknown.

    Delays that the user gives count again from the first where there are several times as many
    series.
    """
    found = [_delay(known, answers) for known in members]
    offered = _offered(members[0], answers)
    if isinstance(offered, tuple) and len(members) % len(offered) == 0 and None in found:
        return [float(value) for value in offered] * (len(members) // len(offered))
    return None if None in found else [float(value) for value in found if value is not None]


def _part(known: Known) -> str:
    return known.labeling.part.by if known.labeling.part else ""


def _by_delay(members: list[Known], answers: Answers) -> list[list[Known]]:
    """Join series of different delays; a delay that comes again begins another acquisition."""
    known = delays(members, answers)
    if known is None or len(set(known)) == 1:
        return [[one] for one in members]
    runs: list[list[Known]] = []
    held: list[set[float]] = []
    for member, delay in zip(members, known, strict=True):
        place = next((k for k, has in enumerate(held) if delay not in has), len(runs))
        if place == len(runs):
            runs.append([])
            held.append(set())
        runs[place].append(member)
        held[place].add(delay)
    return runs


def jumps(members: Sequence[Known]) -> list[int]:
    """Return the places at which the series number goes up by more than it usually does."""
    steps = [later.number - one.number for one, later in pairwise(members)]
    usual = Counter(steps).most_common(1)[0][0] if steps else 0
    return [place for place, step in enumerate(steps, start=1) if step > usual]


def _by_scan(members: list[Known]) -> list[list[Known]]:
    """Part the volumes of a protocol that ran again, where numbers jump between equal scans."""
    bounds = [0, *jumps(members), len(members)]
    scans = [members[first:end] for first, end in pairwise(bounds)]
    told = {tuple(one.labeling.volume_types for one in scan) for scan in scans}
    return scans if len(told) == 1 and len(scans[0]) >= _SCAN else [members]


def _joined_or_not(members: list[Known]) -> list[str]:
    """Say so where the numbers of series that are one volume each do not follow each other."""
    places = jumps(members) if _part(members[0]) == "volume" else []
    if not places:
        return []
    last = ", ".join(str(members[place - 1].number) for place in places)
    count = len(_by_scan(members))
    if count > 1:
        return [
            f"series {members[0].number} to {members[-1].number} hold one volume each, and their "
            f"numbers jump after {last}: they were taken for {count} scans of one protocol, and "
            "each is a run"
        ]
    return [
        f"series {members[0].number} to {members[-1].number} hold one volume each, and their "
        f"numbers jump after {last}: a volume may be missing, or the protocol was scanned more "
        "than once and one of the scans is not whole. Check the runs made of them"
    ]


def _delay(known: Known, answers: Answers) -> float | None:
    """Return the single delay of a series, from its header or else from the user."""
    stated = known.labeling.parameters.get(DELAY)
    value = stated.value if stated is not None else None
    if stated is None or not stated.from_header:
        offered = _offered(known, answers)
        value = value if offered is None or isinstance(offered, tuple) else offered
    return None if value is None or isinstance(value, tuple) else float(value)


def _offered(known: Known, answers: Answers) -> Any:
    said = (answer.values[DELAY] for answer in answers.of(known) if DELAY in answer.values)
    return next(said, None)
