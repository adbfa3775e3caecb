"""The reactivity of one pair of finished runs: from their derivatives to its own.

The two runs are read back from the output folder, so that it does not matter when they were
processed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.bids.derivatives import DerivativeWriter
from cereflow_bids.bids.reactivity_pairs import Pair
from cereflow_bids.errors import InputError
from cereflow_bids.imaging.alignment import (
    Alignment,
    Scan,
    align_rigidly,
    moved_mask,
    resample_inside,
)
from cereflow_bids.imaging.registration import write_itk
from cereflow_bids.perfusion.reactivity import reactivity
from cereflow_bids.workflow.images import load, load_mask
from cereflow_bids.workflow.reactivity_sidecar import notes_on_values, sidecar
from cereflow_bids.workflow.reactivity_tables import Compared, reactivity_table, tissue_means

LOWEST_OVERLAP = 0.7
"""Brain masks that overlap less after registration are not compared (our choice)."""

Map = NDArray[np.floating]


@dataclass(frozen=True)
class Side:
    """One finished run: where it lies, its CBF and what made it.

    Attributes
    ----------
    run
        Stem.
    scan
        Reference image, brain mask and grid.
    cbf, error
        CBF and its standard error (x, y, z), mL/100 g/min; no error where it is unknown.
    inside
        Brain voxels with a CBF.
    record
        Sidecar of the CBF map.
    """

    run: str
    scan: Scan
    cbf: Map
    error: Map | None
    inside: NDArray[np.bool_]
    record: dict[str, Any]


@dataclass(frozen=True)
class Moved:
    """What the stimulus run has on the grid of the baseline run."""

    cbf: Map
    error: Map | None
    inside: NDArray[np.bool_]
    reference: Map


def measure_reactivity(out_dir: Path, pair: Pair, *, seed: int = 0) -> list[Path]:
    """Write the reactivity of a pair and return the files, sidecars not listed.

    Parameters
    ----------
    out_dir
        Derivatives folder with both runs, absolute CBF.
    pair
        The runs.
    seed
        Of the registration.

    Raises
    ------
    InputError
        If the two heads cannot be brought onto each other, or nothing is left to compare.
    """
    writer = DerivativeWriter(out_dir)
    baseline, stimulus = (_side(writer, run) for run in (pair.baseline, pair.stimulus))
    alignment = align_rigidly(baseline.scan, stimulus.scan, seed=seed)
    if alignment.overlap < LOWEST_OVERLAP:
        raise InputError(
            f"the brain of {pair.stimulus} covers {100 * alignment.overlap:.0f} % of that of "
            f"{pair.baseline} after rigid registration, too little to compare them.",
            where=pair.group,
            fix="look at the reference images and brain masks of both runs.",
        )
    moved = _moved(stimulus, baseline, alignment)
    both = baseline.inside & moved.inside
    if not both.any():
        raise InputError(
            "no voxel of the brain has a CBF in both runs.",
            where=pair.group,
            fix="look at the CBF maps and brain masks of both runs.",
        )
    return _write(writer, pair, (baseline, stimulus), moved, alignment)


def _side(writer: DerivativeWriter, run: str) -> Side:
    cbf, affine = load(writer.path("cbf", run))
    mask = load_mask(writer.path("brain_mask", run))
    reference = np.nan_to_num(load(writer.path("aslref", run))[0])
    error = writer.path("cbf_standard_error", run)
    record = writer.path("cbf", run).with_name(f"{run}_cbf.json")
    return Side(
        run,
        Scan(reference, mask, affine),
        cbf,
        load(error)[0] if error.is_file() else None,
        mask & np.isfinite(cbf),
        json.loads(record.read_text(encoding="utf-8")),
    )


def _moved(stimulus: Side, baseline: Side, alignment: Alignment) -> Moved:
    def bring(values: Map, inside: NDArray[np.bool_]) -> Map:
        return resample_inside(values, stimulus.scan, inside, baseline.scan, alignment)

    everywhere = np.ones_like(stimulus.scan.mask)
    error = stimulus.error
    known = None if error is None else stimulus.inside & np.isfinite(error)
    return Moved(
        bring(stimulus.cbf, stimulus.inside),
        # A cubic spline may swing below 0, which no error does.
        None if error is None or known is None or not known.any()
        else np.maximum(bring(error, known), 0),
        moved_mask(stimulus.inside, stimulus.scan, baseline.scan, alignment.matrix),
        bring(stimulus.scan.reference, everywhere),
    )  # fmt: skip


def _write(
    writer: DerivativeWriter,
    pair: Pair,
    sides: tuple[Side, Side],
    moved: Moved,
    alignment: Alignment,
) -> list[Path]:
    baseline, _ = sides
    both = baseline.inside & moved.inside
    unknown = baseline.error is None or moved.error is None
    cvr, error = reactivity(
        np.where(both, baseline.cbf, np.nan),
        np.where(both, moved.cbf, np.nan),
        np.nan if baseline.error is None else baseline.error,
        np.nan if moved.error is None else moved.error,
    )
    undefined = float((both & ~np.isfinite(cvr)).sum() / both.sum())
    run, affine = pair.baseline, baseline.scan.affine
    compared = Compared(baseline.cbf, moved.cbf, both)
    record = sidecar(pair, [side.record for side in sides], alignment)
    known = error[np.isfinite(error)]
    record["Notes"] += notes_on_values(undefined, float(np.median(known)) if known.size else None)
    record["Means"] = tissue_means(writer, run, compared)
    images = {"cvr": cvr, "cvr_stimulus": moved.cbf * both, "cvr_reference": moved.reference}
    if not unknown:
        images["cvr_standard_error"] = error
    written = [writer.write_image(k, run, data, affine, record) for k, data in images.items()]
    # The regions of the baseline run are used, whatever its atlases were.
    labels = writer.by_atlas("atlas_labels", run)
    for atlas in writer.by_atlas("regions", run):
        if atlas in labels:
            table = reactivity_table(writer, run, compared, atlas=atlas)
            written.append(writer.write_table("cvr_regions", run, table, atlas=atlas))
    return [
        *written,
        writer.write_with("cvr_transform", run, partial(write_itk, alignment.matrix)),
    ]
