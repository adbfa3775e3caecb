"""Regional statistics and asymmetry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

MIN_COVERAGE = 0.5
MIN_VOXELS = 10
UNTRUSTED = "registration"
"""Reason for no numbers at all: regions may lie elsewhere in this brain."""
NO_TIME = 4 | 8 | 32
"""Flags of voxels whose transit time means nothing: no perfusion, not converged, no data."""
CENSORED = 1 | 2
"""Flags of voxels of which only a limit is known: before the first delay, or the upper end."""


def regional_statistics(
    values: NDArray[np.floating],
    labels: NDArray[np.integer],
    mask: NDArray[np.bool_],
    coverage: Mapping[int, float],
    regions: pd.DataFrame,
) -> pd.DataFrame:
    """Summarise a map over the regions of an atlas.

    Parameters
    ----------
    values
        Map (x, y, z).
    labels
        Atlas labels on the same grid.
    mask
        Brain mask.
    coverage
        For each label, the fraction of the region that was imaged; see `imaged_fraction`.
    regions
        Table with index, name, hemisphere, group.

    Returns
    -------
    DataFrame
        `regions` with mean, median, sd, n_voxels, coverage, asymmetry, reason. A region with
        less than 50 % coverage or fewer than 10 voxels has NaN and the reason.
    """
    rows = []
    for label in regions["index"]:
        region = (labels == label) & mask & np.isfinite(values)
        inside, covered = values[region], coverage.get(int(label), 0.0)
        reason = _reason(inside.size, covered)
        known = reason == "n/a"
        rows.append(
            {
                "mean": inside.mean() if known else np.nan,
                "median": np.median(inside) if known else np.nan,
                "sd": inside.std(ddof=1) if known else np.nan,
                "n_voxels": int(inside.size),
                "coverage": covered,
                "reason": reason,
            }
        )
    table = regions.assign(**{key: [row[key] for row in rows] for key in rows[0]})
    table["asymmetry"] = asymmetry(table)
    return table[[*table.columns.drop(["asymmetry", "reason"]), "asymmetry", "reason"]]


def transit_statistics(
    att: NDArray[np.floating],
    flags: NDArray[np.integer],
    *,
    labels: NDArray[np.integer],
    mask: NDArray[np.bool_],
    coverage: Mapping[int, float],
    regions: pd.DataFrame,
) -> pd.DataFrame:
    """Summarise arterial transit times over the regions of an atlas.

    Parameters
    ----------
    att
        Transit times (x, y, z), s.
    flags
        What the fit says of each voxel, a sum as in `cereflow_bids.perfusion.estimate.Flag`.
    labels, mask, coverage, regions
        As for `regional_statistics`.

    Returns
    -------
    DataFrame
        `regions` with mean, median, sd, n_voxels, coverage, censored, difference, reason. Voxels
        without a transit time are left out; those of which only a limit is known count with it,
        and `censored` is their share. The difference is left minus right, s.
    """
    known = np.where((flags & NO_TIME) > 0, np.nan, att)
    table = regional_statistics(known, labels, mask, coverage, regions)
    only_limit = ((flags & CENSORED) > 0) & mask & np.isfinite(known)
    limits = np.bincount(labels[only_limit], minlength=int(regions["index"].max()) + 1)
    with_numbers = table["reason"] == "n/a"
    table["censored"] = (limits[table["index"]] / table["n_voxels"].clip(1)).where(with_numbers)
    sides = _means_by_side(table)
    paired = table["hemisphere"].isin(["L", "R"])
    table["difference"] = table["name"].map(sides["L"] - sides["R"]).where(paired)
    columns = [*table.columns.drop(["asymmetry", "reason", "censored", "difference"])]
    return table[[*columns, "censored", "difference", "reason"]]


def without_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of regions without what the map has there: registration is not trusted.

    Voxels and coverage stay.
    """
    kept = ("index", "name", "hemisphere", "group", "n_voxels", "coverage")
    blank = dict.fromkeys(table.columns.drop([*kept, "reason"]), np.nan)
    return table.assign(**blank, reason=UNTRUSTED)


def imaged_fraction(
    atlas_labels: NDArray[np.integer], mask_on_atlas: NDArray[np.bool_]
) -> dict[int, float]:
    """Return for each label the fraction of its atlas voxels that lie in the brain mask.

    Parameters
    ----------
    atlas_labels
        Labels on the atlas's own grid.
    mask_on_atlas
        The run's brain mask, brought to that grid.
    """
    labels = atlas_labels.ravel()
    total = np.bincount(labels)
    inside = np.bincount(labels[mask_on_atlas.ravel()], minlength=total.size)
    return {int(k): float(inside[k] / total[k]) for k in np.flatnonzero(total) if k}


def asymmetry(table: pd.DataFrame) -> pd.Series:
    """Return 200·(L − R)/(L + R) of the means, %, on both rows of each pair.

    NaN unless both are above 0: the index has no bounds otherwise.

    Parameters
    ----------
    table
        With name, hemisphere and mean.
    """
    sides = _means_by_side(table)
    sides = sides.where(sides > 0)
    index = 200 * (sides["L"] - sides["R"]) / (sides["L"] + sides["R"])
    return table["name"].map(index).where(table["hemisphere"].isin(["L", "R"]))


def _means_by_side(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean of each region's left and right side, in columns L and R."""
    pairs = table[table["hemisphere"].isin(["L", "R"])]
    means = pairs.pivot_table(index="name", columns="hemisphere", values="mean")
    return means.reindex(columns=["L", "R"])


def _reason(n_voxels: int, covered: float) -> str:
    if covered < MIN_COVERAGE:
        return "coverage"
    return "voxels" if n_voxels < MIN_VOXELS else "n/a"
