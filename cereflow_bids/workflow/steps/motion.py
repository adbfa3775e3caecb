"""Motion within the series."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cereflow_bids.bids.run import AslRun
from cereflow_bids.quantification.science import Science
from cereflow_bids.workflow.images import load_input, save, save_json


def motion(run: AslRun, science: Science, folder: Path, *, threads: int = 1) -> dict[str, str]:
    """Realign the series; ``series``, ``matrices`` (n, 4, 4) and ``notes``."""
    from cereflow_bids.imaging.motion import estimate_motion, realign

    series, affine = load_input(run.asl, run.source)
    volumes = series if series.ndim == 4 else series[..., None]
    unknown = ~np.isfinite(volumes)
    volumes = np.nan_to_num(volumes, nan=0, posinf=0, neginf=0)
    # There is nothing in an empty volume to align, and it must not take the others along.
    kinds = ["n/a" if unknown[..., k].all() else kind for k, kind in enumerate(run.context)]
    found = estimate_motion(volumes, affine, kinds, seed=science.seed, processes=threads)
    realigned = realign(volumes, affine, found, threads=threads)
    realigned[unknown] = np.nan
    np.save(folder / "matrices.npy", found.matrices)
    return {
        "series": save(realigned, affine, folder / "series.nii"),
        "matrices": str(folder / "matrices.npy"),
        "notes": save_json([found.note], folder / "notes.json"),
    }
