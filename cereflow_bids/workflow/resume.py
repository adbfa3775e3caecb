"""Making a work folder fit to resume from, and an output folder free of what is out of date."""

from __future__ import annotations

import shutil
from pathlib import Path

from cereflow_bids.bids.derivatives import DerivativeWriter
from cereflow_bids.bids.spec import output_specs


def discard_damaged_results(folder: Path) -> list[Path]:
    """Remove each step's folder whose result cannot be read, so that the step is done again.

    A machine that stops while nipype writes a result leaves half a pickle behind.

    Parameters
    ----------
    folder
        Work folder of one run.

    Returns
    -------
    list of Path
        The folders removed.
    """
    from nipype.utils.filemanip import loadpkl

    damaged = []
    for result in sorted(folder.glob("*/result_*.pklz")):
        try:
            loadpkl(result)
        except Exception:  # noqa: BLE001
            # Unpickling damaged bytes can raise anything.
            damaged.append(result.parent)
    for step in damaged:
        shutil.rmtree(step)
    return damaged


def remove_outputs(stem: str, out_dir: Path) -> None:
    """Remove a run's earlier outputs: those of other settings must not outlive a failure."""
    writer = DerivativeWriter(out_dir)
    for key, spec in output_specs().items():
        if "{run}" in spec.name:
            several = "{atlas}" in spec.name
            for path in (
                writer.by_atlas(key, stem).values() if several else [writer.path(key, stem)]
            ):
                for stale in (path, path.with_name(path.name.partition(".")[0] + ".json")):
                    stale.unlink(missing_ok=True)
