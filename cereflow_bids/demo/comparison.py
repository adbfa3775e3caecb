"""True against recovered CBF, region by region."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

from cereflow_bids.bids.derivatives import DerivativeWriter
from cereflow_bids.demo.scans import DemoScan
from cereflow_bids.errors import InputError
from cereflow_bids.regions.atlas import packaged_atlas

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

TOLERANCE_PERCENT = 10.0
COLUMNS = (
    "scan",
    "run",
    "index",
    "region",
    "hemisphere",
    "true_cbf",
    "recovered_cbf",
    "error_percent",
    "n_voxels",
    "reason",
)


def compare(scans: list[DemoScan], out_dir: Path) -> pd.DataFrame:
    """Join the truth of every scan with the regional table that the pipeline wrote.

    Parameters
    ----------
    scans
        What was simulated.
    out_dir
        Derivatives of the ordinary commands.

    Returns
    -------
    DataFrame
        One row per scan and region; CBF in mL/100 g/min, ``n/a`` as missing.

    Raises
    ------
    InputError
        If a scan has no regional table.
    """
    import pandas as pd

    runs = _runs_by_manufacturer(out_dir)
    names = packaged_atlas().regions()[["index", "name", "hemisphere"]]
    parts = []
    for scan in scans:
        if scan.manufacturer not in runs:
            raise InputError(
                f"the {scan.manufacturer} scan of the demo has no CBF map.",
                where=str(out_dir),
                fix="read logs/status in that folder: it says which step failed.",
            )
        run = runs[scan.manufacturer]
        path = DerivativeWriter(out_dir).path("regions", run)
        found = pd.read_csv(path, sep="\t", na_values="n/a", keep_default_na=False)
        found = found[["index", "mean", "n_voxels", "reason"]]
        part = names.merge(found, on="index", how="left")
        part.insert(0, "scan", scan.manufacturer)
        part.insert(1, "run", run)
        part["true_cbf"] = part["index"].map(scan.regional_means)
        parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    table = table.rename(columns={"name": "region", "mean": "recovered_cbf"})
    table["error_percent"] = 100 * (table["recovered_cbf"] / table["true_cbf"] - 1)
    return table[list(COLUMNS)]


def outside_tolerance(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows whose recovered CBF is off by more than the tolerance, or is not there."""
    return table[~(table["error_percent"].abs() <= TOLERANCE_PERCENT)]


def complaints(table: pd.DataFrame) -> list[str]:
    """Return a line on every row outside the tolerance.

    Parameters
    ----------
    table
        As from `compare`.
    """
    lines = []
    for _, row in outside_tolerance(table).iterrows():
        place = f"{row['scan']}, {row['region']} {row['hemisphere']}"
        error = float(row["error_percent"])
        if isnan(error):
            reason = f" ({row['reason']})" if isinstance(row["reason"], str) else ""
            lines.append(f"Not recovered: {place}: n/a{reason}")
        else:
            lines.append(f"More than {TOLERANCE_PERCENT:g} % off: {place}: {error:+.1f} %")
    return lines


def show(table: pd.DataFrame, console: Console) -> None:
    """Print one line per region, and a summary per scan.

    Parameters
    ----------
    table
        As from `compare`.
    console
        Where to; without a terminal the lines are plain text.
    """
    from rich.table import Table

    scans = list(dict.fromkeys(table["scan"]))
    rows = _lines(table, scans)
    heading = ["region", "side", *(f"{scan} true → found (error)" for scan in scans)]
    if console.is_terminal:
        grid = Table(*heading, title="CBF, mL/100 g/min")
        for row in rows:
            grid.add_row(*row)
        console.print(grid)
    else:
        widths = [max(map(len, column)) for column in zip(heading, *rows, strict=True)]
        for row in [heading, *rows]:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            console.print("  ".join(cells).rstrip(), soft_wrap=True, highlight=False, markup=False)
    for scan in scans:
        console.print(_summary(table[table["scan"] == scan], scan), highlight=False)


def _lines(table: pd.DataFrame, scans: list[str]) -> list[list[str]]:
    lines = []
    for _, rows in table.groupby("index", sort=False):
        values = zip(rows["scan"], rows["true_cbf"], rows["recovered_cbf"], strict=True)
        cells = {scan: _cell(float(true), float(found)) for scan, true, found in values}
        first = rows.iloc[0]
        lines.append([first["region"], first["hemisphere"], *(cells[scan] for scan in scans)])
    return lines


def _cell(true: float, recovered: float) -> str:
    if isnan(true) or isnan(recovered):
        return "n/a"
    return f"{true:5.1f} → {recovered:5.1f} ({100 * (recovered / true - 1):+5.1f} %)"


def _summary(rows: pd.DataFrame, scan: str) -> str:
    errors = rows["error_percent"].dropna()
    missing = len(rows) - len(errors)
    if errors.empty:
        return f"{scan}: no region recovered, {missing} n/a"
    return (
        f"{scan}: {len(errors)} regions, mean error {errors.mean():+.1f} %, "
        f"largest {errors.abs().max():.1f} %, {missing} n/a"
    )


def _runs_by_manufacturer(out_dir: Path) -> dict[str, str]:
    """Return manufacturer → run, from the sidecars of the CBF maps."""
    import json

    runs = {}
    for sidecar in sorted(out_dir.glob("sub-*/**/perf/*_cbf.json")):
        run = sidecar.name.removesuffix("_cbf.json")
        if "_desc-" in run or "_space-" in run or "_atlas-" in run:
            continue
        content = json.loads(sidecar.read_text(encoding="utf-8"))
        runs[str(content["Acquisition"]["Manufacturer"])] = run
    return runs
