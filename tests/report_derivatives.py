"""Derivatives of small made-up runs, written through the ordinary writer."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cereflow_bids.bids import status
from cereflow_bids.bids.derivatives import DerivativeWriter
from cereflow_bids.regions.atlas import GYRAL, TERRITORIES
from cereflow_bids.regions.statistics import without_numbers
from cereflow_bids.resources import RESOURCES

ATLAS = RESOURCES / "atlases" / "DesikanKilliany" / "atlas-DesikanKilliany_dseg.tsv"
AFFINE = np.diag([4.0, 4.0, 6.0, 1.0])
AFFINE[:3, 3] = (-42, -50, -36)
SHAPE = (22, 26, 14)

PARAMETERS = [
    {"name": "PostLabelingDelay", "value": 2.0, "unit": "s", "origin": "command line", "note": ""},
    {"name": "LabelingDuration", "value": 1.8, "unit": "s", "origin": "sidecar", "note": ""},
    {"name": "LabelingEfficiency", "value": 0.85, "unit": "1", "origin": "default", "note": ""},
    {"name": "BloodT1", "value": 1.65, "unit": "s", "origin": "derived", "note": "at 3 T"},
    {"name": "PartitionCoefficient", "value": 0.9, "unit": "mL/g", "origin": "default",
     "note": ""},
    {"name": "SliceTiming", "value": [0.05 * k for k in range(14)], "unit": "s",
     "origin": "header", "note": ""},
]  # fmt: skip


def sidecar(**changes: Any) -> dict[str, Any]:
    """Return the sidecar of a CBF map."""
    content = {
        "Description": "CBF",
        "Units": "mL/100 g/min",
        "Sources": ["bids:raw:perf/asl.nii.gz"],
        "Quantification": "consensus single-delay PCASL",
        "Reference": "Alsop 2015, doi:10.1002/mrm.25197",
        "Parameters": PARAMETERS,
        "Acquisition": {
            "Manufacturer": "Philips",
            "ManufacturersModelName": "Elition X",
            "MagneticFieldStrength": 3,
            "MRAcquisitionType": "3D",
            "ArterialSpinLabelingType": "PCASL",
            "M0Type": "Included",
            "BackgroundSuppression": True,
            "VoxelSize": [4.0, 4.0, 6.0],
            "NumberOfPairs": 8,
        },
        "Notes": ["Motion correction skipped: one average per volume type."],
    }
    return {**content, **changes}


def ellipsoid() -> np.ndarray:
    """Return a brain-shaped mask."""
    grid = np.indices(SHAPE) + 0.5
    centre = np.array(SHAPE) / 2
    radius = centre - 1.5
    return (((grid.T - centre) / radius) ** 2).sum(-1).T < 1


def atlas_labels() -> dict[str, np.ndarray]:
    """Return labels by atlas: a gyrus in front and one behind, on each side, and its artery."""
    left = np.indices(SHAPE)[0] < SHAPE[0] // 2
    front = np.indices(SHAPE)[1] > SHAPE[1] // 2
    gyral = np.where(front, 3, 25) + np.where(left, 1000, 2000)
    fed = np.where(front, 1, 5) + np.where(left, 0, 1)
    return {GYRAL: ellipsoid() * gyral, TERRITORIES: ellipsoid() * fed}


def region_table(cbf: float = 50.0) -> pd.DataFrame:
    """Return a regional table: one pair far apart, one region not covered, one too small."""
    table = pd.read_csv(ATLAS, sep="\t", keep_default_na=False).drop(columns="volume_mm3")
    wave = np.sin(np.arange(len(table)))
    table["mean"] = cbf + 3 * wave
    table["median"] = table["mean"] - 0.5
    table["sd"] = 9.5
    table["n_voxels"] = 120
    table["coverage"] = 0.98
    table["asymmetry"] = 2.5
    table.loc[table["hemisphere"] == "n/a", "asymmetry"] = np.nan
    table.loc[table["name"] == "precuneus", "asymmetry"] = -14.2
    table["reason"] = "n/a"
    for name, reason, voxels, coverage in (
        ("cerebellar cortex", "coverage", 300, 0.2),
        ("frontal pole", "voxels", 6, 0.9),
    ):
        rows = table["name"] == name
        table.loc[rows, ["mean", "median", "sd", "asymmetry"]] = np.nan
        table.loc[rows, "reason"] = reason
        table.loc[rows, "n_voxels"] = voxels
        table.loc[rows, "coverage"] = coverage
    return table


def quality_table(**changes: Any) -> pd.DataFrame:
    """Return the quality table of a good run, with changes."""
    row = {
        "gm_mean_cbf": 52.0,
        "wm_mean_cbf": 21.0,
        "gm_wm_ratio": 2.48,
        "spatial_cov": 0.41,
        "spatial_cov_category": "perfusion",
        "negative_fraction": 0.01,
        "fraction_above_100": 0.03,
        "fraction_above_150": 0.002,
        "fraction_above_200": 0.0,
        "contrast_correlation": 0.71,
        "qei": 0.83,
        "temporal_snr": 4.2,
        "mean_deltam_percent": 1.2,
        "mean_framewise_displacement": np.nan,
        "max_framewise_displacement": np.nan,
        "mask_volume": 1340.0,
        "mask_coverage": 0.97,
        "mask_dice": 0.95,
        "mask_overlap_coefficient": 0.97,
        "inner_contrast": 0.11,
        "t1w_spread": np.nan,
        "t1w_overlap": np.nan,
        "t1w_sides": np.nan,
        "template_spread": 0.3,
        "template_disagreement": 1.3,
        "template_outline": 0.97,
        "template_contrast": 0.46,
        "template_coverage": 0.98,
        "n_pairs": 8,
        "flags": "n/a",
    }
    return pd.DataFrame([{**row, **changes}])


def confounds_table(moved: bool) -> pd.DataFrame:
    """Return motion of 9 volumes, or a table of ``n/a``."""
    names = ["trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"]
    steps = 0.05 * np.sin(np.arange(9)[:, None] + np.arange(6)) if moved else np.full((9, 6), None)
    table = pd.DataFrame(steps, columns=names, dtype=float)
    table["framewise_displacement"] = np.abs(table["trans_x"]) + (0.1 if moved else np.nan)
    table.loc[0] = np.nan
    table.insert(0, "volume_type", ["m0scan"] + ["control", "label"] * 4)
    table["rejected"] = ["n/a"] * 7 + ["an outlier by SCORE"] * 2
    return table


def write_run(
    out_dir: Path,
    run: str,
    *,
    refused: str = "",
    withheld: str = "",
    moved: bool = False,
    cbf: float = 52.0,
    acquisition: dict[str, Any] | None = None,
    **quality: Any,
) -> None:
    """Write everything that a finished run leaves."""
    writer = DerivativeWriter(out_dir)
    mask = ellipsoid()
    values = np.where(mask, cbf + 10 * np.cos(np.indices(SHAPE).sum(0)), 0).astype(np.float32)
    content = sidecar()
    content["Acquisition"].update(acquisition or {})
    plain = {"Description": "image"}
    if refused:
        content["Refused"] = refused
        writer.write_image("cbf_relative", run, values / cbf, AFFINE, sidecar=content)
        quality = {"gm_mean_cbf": np.nan, "wm_mean_cbf": np.nan, **quality}
    else:
        content |= {"RegionsWithheld": withheld} if withheld else {}
        regions = region_table(cbf)
        writer.write_image("cbf", run, values, AFFINE, sidecar=content)
        writer.write_table("regions", run, without_numbers(regions) if withheld else regions)
    reference = (mask * 900 + 20).astype(np.float32)
    grey = (mask & (np.indices(SHAPE)[0] > 5)).astype(np.float32)
    writer.write_image("aslref", run, reference, AFFINE, sidecar=plain)
    writer.write_image("brain_mask", run, mask.astype(np.uint8), AFFINE, sidecar=plain)
    writer.write_image("gm_probability", run, grey, AFFINE, sidecar=plain)
    for atlas, labels in atlas_labels().items():
        writer.write_image("atlas_labels", run, labels, AFFINE, sidecar=plain, atlas=atlas)
    measures = quality if refused else {"gm_mean_cbf": cbf, **quality}
    writer.write_table("quality", run, quality_table(**measures))
    writer.write_table("confounds", run, confounds_table(moved))
    write_status(out_dir, run, "done")


def write_status(out_dir: Path, run: str, state: status.State, **texts: str) -> None:
    """Write the status record of a run."""
    label = run.partition("_")[0].removeprefix("sub-")
    record = status.Status(run, label, state, step="quantification", **texts)
    status.write_status(out_dir, record)
