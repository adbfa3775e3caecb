"""The report of one participant: all runs, one HTML page and its PDF."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cereflow_bids.bids.derivatives import DerivativeWriter
from cereflow_bids.errors import UsageError
from cereflow_bids.report.banner import banner, quality_rows
from cereflow_bids.report.parameters import acquisition_rows, parameter_rows
from cereflow_bids.report.reactivity import reactivity_sections
from cereflow_bids.report.region_table import flagged_pairs, number, region_groups
from cereflow_bids.report.rendering import data_uri, render_html, render_pdf
from cereflow_bids.report.run_figures import draw_run_figures
from cereflow_bids.report.runs import RunRecord, read_run
from cereflow_bids.report.territory_table import territory_rows

if TYPE_CHECKING:
    import pandas as pd


def build_participant_report(
    out_dir: Path,
    participant: str,
    runs: Sequence[str],
    *,
    notes: Sequence[str] = (),
    processed: str = "",
) -> tuple[Path, Path]:
    """Write ``sub-XX.html`` and ``sub-XX.pdf`` from the derivatives on disk.

    Parameters
    ----------
    out_dir
        The output folder.
    participant
        Label, with or without ``sub-``.
    runs
        Entities of the runs in the order of the report, e.g. ``sub-01_ses-1_run-2``.
    notes
        Remarks on the participant as a whole.
    processed
        Day of processing as text. Left out by default, so that the same derivatives always give
        the same bytes.

    Returns
    -------
    tuple of Path
        The HTML page and the PDF.

    Raises
    ------
    InputError
        If a finished run lacks a file.
    UsageError
        If no run is given or a run belongs to somebody else.
    """
    label = "sub-" + participant.removeprefix("sub-")
    strangers = [run for run in runs if run.split("_")[0] != label]
    if strangers or not runs:
        raise UsageError(
            f"runs of another participant: {', '.join(strangers)}."
            if runs
            else "there is no run to report.",
            where=label,
            fix="give the runs of this participant.",
        )
    writer = DerivativeWriter(out_dir)
    records = [read_run(writer, run) for run in runs]
    html = render_html(
        "participant.html.j2",
        participant=label,
        runs=[run_content(writer, record) for record in records],
        compared=reactivity_sections(writer, label),
        notes=list(notes),
        processed=processed,
        delays=sorted({delay for record in records for delay in record.delays}),
        absolute=any(record.state == "done" and not record.refused for record in records),
        single_delay=any(len(record.delays) == 1 for record in records),
        several_delays=any(record.has_att for record in records),
        consensus_model=any(record.parameter("KineticModel") == "consensus" for record in records),
    )
    page = writer.write_text("report_html", html, participant=label)
    return page, writer.write_bytes("report_pdf", render_pdf(html), participant=label)


def run_content(writer: DerivativeWriter, record: RunRecord) -> dict[str, Any]:
    """Return everything that the template shows of one run."""
    done = record.state == "done"
    gm_mean = record.quality.get("gm_mean_cbf", math.nan)
    regions = _regions(record.regions, gm_mean)
    figures = draw_run_figures(writer, record) if done else {}
    return {
        "run": record.run,
        "session": record.session,
        "scanner": " ".join(
            str(record.acquisition.get(key, ""))
            for key in ("Manufacturer", "ManufacturersModelName")
        ).strip(),
        "state": record.state,
        "step": record.step,
        "refused": record.refused,
        "withheld": record.sidecar.get("RegionsWithheld", ""),
        "done": done,
        "banner": banner(record),
        "tiles": headline_numbers(record) if done and not record.refused else [],
        "acquisition": acquisition_rows(record),
        "parameters": parameter_rows(record),
        "pulsed": record.acquisition.get("ArterialSpinLabelingType") == "PASL",
        "quantification": record.sidecar.get("Quantification", ""),
        "reference": record.sidecar.get("Reference", ""),
        "figures": {key: data_uri(png) for key, png in figures.items()},
        "quality": quality_rows(record) if done else [],
        "gm_mean": number(gm_mean, 1),
        "regions": regions,
        "territories": territory_rows(record),
        "pure_regions": _regions(record.regions_gm, _overall(record.regions_gm)),
        "notes": record.sidecar.get("Notes", []),
    }


def _regions(table: "pd.DataFrame | None", gm_mean: float) -> dict[str, Any]:
    """Return what the template's table of regions shows; no groups without a table."""
    groups = [] if table is None else region_groups(table, gm_mean)
    flagged, pairs = flagged_pairs(groups)
    return {"groups": groups, "flagged": flagged, "pairs": pairs, "gm_mean": number(gm_mean, 1)}


def _overall(table: "pd.DataFrame | None") -> float:
    """Return the mean over all regions, weighted by their voxels; NaN without a table."""
    if table is None:
        return math.nan
    known = table[table["mean"].notna() & (table["n_voxels"] > 0)]
    total = float(known["n_voxels"].sum())
    return float((known["mean"] * known["n_voxels"]).sum()) / total if total else math.nan


def headline_numbers(record: RunRecord) -> list[tuple[str, str, str]]:
    """Return (label, value, unit) of the few numbers that are read first."""
    quality = record.quality
    return [
        ("Grey matter CBF", number(quality.get("gm_mean_cbf", math.nan), 1), "mL/100 g/min"),
        ("White matter CBF", number(quality.get("wm_mean_cbf", math.nan), 1), "mL/100 g/min"),
        ("Grey / white ratio", number(quality.get("gm_wm_ratio", math.nan), 2), ""),
        ("Spatial CoV", number(quality.get("spatial_cov", math.nan), 2), ""),
    ]
