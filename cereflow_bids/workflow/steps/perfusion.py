"""Quantification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.bids.run import AslRun
from cereflow_bids.quantification.science import Science
from cereflow_bids.workflow.images import load, load_mask, save, save_json

if TYPE_CHECKING:
    from cereflow_bids.quantification.quantify import Perfusion

PERFUSION_IMAGES = ("series", "m0", "mask", "gm", "wm", "brain")


def perfusion(
    run: AslRun, science: Science, folder: Path, *, images: Mapping[str, str]
) -> dict[str, Any]:
    """Quantify; maps that exist, ``further`` maps by output key, ``record`` of how.

    ``gain`` and ``weights`` make CBF from the volumes; they are empty where it is no sum of them.

    `images` are those of `PERFUSION_IMAGES`; ``m0`` may be empty.
    """
    from cereflow_bids.quantification.quantify import quantify
    from cereflow_bids.quantification.tissues import Tissues

    volumes, affine = load(images["series"])
    gm, wm, brain = (load(images[name])[0] for name in ("gm", "wm", "brain"))
    result = quantify(
        run,
        volumes,
        load(images["m0"])[0] if images["m0"] else None,
        load_mask(images["mask"]),
        voxel_size=_voxel_size(affine),
        science=science,
        tissues=Tissues.of_brain(gm, wm, brain),
    )
    maps = {
        "deltam": result.deltam,
        "cbf": result.cbf,
        "cbf_standard_error": result.standard_error,
        "cbf_relative": result.relative,
        "m0map": result.m0,
    }
    record = _record(run, result, affine)
    saved = {
        name: "" if data is None else save(data, affine, folder / f"{name}.nii")
        for name, data in maps.items()
    }
    further = {
        key: save(data, affine, folder / f"{key}.nii") for key, data in result.further.items()
    }
    linear = result.linear
    return saved | {
        "gain": "" if linear is None else save(linear.gain, affine, folder / "gain.nii"),
        "weights": "" if linear is None else save_json(linear.weights, folder / "weights.json"),
        "further": further,
        "record": save_json(record, folder / "record.json"),
    }


def _record(run: AslRun, result: Perfusion, affine: NDArray[Any]) -> dict[str, Any]:
    """Return how the maps were made."""
    told = {
        "Quantification": result.method,
        "Reference": result.reference,
        "Parameters": [parameter.as_json() for parameter in result.parameters],
        "Acquisition": run.acquisition
        | {"VoxelSize": _voxel_size(affine), "NumberOfPairs": result.n_pairs},
        "Notes": list(result.notes),
        "CalibrationParameters": [parameter.as_json() for parameter in result.calibration],
        "SelectionParameters": [parameter.as_json() for parameter in result.selection],
        "RejectedVolumes": [asdict(one) for one in result.rejected],
        "Findings": [one.name for one in result.findings],
        "Suspicion": " ".join(one.text for one in result.findings),
    }
    return told | ({"Refused": result.refusal} if result.refusal else {})


def _voxel_size(affine: NDArray[Any]) -> list[float]:
    return [round(float(edge), 4) for edge in np.linalg.norm(affine[:3, :3], axis=0)]
