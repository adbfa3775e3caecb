"""GE eASL: delays and durations of its blocks of labelling, from what the operator set.

One labelling of several blocks is time-encoded and decoded by the scanner, so that each decoded
image belongs to one block. What the operator set is in "user data" 4 to 7 of the header; the tags
that hold delay and duration of the plain product do not describe eASL.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from cereflow_bids.intake.vendors.ge_header import number

FIRST_DELAY = (0x0019, 0x10AB)
TOTAL_DURATION = (0x0019, 0x10AC)
DELAYS = (0x0019, 0x10AD)
LINEARITY = (0x0019, 0x10AE)
# Blood's T1 in s that the blocks are timed for, at 3 T and at 1.5 T.
_T1_BLOOD, _T1_BLOOD_LOW_FIELD = 1.65, 1.4
_LOW_FIELD = 2.0
# No labelling lasts as long, s: larger numbers are milliseconds.
_LONGEST = 10.0
_MOST_DELAYS = 31
# Of the sum of a delay and its block, that the next longer delay may differ by.
_GAP = 0.05


@dataclass(frozen=True)
class Timing:
    """What the operator set for one eASL scan; times in seconds."""

    first_delay: float
    total_duration: float
    delays: int
    linearity: float
    t1_blood: float = _T1_BLOOD

    @property
    def origin(self) -> str:
        """Where the values come from, for the record."""
        return (
            "header ((0019,10AB) to (0019,10AE): first delay "
            f"{self.first_delay:g} s, {self.delays} blocks in {self.total_duration:g} s, "
            f"linearity {self.linearity:g})"
        )


def timing(header: Any) -> Timing | None:
    """Return what the operator set, or None if the header does not hold all of it."""
    first, total, count = (number(header, tag) for tag in (FIRST_DELAY, TOTAL_DURATION, DELAYS))
    linearity = number(header, LINEARITY, positive=False)
    if first is None or total is None or count is None or linearity is None:
        return None
    unit = 1000.0 if total > _LONGEST else 1.0
    whole = count == round(count) and 1 <= count <= _MOST_DELAYS
    if not whole or not 0 <= linearity <= 1 or first / unit > _LONGEST:
        return None
    field = number(header, "MagneticFieldStrength")
    low = field is not None and field < _LOW_FIELD
    t1_blood = _T1_BLOOD_LOW_FIELD if low else _T1_BLOOD
    return Timing(first / unit, total / unit, round(count), linearity, t1_blood)


def blocks(set_up: Timing) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return delay and duration of each block, s, the shortest delay first.

    Linearity 0 gives every block the same signal: with blood's T1 the block of duration ``d`` and
    delay ``p`` leaves ``(1 - exp(-d / T1)) exp(-p / T1)``, and all of them together leave what a
    single block of the total duration would. Linearity 1 gives every block the same duration.
    In between, the durations are blended.

    Examples
    --------
    >>> delays, durations = blocks(Timing(1.0, 3.5, 7, 0.0))
    >>> [round(value, 3) for value in delays]
    [1.0, 1.222, 1.478, 1.781, 2.153, 2.635, 3.317]
    >>> [round(value, 3) for value in durations]
    [0.222, 0.256, 0.303, 0.372, 0.481, 0.682, 1.183]
    """
    even = set_up.total_duration / set_up.delays
    weight = set_up.linearity
    durations = [weight * even + (1 - weight) * part for part in _equal_signal(set_up)]
    delays = [set_up.first_delay]
    for duration in durations[:-1]:
        delays.append(delays[-1] + duration)
    return _milliseconds(delays), _milliseconds(durations)


def consistent(delays: Sequence[float], durations: Sequence[float]) -> bool:
    """Tell whether each delay is the one before it plus that one's block, as decoding implies.

    Parameters
    ----------
    delays, durations
        One per block, s, in the order of the images.
    """
    pairs = sorted(zip(delays, durations, strict=True))
    return all(
        abs(delay + duration - later) <= _GAP * (delay + duration)
        for (delay, duration), (later, _) in pairwise(pairs)
    )


def _equal_signal(set_up: Timing) -> list[float]:
    """Return the durations of blocks that all leave the same signal, s."""
    t1 = set_up.t1_blood
    whole = (1 - math.exp(-set_up.total_duration / t1)) * math.exp(-set_up.first_delay / t1)
    share = whole / set_up.delays
    delay, durations = set_up.first_delay, []
    for _ in range(set_up.delays):
        durations.append(-t1 * math.log(1 - share * math.exp(delay / t1)))
        delay += durations[-1]
    return durations


def _milliseconds(seconds: Sequence[float]) -> tuple[float, ...]:
    """Round to what the scanner can time."""
    return tuple(round(value, 3) for value in seconds)
