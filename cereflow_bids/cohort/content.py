"""What the cohort report shows, made ready for its template."""

import math
import re
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from cereflow_bids.bids.spec import default_atlas
from cereflow_bids.cohort.distribution import Point, distribution_plot
from cereflow_bids.cohort.gather import UNKNOWN, Cohort
from cereflow_bids.cohort.long_table import QUALITY
from cereflow_bids.cohort.summary import Outlier, regional_summary, screen
from cereflow_bids.quality.flags import limits
from cereflow_bids.quality.measures import SPATIAL_COV_ARTEFACT
from cereflow_bids.report.banner import AMBER, GREEN, MEASURES, RED, Banner, banner
from cereflow_bids.report.region_table import number
from cereflow_bids.report.rendering import data_uri
from cereflow_bids.report.runs import RunRecord

if TYPE_CHECKING:
    import pandas as pd

# The upper limit of CBF is not drawn: it is so far from usual values that it would squeeze them.
PANELS = (
    ("gm_mean_cbf", "Grey matter CBF (mL/100 g/min)", (limits("gm_mean_cbf")[0],)),
    (
        "spatial_cov",
        "Spatial CoV of grey matter CBF",
        (limits("spatial_cov")[1], SPATIAL_COV_ARTEFACT),
    ),
    ("gm_wm_ratio", "Grey / white matter ratio", (limits("gm_wm_ratio")[0],)),
)
NAMED = 8
METRICS = {"cbf_mean": "Regional mean CBF", "asymmetry": "Asymmetry"} | {
    measure.name: measure.label for measure in MEASURES
}


def group_content(cohort: Cohort, table: "pd.DataFrame") -> dict[str, Any]:
    """Return everything that the template of the cohort report names.

    It is of the gyral atlas and of the maps that are not corrected for partial volume; the long
    table has all.
    """
    shown = table["atlas"].isin([QUALITY, default_atlas()]) & ~table["metric"].str.startswith(
        "att"
    )
    table = table[(table["pvc"] == "none") & shown]
    screening = screen(table)
    absolute = cohort.absolute
    plot = distribution_plot([_point(cohort, record) for record in absolute], PANELS)
    return {
        "n_participants": len({record.participant for record in cohort.records}),
        "n_runs": len(cohort.records),
        "banner": cohort_banner(cohort),
        "composition": composition(cohort),
        "joined": bool(cohort.people),
        "runs": [_run_row(cohort, record) for record in cohort.done],
        "cov_artefact": f"{SPATIAL_COV_ARTEFACT:g}",
        "plot": data_uri(plot) if absolute else "",
        "regions": regional_rows(table),
        "n_regional": len({record.participant for record in absolute}),
        "screening": screening,
        "outliers": outlier_rows(screening.outliers),
        "problems": _problems(cohort),
        "vendors": len({record.acquisition.get("Manufacturer") for record in absolute}),
        "flagged": sum(bool(record.flags) for record in absolute),
    }


def cohort_banner(cohort: Cohort) -> Banner:
    """Return whether every run has a result, and what to do about those that have none."""
    states = Counter(record.state for record in cohort.records)
    total, absolute = len(cohort.records), len(cohort.absolute)
    reasons = []
    if states["failed"]:
        reasons.append(
            (f"{states['failed']} of {total} runs failed.", "see the list of problems.")
        )
    if states["pending"]:
        reasons.append(
            (f"{states['pending']} of {total} runs lack a parameter.", "see the list of problems.")
        )
    unfinished = total - sum(states[state] for state in ("done", "failed", "pending"))
    if unfinished:
        reasons.append(
            (f"{unfinished} of {total} runs are not finished.", "summarise again when they are.")
        )
    refused = len(cohort.done) - absolute
    if refused:
        reasons.append(
            (f"{refused} of {total} runs have relative perfusion only.", "see their own reports.")
        )
    flagged = [record for record in cohort.absolute if record.flags]
    if flagged:
        reasons.append(
            (
                f"{len(flagged)} of {total} runs have a quality flag.",
                "see the table of runs; decide beforehand which to leave out, and report it.",
            )
        )
    if cohort.without_runs:
        names = ", ".join(cohort.without_runs)
        reasons.append(
            (
                f"participants.tsv lists {names}, of whom there is no run.",
                "process them, or leave them if they have no ASL scan.",
            )
        )
    headline = f"Absolute CBF in {absolute} of {total} runs"
    level = RED if not absolute else AMBER if reasons else GREEN
    return Banner(level, headline, tuple(reasons))


def composition(cohort: Cohort) -> list[tuple[str, str]]:
    """Return (what, counts as text) rows on who and what was scanned."""
    done = cohort.done
    models = [
        " ".join(
            str(r.acquisition.get(k) or "") for k in ("Manufacturer", "ManufacturersModelName")
        )
        for r in done
    ]
    delays = [", ".join(f"{delay:g} s" for delay in record.delays) for record in done]
    rows = [
        ("Scanners (runs)", _counts(models)),
        ("Labelling (runs)", _counts(r.acquisition.get("ArterialSpinLabelingType") for r in done)),
        ("Post-labelling delays (runs)", _counts(delays)),
        ("Quantification (runs)", _counts(r.sidecar.get("Quantification") for r in done)),
    ]
    runs_of = Counter(record.participant for record in done)
    plural = {count: f"{count} run{'s' if count > 1 else ''}" for count in runs_of.values()}
    rows.append(("Participants with", _counts(plural[count] for count in runs_of.values())))
    people = [cohort.people.get(label, {}) for label in sorted(runs_of)]
    if any("site" in person for person in people):
        rows.append(("Sites (participants)", _counts(person.get("site") for person in people)))
    if any("sex" in person for person in people):
        rows.append(("Sex (participants)", _counts(person.get("sex") for person in people)))
    if any("age" in person for person in people):
        rows.append(("Age (participants)", _ages(person.get("age", "") for person in people)))
    return rows


