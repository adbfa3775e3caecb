"""The last step of a run: its derivatives, written through the writer and listed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cereflow_bids.bids.derivatives import DerivativeWriter
from cereflow_bids.bids.run import AslRun
from cereflow_bids.workflow.atlases import Regional, deposit_atlases
from cereflow_bids.workflow.images import load, load_labels, load_mask
from cereflow_bids.workflow.origin import Origin, read_origin
from cereflow_bids.workflow.output_spaces import OutputSpaces
from cereflow_bids.workflow.spaces import bids_uri, deposit_anatomy, deposit_spaces, space_notes
from cereflow_bids.workflow.tables import confounds_table, quality_table, why_withheld


def deposit(
    run: AslRun,
    out_dir: Path,
    paths: dict[str, str],
    notes: list[str],
    *,
    further: dict[str, str],
    regional: Regional,
    anatomy: Mapping[str, str],
    spaces: OutputSpaces,
    bridges: Mapping[str, str],
) -> list[Path]:
    """Write every derivative of a run.

    Parameters
    ----------
    run
        The run.
    out_dir
        Derivatives folder.
    paths
        What the steps made, by name; empty where there is none.
    notes
        Sentences of the steps before quantification.
    further
        More maps by their key in derivatives_spec/outputs.yaml.
    regional
        The atlases on the grid of the run.
    anatomy
        What was made of the T1w image.
    spaces
        Where maps are written besides.
    bridges
        Ways from other templates to the packaged one, by name.

    Returns
    -------
    list of Path
        The files written, sidecars not listed.
    """
    writer = DerivativeWriter(out_dir)
    unreached = space_notes(spaces, t1w=bool(paths["t1w_to_asl"]))
    record = _record(run, paths, anatomy, [*notes, *unreached])
    withheld = why_withheld(paths["registration"])
    record |= withheld
    parts = _taken_out(record)
    matrices = np.load(paths["matrices"])
    confounds = confounds_table(run, matrices, record["RejectedVolumes"], mask=paths["mask"])
    displacement = confounds["framewise_displacement"].to_numpy()
    quality = quality_table(run, paths, displacement, record)
    written = [
        *_native_maps(writer, run, paths, record, parts),
        *_further_maps(writer, run, further, record),
        *deposit_spaces(
            writer,
            run,
            paths | {"att": further.get("att", "")},
            record,
            anatomy=anatomy,
            spaces=spaces,
            bridges=bridges,
        ),
        writer.write_table("confounds", run.stem, confounds),
        writer.write_table("quality", run.stem, quality),
        *deposit_anatomy(writer, anatomy),
    ]
    maps = {"mask": paths["mask"], "cbf": paths["cbf"], **further}
    sources = {"Sources": record["Sources"], **withheld}
    return [*written, *deposit_atlases(writer, run.stem, regional, maps, sources)]


def _record(
    run: AslRun, paths: Mapping[str, str], anatomy: Mapping[str, str], notes: list[str]
) -> dict[str, Any]:
    """Return how the maps were made, with what the steps before quantification tell."""
    record: dict[str, Any] = json.loads(Path(paths["record"]).read_text(encoding="utf-8"))
    record["Notes"] = [*notes, *record["Notes"]]
    origin = read_origin(anatomy) if paths["t1w_to_asl"] else None
    record["Sources"] = [f"bids:raw:{run.source}", *_other_sources(run, origin)]
    record["Parameters"] = [*record["Parameters"], *(origin.parameters() if origin else [])]
    del record["Suspicion"]
    return record


def _taken_out(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Take out of the record what belongs to some maps only, and return it by output."""
    return {
        "m0": {"Parameters": record.pop("CalibrationParameters"), "SkullStripped": True},
        "deltam": {
            "Parameters": record.pop("SelectionParameters"),
            "RejectedVolumes": record["RejectedVolumes"],
        },
    }


def _other_sources(run: AslRun, origin: Origin | None) -> list[str]:
    """Return the M0 image of the dataset and the anatomy that were used."""
    calibration = run.calibration.m0_file
    m0 = [bids_uri(calibration)] if calibration is not None else []
    return [*m0, *(origin.sources if origin is not None else ())]


def _native_maps(
    writer: DerivativeWriter,
    run: AslRun,
    paths: dict[str, str],
    record: dict[str, Any],
    parts: dict[str, dict[str, Any]],
) -> list[Path]:
    """Write what lies on the grid of the run; `parts` are sidecars of some maps, by output."""
    sources = {"Sources": record["Sources"]}
    images = {
        "deltam": ("deltam", sources | parts["deltam"]),
        "m0": ("m0map", sources | parts["m0"]),
        "aslref": ("aslref", sources),
        "gm_probability": ("gm", sources),
        "wm_probability": ("wm", sources),
        "cbf": ("cbf", record),
        "cbf_standard_error": ("cbf_standard_error", record),
        "cbf_relative": ("cbf_relative", record),
    }
    written = []
    for key, (name, sidecar) in images.items():
        if paths[name]:
            data, affine = load(paths[name])
            written.append(writer.write_image(key, run.stem, data, affine, sidecar))
    mask, affine = load_mask(paths["mask"]), load(paths["mask"])[1]
    return [*written, writer.write_image("brain_mask", run.stem, mask, affine, sources)]


def _further_maps(
    writer: DerivativeWriter, run: AslRun, further: dict[str, str], record: dict[str, Any]
) -> list[Path]:
    written = []
    for key, path in further.items():
        data, affine = load_labels(path) if key == "fit_flags" else load(path)
        told = _otherwise_made(key, record)
        written.append(writer.write_image(key, run.stem, data, affine, told))
    return written


_SIMPLER = {
    "cbf_delays": ("consensus, each delay by itself", "Alsop 2015, doi:10.1002/mrm.25197"),
    "cbf_delay_mean": ("consensus, mean over delays", "Alsop 2015, doi:10.1002/mrm.25197"),
    "att_weighted_delay": ("weighted delay", "Dai 2012, doi:10.1002/mrm.23103"),
}
_CORRECTED = ("cbf_gm", "cbf_wm", "att_gm", "att_wm")
_OF_ESTIMATOR = ("Estimator", "Spatial", "Noise", "Neighbour", "Arterial", "Prior")


def _otherwise_made(key: str, record: dict[str, Any]) -> dict[str, Any]:
    """Return the record of a map that the estimate of the run did not make, without its settings.

    Maps of pure tissue from several delays are fitted by least squares.
    """
    several = "several" in record["Quantification"]
    if key not in _SIMPLER and not (several and key in _CORRECTED):
        return record
    kept = [p for p in record["Parameters"] if not p["name"].startswith(_OF_ESTIMATOR)]
    if key in _SIMPLER:
        method, reference = _SIMPLER[key]
        kept = [p for p in kept if key == "att_weighted_delay" or p["name"] != "KineticModel"]
        return record | {"Quantification": method, "Reference": reference, "Parameters": kept}
    method = record["Quantification"].rpartition(",")[0]
    return record | {
        "Quantification": f"{method}, least squares after linear regression",
        "Parameters": kept,
    }
