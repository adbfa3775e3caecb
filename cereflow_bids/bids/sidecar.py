"""Values of a sidecar, checked for their type."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cereflow_bids.bids.parameters import SIDECAR
from cereflow_bids.errors import InputError


@dataclass(frozen=True)
class Sidecar:
    """The metadata of one image, inheritance resolved, and the name to tell in errors."""

    values: Mapping[str, Any]
    where: str

    def origin(self, key: str) -> str:
        """Return where a value came from: what conversion recorded about it, else the sidecar."""
        recorded = self.values.get("CereflowOrigins", {})
        detail = recorded.get(key) if isinstance(recorded, Mapping) else None
        return str(detail) if detail else SIDECAR

    def number(self, key: str) -> float | None:
        """Return a number, None if the key is missing.

        Raises
        ------
        InputError
            If it is something else.
        """
        value = self.values.get(key)
        if value is None:
            return None
        if not is_number(value):
            raise InputError(
                f"{key} is {value!r}, not a number.", where=self.where, fix=f"correct {key}."
            )
        return float(value)

    def flag(self, key: str) -> bool | None:
        """Return true or false, None if the key is missing.

        Raises
        ------
        InputError
            If it is something else, such as the text "true".
        """
        value = self.values.get(key)
        if value is None or isinstance(value, bool):
            return value
        raise InputError(
            f"{key} is {value!r}, neither true nor false.",
            where=self.where,
            fix=f"write {key} as true or false, without quotes.",
        )

    def per_volume(self, key: str, n_volumes: int) -> tuple[float, ...] | None:
        """Return one value per volume of what may be one number or one per volume.

        Raises
        ------
        InputError
            If the list has the wrong length or holds something else.
        """
        value = self.values.get(key)
        if not isinstance(value, list):
            number = self.number(key)
            return None if number is None else (number,) * n_volumes
        numeric = all(is_number(entry) for entry in value)
        if not numeric or len(value) != n_volumes:
            raise InputError(
                f"{key} has {len(value)} entries for {n_volumes} volumes, or entries that are not "
                "numbers.",
                where=self.where,
                fix=f"give {key} as one number or one number per volume.",
            )
        return tuple(float(entry) for entry in value)

    def one_for(self, key: str, volumes: Sequence[int], n_volumes: int) -> float | None:
        """Return the value that some volumes share.

        Raises
        ------
        InputError
            As `per_volume`, and if the value differs among `volumes`.
        """
        every = self.per_volume(key, n_volumes)
        if every is None:
            return None
        chosen = sorted({every[k] for k in volumes})
        if len(chosen) > 1:
            raise InputError(
                f"{key} differs among volumes that are averaged "
                f"({', '.join(f'{v:g}' for v in chosen)}).",
                where=self.where,
                fix=f"correct {key}, or leave the volumes that differ out of aslcontext.tsv "
                "as n/a.",
            )
        return chosen[0]


def is_number(value: Any) -> bool:
    """Tell a finite number; JSON readers let NaN through."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def read_values(path: Path) -> dict[str, Any]:
    """Return what one sidecar file holds, nothing inherited.

    Raises
    ------
    InputError
        If it is no JSON object, with the place of the mistake.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(
            f"the sidecar is no valid JSON ({error}).", where=path.name, fix="correct it."
        ) from error
    if not isinstance(content, dict):
        raise InputError(
            "the sidecar is no JSON object.", where=path.name, fix="put its keys into {}."
        )
    return content