def _counts(values: Iterable[Any]) -> str:
    counted = Counter(str(value or UNKNOWN).strip() or UNKNOWN for value in values)
    return "; ".join(f"{value}: {count}" for value, count in sorted(counted.items())) or UNKNOWN


def _ages(texts: Iterable[str]) -> str:
    """Return the range of ages; ``89+`` stands for everybody above 89 and counts as 89."""
    ages, unknown = [], 0
    for text in texts:
        if re.fullmatch(r"\d+(\.\d+)?\+?", text):
            ages.append(float(text.removesuffix("+")))
        else:
            unknown += 1
    if not ages:
        return UNKNOWN
    middle = sorted(ages)[(len(ages) - 1) // 2 : len(ages) // 2 + 1]
    extent = f"median {sum(middle) / len(middle):g}, from {min(ages):g} to {max(ages):g} years"
    return f"{extent}; {UNKNOWN}: {unknown}" if unknown else extent


def _point(cohort: Cohort, record: RunRecord) -> Point:
    vendor = str(record.acquisition.get("Manufacturer") or UNKNOWN)
    site = cohort.site(record)
    group = vendor if site == UNKNOWN else f"{vendor}, {site}"
    return Point(group, record.quality, bool(record.flags))


def _run_row(cohort: Cohort, record: RunRecord) -> dict[str, Any]:
    quality = record.quality
    return {
        "run": record.run,
        "report": f"{record.participant}.html" if record.participant in cohort.with_report else "",
        "site": cohort.site(record),
        "scanner": str(record.acquisition.get("Manufacturer") or UNKNOWN),
        "gm": number(quality.get("gm_mean_cbf", math.nan), 1),
        "ratio": number(quality.get("gm_wm_ratio", math.nan), 2),
        "cov": number(quality.get("spatial_cov", math.nan), 2),
        "qei": number(quality.get("qei", math.nan), 2),
        "qei_rank": _rank(cohort, quality.get("qei", math.nan)),
        "motion": number(quality.get("mean_framewise_displacement", math.nan), 2),
        "banner": banner(record),
        "flags": ", ".join(flag.replace("_", " ") for flag in record.flags),
        "refused": record.refused,
    }


def _rank(cohort: Cohort, value: float) -> str:
    """Return the place of a QEI among all runs, 1 the best; runs with the same value share it."""
    values = [record.quality.get("qei", math.nan) for record in cohort.done]
    known = [one for one in values if math.isfinite(one)]
    if not math.isfinite(value):
        return ""
    return f"{1 + sum(one > value for one in known)} of {len(known)}"


def regional_rows(table: "pd.DataFrame") -> list[dict[str, str]]:
    """Return one row per region: name and, for each side and the asymmetry, mean ± SD and n."""
    summary = regional_summary(table)
    rows = []
    for region, members in summary.groupby("region", sort=False):
        by_key = {(m["hemisphere"], m["metric"]): m for _, m in members.iterrows()}
        midline = ("L", "cbf_mean") not in by_key and ("R", "cbf_mean") not in by_key
        row = {"region": str(region), "midline": "yes" if midline else ""}
        sides = {
            "left": (UNKNOWN if midline else "L", "cbf_mean"),
            "right": ("R", "cbf_mean"),
            "asymmetry": (UNKNOWN, "asymmetry"),
        }
        for column, key in sides.items():
            found = by_key.get(key)
            row[column] = _spread(found) if found is not None else ""
            row[f"{column}_n"] = str(int(found["n"])) if found is not None else ""
        rows.append(row)
    return rows


def _spread(row: "pd.Series") -> str:
    if not row["n"]:
        return UNKNOWN
    mean = f"{row['mean']:+.1f}" if row["metric"] == "asymmetry" else f"{row['mean']:.1f}"
    return f"{mean} ± {row['sd']:.1f}" if row["n"] > 1 else mean


def outlier_rows(outliers: Iterable[Outlier]) -> list[dict[str, str]]:
    """Return one row per run and measure: one bad run moves many regions at once.

    The furthest places are named and the others counted; all values are in the long table.
    """
    grouped: dict[tuple[str, str], list[Outlier]] = {}
    for one in outliers:
        grouped.setdefault((one.run, one.metric), []).append(one)
    rows = []
    for (run, metric), members in grouped.items():
        furthest = sorted(members, key=lambda one: -abs(one.z))
        places = "; ".join(_place(one) for one in furthest[:NAMED])
        more = len(members) - NAMED
        rows.append(
            {
                "run": run,
                "site": members[0].site,
                "measure": METRICS[metric],
                "count": str(len(members)),
                "places": f"{places}; and {more} more" if more > 0 else places,
            }
        )
    return rows


def _place(one: Outlier) -> str:
    place = one.region if one.hemisphere == UNKNOWN else f"{one.region} {one.hemisphere}"
    digits = 2 if one.units in ("1", UNKNOWN) else 1
    return f"{place} {one.value:.{digits}f} (z {one.z:+.1f})"


def _problems(cohort: Cohort) -> list[dict[str, str]]:
    return [
        {
            "run": record.run,
            "state": record.state,
            "step": record.step or UNKNOWN,
            "message": record.message or "No message was recorded.",
            "fix": record.fix or "Look into logs/ of the output folder.",
        }
        for record in cohort.records
        if record.state != "done"
    ]
