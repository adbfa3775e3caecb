"""The regional table as it is printed: by lobe, left and right side by side."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

ASYMMETRY_LIMIT = 10.0
REASONS = {
    "coverage": "n/a: < 50 % covered",
    "voxels": "n/a: < 10 voxels",
    "registration": "n/a: registration",
}


@dataclass(frozen=True)
class Side:
    """One side of a region as text; ``reason`` instead of numbers where there are none."""

    mean: str
    median: str
    sd: str
    relative: str
    n_voxels: str
    coverage: str
    reason: str


@dataclass(frozen=True)
class RegionRow:
    """A region with its left and right side, or one midline structure (``right`` is None)."""

    name: str
    left: Side | None
    right: Side | None
    midline: bool
    asymmetry: str
    flagged: bool


@dataclass(frozen=True)
class RegionGroup:
    """A lobe or larger structure and its regions."""

    name: str
    rows: tuple[RegionRow, ...]


def region_groups(regions: "pd.DataFrame", gm_mean: float) -> list[RegionGroup]:
    """Arrange the table of regions for print, in the order of the file.

    Parameters
    ----------
    regions
        Columns of ``regions`` in derivatives_spec/columns.yaml, CBF in mL/100 g/min.
    gm_mean
        Mean CBF of the whole grey matter, the reference of relative CBF; NaN if unknown.
    """
    groups = []
    for group, members in regions.groupby("group", sort=False):
        names = dict.fromkeys(members["name"])
        rows = [_row(members[members["name"] == name], name, gm_mean) for name in names]
        groups.append(RegionGroup(str(group), tuple(rows)))
    return groups


def flagged_pairs(groups: list[RegionGroup]) -> tuple[int, int]:
    """Return how many pairs exceed the asymmetry limit, and how many have an asymmetry."""
    rows = [row for group in groups for row in group.rows if row.asymmetry not in ("", "n/a")]
    return sum(row.flagged for row in rows), len(rows)


def _row(members: "pd.DataFrame", name: str, gm_mean: float) -> RegionRow:
    sides = {str(row["hemisphere"]): _side(row, gm_mean) for _, row in members.iterrows()}
    if "L" not in sides and "R" not in sides:
        return RegionRow(name, next(iter(sides.values())), None, True, "", False)
    asymmetry = float(members["asymmetry"].iloc[0])
    known = math.isfinite(asymmetry)
    return RegionRow(
        name,
        sides.get("L"),
        sides.get("R"),
        midline=False,
        asymmetry=f"{asymmetry:+.1f}" if known else "n/a",
        flagged=known and abs(asymmetry) > ASYMMETRY_LIMIT,
    )


def _side(row: "pd.Series", gm_mean: float) -> Side:
    mean = float(row["mean"])
    relative = mean / gm_mean if gm_mean > 0 else math.nan
    reason = str(row["reason"])
    return Side(
        mean=number(mean, 1),
        median=number(float(row["median"]), 1),
        sd=number(float(row["sd"]), 1),
        relative=number(relative, 2),
        n_voxels=number(float(row["n_voxels"]), 0),
        coverage=number(100 * float(row["coverage"]), 0),
        reason="" if reason in ("n/a", "") else REASONS.get(reason, f"n/a: {reason}"),
    )


def number(value: float, digits: int) -> str:
    """Return a number with fixed digits, or ``n/a``."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "n/a"
