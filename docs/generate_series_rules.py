"""Write docs/series_rules.md from the rules of heuristics/cereflow.py, so that they agree."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from cereflow_bids.intake import heuristic

PROJECT = Path(__file__).resolve().parent.parent
PAGE = PROJECT / "docs" / "series_rules.md"
VENDORS = {
    "ge": "GE",
    "philips": "Philips",
    "siemens": "Siemens",
    "any": "T1w, all vendors",
}
COLUMNS = ("", "Rule", "Condition", "Taken for", "Becomes", "Tested on")

OPENING = """\
# Series rules

<!-- Written by `make docs` from heuristics/; edit that, not this page. -->

Each series of an upload is compared with the rules of its vendor, by Manufacturer (0008,0070),
then with those for T1w images, in the order below. The first that fits decides; a series that fits
none is not converted. *Name* means series description or protocol name, and `…` stands for folder
or name of participant and session. The last column says what the tests of a rule rest on: a real
scan or, where there is no public sample, DICOM that the project writes itself.
"""


def series_rules_page() -> str:
    """Return the whole page as Markdown."""
    rules = heuristic.rules()
    unknown = {rule.vendor for rule in rules.RULES} - set(VENDORS)
    if unknown:
        raise ValueError(f"cereflow.py has rules of vendors that this page lacks: {unknown}")
    parts = [OPENING]
    for vendor, title in VENDORS.items():
        own = [rule for rule in rules.RULES if rule.vendor == vendor]
        rows = [_row(number, rule, rules) for number, rule in enumerate(own, start=1)]
        parts.append(f"## {title}\n")
        parts.append(_table(COLUMNS, rows))
    return "\n".join(parts)


def _row(number: int, rule: Any, rules: ModuleType) -> tuple[str, ...]:
    place = _place(rule.kind, rules)
    return str(number), f"`{rule.name}`", rule.says, rule.why, place, rule.tested


def _place(kind: str | None, rules: ModuleType) -> str:
    """Return where a series of one kind goes, as the heuristic names it."""
    if kind is None:
        return "left out"
    (stem,) = rules.stems([kind])
    blank = {"bids_subject_session_dir": "…", "bids_subject_session_prefix": "…"}
    return f"`{stem.format(**blank).removeprefix('…/')}`"


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(series_rules_page(), encoding="utf-8")
