"""The part of a participant's report that compares a baseline with a stimulus run."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from cereflow_bids.bids.derivatives import DerivativeWriter
from cereflow_bids.bids.reactivity_record import ReactivityRecord, read_reactivities
from cereflow_bids.report.figures import registration_overview
from cereflow_bids.report.mosaic import UNDEFINED, Scale, axial_mosaic
from cereflow_bids.report.region_table import REASONS, number
from cereflow_bids.report.rendering import data_uri
from cereflow_bids.report.run_figures import load_image
from cereflow_bids.report.runs import read_json, read_table, sidecar_of

if TYPE_CHECKING:
    import pandas as pd

CHANGE = Scale(
    units="%",
    low=-50.0,
    middle=0.0,
    high=100.0,
    colours="coolwarm",
    below="#00d5e8",
    above="#ffd21f",
    below_label="< −50",
    undefined=UNDEFINED,
)
"""A loss of flow is rarer and smaller than a gain, and what is looked for: it gets as many colours
on half the range."""

NOT_DONE = {
    "waiting": "Not finished",
    "refused": "No reactivity map",
    "failed": "The comparison failed: no reactivity map",
}


def reactivity_sections(writer: DerivativeWriter, participant: str) -> list[dict[str, Any]]:
    """Return everything that the template shows of each pair of runs.

    Parameters
    ----------
    writer
        Knows where the maps lie and where the pictures go.
    participant
        Label with ``sub-``.
    """
    records = read_reactivities(writer.out_dir, participant.removeprefix("sub-"))
    return [_section(writer, record) for record in records]


def _section(writer: DerivativeWriter, record: ReactivityRecord) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "group": record.group,
        "done": record.state == "done",
        "headline": NOT_DONE.get(record.state, ""),
        "level": "red" if record.state == "failed" else "amber",
        "message": record.message,
        "fix": record.fix,
        "baseline": record.baseline,
        "stimulus": record.stimulus,
    }
    if record.state != "done":
        return shown
    content = read_json(sidecar_of(writer.path("cvr", record.baseline)))
    pictures = _draw(writer, record)
    table = writer.path("cvr_regions", record.baseline)
    return shown | {
        "marks": [content[part]["MarkedBy"] for part in ("Baseline", "Stimulus")],
        "tiles": _tiles(content["Means"]),
        "mosaic": data_uri(pictures["figure_cvr"]),
        "registration": data_uri(pictures["figure_cvr_registration"]),
        "notes": content["Notes"],
        "minimum": f"{content['Parameters'][0]['value']:g}",
        "groups": region_groups(read_table(table, "reactivity")) if table.is_file() else [],
    }


def region_groups(table: "pd.DataFrame") -> list[dict[str, Any]]:
    """Arrange the regions for print: by lobe, left and right side by side.

    Parameters
    ----------
    table
        Columns of ``reactivity`` in derivatives_spec/columns.yaml.
    """
    groups = []
    for group, members in table.groupby("group", sort=False):
        rows = []
        for name in dict.fromkeys(members["name"]):
            sides = {str(row["hemisphere"]): _side(row) for _, row in
                     members[members["name"] == name].iterrows()}  # fmt: skip
            middle = "L" not in sides and "R" not in sides
            left = next(iter(sides.values())) if middle else sides.get("L")
            rows.append({"name": name, "left": left, "right": sides.get("R"), "midline": middle})
        groups.append({"name": str(group), "rows": rows})
    return groups


def _side(row: "pd.Series") -> dict[str, str]:
    reason = str(row["reason"])
    known = REASONS | {"baseline": "n/a: baseline too low"}
    return {
        "reason": "" if reason in ("n/a", "") else known.get(reason, f"n/a: {reason}"),
        "baseline": number(float(row["baseline"]), 1),
        "stimulus": number(float(row["stimulus"]), 1),
        "cvr": signed(float(row["cvr"])),
        "n_voxels": number(float(row["n_voxels"]), 0),
    }


def signed(value: float) -> str:
    """Return a change with its sign and one digit, or ``n/a``."""
    return f"{value:+.1f}" if math.isfinite(value) else "n/a"


def _tiles(means: dict[str, Any]) -> list[tuple[str, str, str]]:
    tiles = []
    for label, key in (("Grey matter", "GreyMatter"), ("White matter", "WhiteMatter")):
        known = {k: math.nan if v == "n/a" else float(v) for k, v in means[key].items()}
        flows = f"% ({number(known['Baseline'], 1)} → {number(known['Stimulus'], 1)} mL/100 g/min)"
        tiles.append((f"{label} CVR", signed(known["CVR"]), flows))
    return tiles


def _draw(writer: DerivativeWriter, record: ReactivityRecord) -> dict[str, bytes]:
    run = record.baseline
    cvr, affine = load_image(writer, "cvr", run)
    stimulus, _ = load_image(writer, "cvr_stimulus", run)
    mask, _ = load_image(writer, "brain_mask", run)
    reference, _ = load_image(writer, "cvr_reference", run)
    grey, _ = load_image(writer, "gm_probability", run)
    compared = np.isfinite(cvr.astype(np.float32)) | (stimulus != 0)
    title = f"Cerebrovascular reactivity  ·  {record.group}"
    pictures = {
        "figure_cvr": axial_mosaic(cvr, compared, affine, title=title, scale=CHANGE),
        "figure_cvr_registration": registration_overview(reference, mask, grey, affine),
    }
    for key, png in pictures.items():
        writer.write_bytes(key, png, run=run)
    return pictures
