"""When a Siemens scan labelled and imaged: delays, durations, repeats, as its header tells them.

Every sequence keeps them in places of its own. Where a series' name speaks of several delays and
its header holds one, that one is not taken: it would be wrong for most of the volumes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

from cereflow_bids.intake.headers.series import Series
from cereflow_bids.intake.parameters.labeling import Parameter
from cereflow_bids.intake.vendors.siemens_protocol import (
    bolus_cutoff,
    count,
    frame_delay,
    number,
    pulse_train_duration,
    seconds,
)

DELAY, DURATION, REPEATS = "PostLabelingDelay", "LabelingDuration", "RepeatsPerDelay"
# What each image tells of itself.
OWN_DELAY = "header (0021,1189)"
# Seconds per RF block of the research pCASL on VE.
RF_BLOCK = 0.0184
_RESEARCH_PCASL = re.compile(r"(?:tgse|ep2d)_pcasl", re.IGNORECASE)
_SEVERAL = re.compile(
    r"(?<!\d)(?:[2-9]|\d\d)[ _-]?(?:delays?|plds?|tis?)(?![a-z0-9])|pld[_-]?[2-9](?![\d.s])|"
    r"multi[ _-]?(?:delay|pld|ti)(?![a-z])|(?<![a-z])mti\d",
    re.IGNORECASE,
)
_MOST_DELAYS, _FIRST_REPEAT = 5, 6
# As many delays as the product's protocol has room for.
_LONGEST_LIST = 64
# Of delays and labelling, s.
_SHORTEST, _LONGEST = 0.1, 5.0
# M0 volumes, and one that lets the signal settle, belong to no pair.
_MOST_UNPAIRED = 3


class Timing(NamedTuple):
    """What was found, by BIDS key, and what is to be said of it."""

    found: dict[str, Parameter]
    notes: tuple[str, ...] = ()


def pulsed(series: Series, protocol: Mapping[str, str]) -> Timing:
    """Read TI1 and TI2 of a PASL scan, and how its bolus is cut off.

    The print has two or three times: TI1 ≤ the end of the saturation (Q2TIPS only) ≤ TI2. They
    have changed places between software versions, but never their order in time.
    """
    times = [seconds(protocol, f"alTI[{place}]") for place in range(3)]
    known = sorted(time for time in times if time is not None)
    kind, technique, how = _technique(protocol)
    if len(known) < 2:
        return _standard_pulsed(series)
    places = " and ".join(f"alTI[{n}]" for n, time in enumerate(times) if time is not None)
    origin = f"header (Siemens protocol: {places})"
    found = {DELAY: Parameter(known[-1], origin)}
    if kind:
        found["PASLType"] = Parameter(kind, how)
        found["BolusCutOffFlag"] = Parameter(True, how)
        cutoff = known[0] if len(known) == 2 else known[:2]
        found["BolusCutOffTechnique"] = Parameter(technique, how)
        found["BolusCutOffDelayTime"] = Parameter(cutoff, origin)
    return Timing(found)


def _standard_pulsed(series: Series) -> Timing:
    """Read a PASL scan whose protocol was taken away from the tags beside it."""
    found: dict[str, Parameter] = {}
    delay, cutoff = frame_delay(series.header), bolus_cutoff(series.header)
    if delay is not None:
        found[DELAY] = Parameter(delay, OWN_DELAY)
    if cutoff:
        origin = "header (0018,925F)"
        value = cutoff[0] if len(cutoff) == 1 else sorted(cutoff)
        found["BolusCutOffFlag"] = Parameter(True, origin)
        found["BolusCutOffDelayTime"] = Parameter(value, origin)
        # Two times begin and end a train of saturations; one is a single saturation.
        technique = "QUIPSSII" if len(cutoff) == 1 else "Q2TIPS"
        found["BolusCutOffTechnique"] = Parameter(technique, "inferred (number of cut-off times)")
    return Timing(found)


def _technique(protocol: Mapping[str, str]) -> tuple[str, str, str]:
    """Return the console's name of a PASL technique, its bolus cut-off, and how they are known."""
    mode = count(protocol, "sAsl.ulMode")
    if mode == _FAIR or "tgse_pasl" in protocol.get("tSequenceFileName", "").casefold():
        return "FAIR QII", "QUIPSSII", "header (Siemens protocol: FAIR QII)"
    kind, technique = _PICORE.get(mode, ("", ""))
    return kind, technique, f"inferred (Siemens protocol: mode {mode}, taken for {kind})"


_FAIR = 4
# No scan of these was seen: the console's list in its order, one bit each as for the seen ones.
_PICORE = {2: ("PICORE Q2T", "Q2TIPS"), 8: ("PICORE QII", "QUIPSSII")}


