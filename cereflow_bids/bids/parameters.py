"""A value together with where it came from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

SIDECAR = "sidecar"
DEFAULT = "default"
DERIVED = "derived"
COMMAND_LINE = "command line"


@dataclass(frozen=True)
class Parameter:
    """A number or word that made a result, with its unit and its origin.

    Attributes
    ----------
    name
        BIDS key or the field's term.
    value
        Number, text, flag or tuple of these.
    unit
        Unit of the value, empty for none.
    origin
        ``sidecar`` or what conversion recorded there, ``command line``, ``default``, ``derived``.
    note
        What a reader should know about the choice.
    """

    name: str
    value: Any
    unit: str = ""
    origin: str = SIDECAR
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the parameter as the sidecar has it."""
        return asdict(self)
