"""The long table: one row per run, region and metric."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cereflow_bids.bids.spec import column_dictionary
from cereflow_bids.cohort.gather import UNKNOWN, Cohort
from cereflow_bids.report.runs import RunRecord

if TYPE_CHECKING:
    import pandas as pd

QUALITY = "quality"
REGION_METRICS = {"cbf_mean": "mean", "cbf_median": "median", "cbf_sd": "sd"}
TRANSIT_METRICS = {"att_mean": "mean", "att_median": "median", "att_sd": "sd"}
TISSUE = {
    "gm_mean_cbf": "grey matter",
    "wm_mean_cbf": "white matter",
    "gm_wm_ratio": "grey over white matter",
    "spatial_cov": "grey matter",
    "negative_fraction": "grey matter",
    "fraction_above_100": "grey matter",
    "fraction_above_150": "grey matter",
    "fraction_above_200": "grey matter",
    "temporal_snr": "grey matter",
}


def long_table(cohort: Cohort) -> "pd.DataFrame":
    """Return the table ``group`` of derivatives_spec/columns.yaml.

    Parameters
    ----------
    cohort
        All runs; those without results give no row.

    Returns
    -------
    pandas.DataFrame
        Text with ``n/a`` where unknown; value, se, n_voxels and coverage as float with NaN.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for record in cohort.done:
        about = _about(cohort, record)
        rows += [about | row for row in _quality_rows(record)]
        pure = about | {"pvc": "linear-regression"}
        for atlas, tables in record.atlases.items():
            rows += [about | row for row in _region_rows(atlas, tables.get("regions"))]
            rows += [about | row for row in _transit_rows(atlas, tables.get("regions_att"))]
            rows += [pure | row for row in _region_rows(atlas, tables.get("regions_gm"))]
    table = pd.DataFrame(rows, columns=list(column_dictionary("group")))
    numbers = ["value", "se", "n_voxels", "coverage"]
    return table.astype(dict.fromkeys(numbers, float))


def as_csv(table: "pd.DataFrame") -> str:
    """Return the table as CSV text; six significant digits, ``n/a`` where unknown."""
    text: str = table.to_csv(index=False, na_rep=UNKNOWN, float_format="%.6g", lineterminator="\n")
    return text


def _about(cohort: Cohort, record: RunRecord) -> dict[str, Any]:
    acquisition = record.acquisition
    return {
        "participant": record.participant,
        "session": record.session or UNKNOWN,
        "run": record.run,
        "site": cohort.site(record),
        "vendor": acquisition.get("Manufacturer") or UNKNOWN,
        "model": acquisition.get("ManufacturersModelName") or UNKNOWN,
        "labeling": acquisition.get("ArterialSpinLabelingType") or UNKNOWN,
        "n_pld": len(record.delays) or UNKNOWN,
        "method": "relative" if record.refused else record.sidecar.get("Quantification", UNKNOWN),
        "pvc": "none",
        "qc_flag": ";".join(record.flags) or "ok",
    }


def _quality_rows(record: RunRecord) -> Iterator[dict[str, Any]]:
    columns = column_dictionary("quality")
    for metric, value in record.quality.items():
        yield {
            "atlas": QUALITY,
            "region": TISSUE.get(metric, "brain"),
            "hemisphere": UNKNOWN,
            "metric": metric,
            "value": value,
            "units": columns.get(metric, {}).get("Units", UNKNOWN),
        }


def _region_rows(atlas: str, regions: "pd.DataFrame | None") -> Iterator[dict[str, Any]]:
    if regions is None:
        return
    columns = column_dictionary("regions")
    for row in regions.to_dict(orient="records"):
        place = {"atlas": atlas, "region": row["name"]}
        extent = {"n_voxels": row["n_voxels"], "coverage": row["coverage"]}
        for metric, column in REGION_METRICS.items():
            yield (
                place
                | extent
                | {
                    "hemisphere": row["hemisphere"],
                    "metric": metric,
                    "value": row[column],
                    "units": columns[column]["Units"],
                }
            )
        # The table of regions has the asymmetry on both rows of a pair; here it stands once.
        if row["hemisphere"] == "L":
            yield place | {
                "hemisphere": UNKNOWN,
                "metric": "asymmetry",
                "value": row["asymmetry"],
                "units": columns["asymmetry"]["Units"],
            }


def _transit_rows(atlas: str, regions: "pd.DataFrame | None") -> Iterator[dict[str, Any]]:
    if regions is None:
        return
    columns = column_dictionary("regions_att")
    for row in regions.to_dict(orient="records"):
        for metric, column in TRANSIT_METRICS.items():
            yield {
                "atlas": atlas,
                "region": row["name"],
                "hemisphere": row["hemisphere"],
                "metric": metric,
                "value": row[column],
                "units": columns[column]["Units"],
                "n_voxels": row["n_voxels"],
                "coverage": row["coverage"],
            }