def continuous(series: Series, protocol: Mapping[str, str]) -> Timing:
    """Read labelling duration, delays and repeats of a pCASL scan."""
    if _RESEARCH_PCASL.search(protocol.get("tSequenceFileName", "")):
        timing = _research(series, protocol)
    else:
        timing = _product(series, protocol)
    stated = timing.found.get(DELAY)
    if timing.notes or not named_several(series):
        return timing
    if stated is not None and isinstance(stated.value, tuple):
        return timing
    holds = "none of them" if stated is None else f"one ({stated.value:g} s)"
    note = (
        f"The name of the series speaks of several delays, its header holds {holds}: give all "
        "delays, and how many pairs each has."
    )
    left = {key: value for key, value in timing.found.items() if key != DELAY}
    return Timing(left, (note,))


def named_several(series: Series) -> bool:
    """Tell whether the name of a series speaks of several delays."""
    return bool(_SEVERAL.search(series.description) or _SEVERAL.search(series.protocol_name))


def _research(series: Series, protocol: Mapping[str, str]) -> Timing:
    """Read the research pCASL: adFree[2] is the delay in µs, adFree[3] the number of RF blocks.

    dcm2niix gives the delay as labelling duration; the scanner's own protocol print settles it.
    """
    found: dict[str, Parameter] = {}
    blocks = number(protocol, "sWipMemBlock.adFree[3]") or 0.0
    duration = round(blocks * RF_BLOCK, 3)
    if _SHORTEST <= duration <= _LONGEST:
        # Only this version is known to count blocks of this length.
        sure = "ve11c" in protocol.get("tSequenceFileName", "").casefold()
        found[DURATION] = Parameter(
            duration,
            f"{'header' if sure else 'inferred'} (Siemens protocol: {blocks:g} RF blocks x "
            f"{RF_BLOCK * 1000:g} ms)",
        )
    delay = seconds(protocol, "sWipMemBlock.adFree[2]")
    several = _several_research(series, protocol)
    if several is not None:
        found |= several
    elif delay is not None and _SHORTEST <= delay <= _LONGEST:
        found[DELAY] = Parameter(delay, "header (Siemens protocol: adFree[2])")
    return Timing(found)


def _several_research(series: Series, protocol: Mapping[str, str]) -> dict[str, Parameter] | None:
    """Read delays in alFree[0…4] and pairs per delay in alFree[6…10], if they can be just that.

    The same places hold other things in other versions: only delays that rise, and as many pairs
    as the series has, are taken.
    """
    raw = [number(protocol, f"sWipMemBlock.alFree[{n}]") or 0.0 for n in range(_MOST_DELAYS)]
    pairs = [
        count(protocol, f"sWipMemBlock.alFree[{n + _FIRST_REPEAT}]") for n in range(_MOST_DELAYS)
    ]
    several = next((n for n, value in enumerate(raw) if value <= 0), _MOST_DELAYS)
    scale = 1e-6 if max(raw) > _LONGEST * 1000 else 1e-3
    delays = tuple(round(value * scale, 6) for value in raw[:several])
    rising = all(one < other for one, other in pairwise(delays))
    possible = all(_SHORTEST <= delay <= _LONGEST for delay in delays)
    repeats = tuple(pairs[:several])
    places = {image.position for image in series.images}
    unpaired = len(series.images) // len(places) - 2 * sum(repeats)
    if several < 2 or not (rising and possible) or min(repeats) < 1:
        return None
    if not 0 <= unpaired <= _MOST_UNPAIRED:
        return None
    return {
        DELAY: Parameter(delays, f"header (Siemens protocol: alFree[0] to alFree[{several - 1}])"),
        REPEATS: Parameter(
            repeats,
            f"header (Siemens protocol: alFree[{_FIRST_REPEAT}] to "
            f"alFree[{_FIRST_REPEAT + several - 1}])",
        ),
    }


def _product(series: Series, protocol: Mapping[str, str]) -> Timing:
    """Read the product of XA, which names its values (µs), or the tags beside its protocol."""
    found: dict[str, Parameter] = {}
    duration = seconds(protocol, "sAsl.ulLabelingDuration")
    train = pulse_train_duration(series.header)
    if duration is not None:
        found[DURATION] = Parameter(duration, "header (Siemens protocol: ulLabelingDuration)")
    elif train is not None:
        found[DURATION] = Parameter(train, "header (0018,9258)")
    several = min(max(count(protocol, "sAsl.ulDelayArraySize"), 1), _LONGEST_LIST)
    delays = [seconds(protocol, f"sAsl.sPostLabelingDelay[{n}]") for n in range(several)]
    own = frame_delay(series.header)
    if None not in delays:
        places = f"0 to {several - 1}" if several > 1 else "0"
        values = tuple(delay for delay in delays if delay is not None)
        found[DELAY] = Parameter(
            values if several > 1 else values[0],
            f"header (Siemens protocol: sPostLabelingDelay[{places}])",
        )
    elif several > 1:
        found.pop(DURATION, None)
        return Timing(found, (_UNEQUAL,))
    elif own is not None:
        found[DELAY] = Parameter(own, OWN_DELAY)
    return Timing(found)


_UNEQUAL = (
    "The protocol has several delays, but one of them is 0: labelling then lasts differently long "
    "for each delay, which the header does not tell. Give all delays and labelling durations."
)
