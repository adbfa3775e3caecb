"""Figures of a cohort: mean and spread by region, and values far from the rest."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

LIMIT = 3.5
FEWEST = 5
SCREENED = ("gm_mean_cbf", "gm_wm_ratio", "spatial_cov", "cbf_mean", "asymmetry")


@dataclass(frozen=True)
class Outlier:
    """A value far from the others of its site; it stays in every table."""

    run: str
    site: str
    region: str
    hemisphere: str
    metric: str
    value: float
    units: str
    median: float
    z: float


@dataclass(frozen=True)
class Screening:
    """Outliers, and which sites were screened or had too few runs to be."""

    outliers: tuple[Outlier, ...]
    screened: tuple[tuple[str, int], ...]
    too_few: tuple[tuple[str, int], ...]


def robust_z(values: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Return 0.6745·(x − median)/MAD (Iglewicz and Hoaglin 1993); NaN where the MAD is 0.

    Parameters
    ----------
    values
        Shape (n,), NaN where unknown.

    Examples
    --------
    >>> robust_z(np.array([1.0, 2.0, 3.0, 4.0, 100.0])).round(2).tolist()
    [-1.35, -0.67, 0.0, 0.67, 65.43]
    """
    if not np.isfinite(values).any():
        return np.full(values.shape, np.nan)
    deviation = values - np.nanmedian(values)
    spread = float(np.nanmedian(np.abs(deviation)))
    return 0.6745 * deviation / spread if spread > 0 else np.full(values.shape, np.nan)


def screen(table: "pd.DataFrame") -> Screening:
    """Look for values with a robust |z| above 3.5 within each site of at least five runs.

    Parameters
    ----------
    table
        The long table.
    """
    sizes = table.groupby("site")["run"].nunique()
    found: list[Outlier] = []
    chosen = table[table["metric"].isin(SCREENED)]
    for site in sizes.index[sizes >= FEWEST]:
        here = chosen[chosen["site"] == site]
        for _, rows in here.groupby(["metric", "region", "hemisphere"], sort=False):
            found += _far(rows)
    pairs = [(str(site), int(size)) for site, size in sizes.items()]
    return Screening(
        tuple(sorted(found, key=lambda one: (one.run, -abs(one.z), one.region))),
        tuple(pair for pair in pairs if pair[1] >= FEWEST),
        tuple(pair for pair in pairs if pair[1] < FEWEST),
    )


def _far(rows: "pd.DataFrame") -> list[Outlier]:
    values = rows["value"].to_numpy(dtype=float)
    if np.isfinite(values).sum() < FEWEST:
        return []
    scores = robust_z(values)
    return [
        Outlier(
            run=str(row["run"]),
            site=str(row["site"]),
            region=str(row["region"]),
            hemisphere=str(row["hemisphere"]),
            metric=str(row["metric"]),
            value=float(row["value"]),
            units=str(row["units"]),
            median=float(np.nanmedian(values)),
            z=float(score),
        )
        for score, (_, row) in zip(scores, rows.iterrows(), strict=True)
        if abs(score) > LIMIT
    ]


def regional_summary(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return mean, SD and n over participants for every region, side and for the asymmetry.

    The runs of a participant are averaged first, so that nobody counts twice. The SD is NaN for
    one participant.

    Parameters
    ----------
    table
        The long table.

    Returns
    -------
    pandas.DataFrame
        Columns region, hemisphere (L, R, n/a), metric (cbf_mean, asymmetry), mean, sd, n; regions
        in the order of the table.
    """
    chosen = table[table["metric"].isin(("cbf_mean", "asymmetry"))]
    keys = ["region", "hemisphere", "metric"]
    persons = chosen.groupby([*keys, "participant"], sort=False)["value"].mean()
    summary = persons.groupby(keys, sort=False).agg(["mean", "std", "count"]).reset_index()
    return summary.rename(columns={"std": "sd", "count": "n"})
