"""GE's elements as numbers and names, whatever an archive made of their types."""

from __future__ import annotations

import math
from typing import Any

SEQUENCE_NAMES = ((0x0019, 0x109C), (0x0019, 0x109E))


def number(header: Any, tag: Any, *, positive: bool = True) -> float | None:
    """Return one value of `header` as a number, or None.

    Parameters
    ----------
    header
        A DICOM data set.
    tag
        Keyword or tag.
    positive
        Whether zero and less count as no value.
    """
    if tag not in header:
        return None
    value = header[tag].value
    # Archives that do not know a private element hand its bytes on.
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace").strip(" \0")
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    usable = math.isfinite(found) and (found > 0 or not positive)
    return found if usable else None


def sequence(header: Any) -> str:
    """Return GE's names of the sequence in lower case, such as ``"3dasl"`` or ``"easl"``."""
    found = []
    for tag in SEQUENCE_NAMES:
        if tag in header:
            value = header[tag].value
            text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
            found.append(text.strip(" \0").casefold())
    return " ".join(found)
