"""Arterial territories and border zones as they are printed: one short table."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cereflow_bids.regions.atlas import BORDER_ZONES, TERRITORIES
from cereflow_bids.report.region_table import RegionRow, Side, number, region_groups
from cereflow_bids.report.runs import RunRecord

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class TerritoryRow:
    """A territory or border zone, left and right, as text; transit times empty without delays."""

    name: str
    left: str
    right: str
    asymmetry: str
    flagged: bool
    att_left: str = ""
    att_right: str = ""
    att_difference: str = ""


def territory_rows(record: RunRecord) -> list[TerritoryRow]:
    """Return the rows of both arterial atlases; none where there are no tables of them."""
    rows = []
    for atlas in (TERRITORIES, BORDER_ZONES):
        tables = record.atlases.get(atlas, {})
        if "regions" in tables:
            times = _times(tables.get("regions_att"))
            groups = region_groups(tables["regions"], math.nan)
            rows += [_row(row, times) for group in groups for row in group.rows]
    return rows


def _row(row: RegionRow, times: Mapping[tuple[str, str], "pd.Series"]) -> TerritoryRow:
    left, right = times.get((row.name, "L")), times.get((row.name, "R"))
    if row.midline:
        left, right = times.get((row.name, "n/a")), None
    difference = math.nan if left is None else float(left["difference"])
    return TerritoryRow(
        row.name,
        _mean(row.left),
        _mean(row.right),
        row.asymmetry,
        row.flagged,
        att_left="" if left is None else number(float(left["mean"]), 2),
        att_right="" if right is None else number(float(right["mean"]), 2),
        att_difference=f"{difference:+.2f}" if math.isfinite(difference) else "",
    )


def _mean(side: Side | None) -> str:
    return "" if side is None else side.reason or side.mean


def _times(table: "pd.DataFrame | None") -> dict[tuple[str, str], "pd.Series"]:
    if table is None:
        return {}
    return {(str(row["name"]), str(row["hemisphere"])): row for _, row in table.iterrows()}
