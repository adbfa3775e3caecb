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
    total = np.bincount(atlas_labels.ravel())
    inside = np.bincount(atlas_labels[mask_on_atlas], minlength=total.size)
    return {int(k): float(inside[k] / total[k]) for k in np.flatnonzero(total) if k}


def asymmetry(table: pd.DataFrame) -> pd.Series:
    """Return 200·(L − R)/(L + R) of the means, %, on both rows of each pair.

    NaN unless both are above 0: the index has no bounds otherwise.

    Parameters
    ----------
    table
        With name, hemisphere and mean.
    """
    pairs = table[table["hemisphere"].isin(["L", "R"])]
    means = pairs.pivot_table(index="name", columns="hemisphere", values="mean")
    sides = means.reindex(columns=["L", "R"])
    sides = sides.where(sides > 0)
    index = 200 * (sides["L"] - sides["R"]) / (sides["L"] + sides["R"])
    return table["name"].map(index).where(table["hemisphere"].isin(["L", "R"]))


def _reason(n_voxels: int, covered: float) -> str:
    if covered < MIN_COVERAGE:
        return "coverage"
    return "voxels" if n_voxels < MIN_VOXELS else "n/a"
