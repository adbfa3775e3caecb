"""The outputs' contract, read from derivatives_spec/."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from cereflow_bids.resources import packaged_folder


@dataclass(frozen=True)
class OutputSpec:
    """One kind of output file, as derivatives_spec/outputs.yaml has it."""

    key: str
    folder: str
    name: str
    description: str
    when: str
    units: str = ""
    columns: str = ""


@cache
def output_specs() -> dict[str, OutputSpec]:
    """Return every kind of output file by its key."""
    entries = _read("outputs.yaml")["outputs"]
    return {key: OutputSpec(key=key, **entry) for key, entry in entries.items()}


@cache
def default_atlas() -> str:
    """Return the atlas that is meant where a name has one and nothing else is said."""
    return str(_read("outputs.yaml")["atlas"])


@cache
def default_space() -> str:
    """Return the standard space that is meant where a name has one and nothing else is said."""
    return str(_read("outputs.yaml")["space"])


@cache
def column_dictionary(table: str) -> dict[str, dict[str, Any]]:
    """Return the columns of a table, in order, as a BIDS data dictionary."""
    names = {"description": "Description", "units": "Units", "levels": "Levels"}
    return {
        column: {names[key]: value for key, value in entry.items()}
        for column, entry in _read("columns.yaml")[table].items()
    }


def _read(name: str) -> dict[str, Any]:
    import yaml

    text = (packaged_folder("derivatives_spec") / name).read_text(encoding="utf-8")
    # The parser in C takes a tenth of the time; PyYAML can be built without it.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content: dict[str, Any] = yaml.load(text, loader)
    return content
