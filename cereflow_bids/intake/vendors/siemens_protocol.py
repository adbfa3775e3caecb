"""The protocol text (ASCCONV) inside Siemens headers, and numbers read from it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

CSA_SERIES = (0x0029, 0x1020)
XA_GROUP = (0x0021, 0x10FE)
XA_PROTOCOL = (0x0021, 0x1019)
_FRAME_GROUP = (0x0021, 0x11FE)
# ms; equal to the console's post-labelling delay where public reports name both.
FRAME_DELAY = (0x0021, 0x1189)


def protocol_text(header: Any) -> dict[str, str]:
    """Return the protocol's assignments, ``{"sAsl.ulMode": "4", …}``; empty if there is none."""
    for blob in _blobs(header):
        start = blob.find(b"### ASCCONV BEGIN")
        end = blob.find(b"### ASCCONV END", start)
        if start >= 0 and end > start:
            text = blob[start:end].decode("latin-1")
            pairs = re.findall(r"^\s*([\w.\[\]]+)\s*=\s*(.*?)\s*$", text, re.MULTILINE)
            return {key: value.strip('"') for key, value in pairs}
    return {}


def number(protocol: Mapping[str, str], key: str) -> float | None:
    """Return a value of the protocol as a number, None if it is absent or none."""
    text = protocol.get(key, "")
    if text.casefold().startswith("0x"):
        return _finite(int(text, 16)) if re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}", text) else None
    return _finite(text)


def count(protocol: Mapping[str, str], key: str) -> int:
    """Return a value of the protocol as a whole number, 0 if it is absent or none."""
    return round(number(protocol, key) or 0.0)


def seconds(protocol: Mapping[str, str], key: str) -> float | None:
    """Return a positive value of the protocol, which counts in µs, in s."""
    value = number(protocol, key)
    return round(value * 1e-6, 6) if value is not None and value > 0 else None


def frame_delay(header: Any) -> float | None:
    """Return the delay that the first frame, or a classic image, holds, s."""
    frames = header.get("PerFrameFunctionalGroupsSequence") or ()
    places = [header]
    for frame in frames[:1]:
        places += list(frame[_FRAME_GROUP].value or ()) if _FRAME_GROUP in frame else []
    held = (place[FRAME_DELAY].value for place in places if FRAME_DELAY in place)
    return _from_milliseconds(next(held, None))


def pulse_train_duration(header: Any) -> float | None:
    """Return how long the labelling of the first frame lasts, (0018,9258), s."""
    found = (
        _from_milliseconds(slab.get("ASLPulseTrainDuration"))
        for labelling in _asl_items(header)
        for slab in labelling.get("ASLSlabSequence") or ()
    )
    return next((duration for duration in found if duration), None)


def bolus_cutoff(header: Any) -> tuple[float, ...]:
    """Return when the bolus of the first frame is cut off, (0018,925F), s; empty if unknown."""
    found = (
        _from_milliseconds(timing.get("ASLBolusCutoffDelayTime"))
        for labelling in _asl_items(header)
        for timing in labelling.get("ASLBolusCutoffTimingSequence") or ()
    )
    return tuple(time for time in found if time)


def _asl_items(header: Any) -> Iterator[Any]:
    """Yield the standard ASL description of a classic image, or of an enhanced one's frame."""
    yield from header.get("MRArterialSpinLabelingSequence") or ()
    for frame in (header.get("PerFrameFunctionalGroupsSequence") or ())[:1]:
        yield from frame.get("MRArterialSpinLabelingSequence") or ()


def _from_milliseconds(value: Any) -> float | None:
    found = _finite(value)
    return round(found / 1000, 6) if found is not None and found > 0 else None


def _finite(value: Any) -> float | None:
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def _blobs(header: Any) -> Iterator[bytes]:
    if CSA_SERIES in header:
        yield _bytes(header[CSA_SERIES].value)
    for group in (header.get("SharedFunctionalGroupsSequence") or ())[:1]:
        for item in group[XA_GROUP].value if XA_GROUP in group else ():
            if XA_PROTOCOL in item:
                yield _bytes(item[XA_PROTOCOL].value)
    if XA_PROTOCOL in header:
        yield _bytes(header[XA_PROTOCOL].value)


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("latin-1", "replace")
