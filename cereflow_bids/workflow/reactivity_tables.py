"""Reactivity of regions and tissues, as a ratio of their means."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.bids.derivatives import DerivativeWriter
from cereflow_bids.bids.spec import column_dictionary
from cereflow_bids.perfusion.reactivity import MINIMUM_BASELINE, reactivity
from cereflow_bids.workflow.images import load, load_labels, load_mask
from cereflow_bids.workflow.tables import GM_THRESHOLD, WM_THRESHOLD

if TYPE_CHECKING:
    import pandas as pd

Map = NDArray[np.floating]


@dataclass(frozen=True)
class Compared:
    """CBF of the two runs on one grid (x, y, z), mL/100 g/min, and where both have one."""

    baseline: Map
    stimulus: Map
    both: NDArray[np.bool_]


def reactivity_table(
    writer: DerivativeWriter, run: str, compared: Compared, *, atlas: str = ""
) -> pd.DataFrame:
    """Return one row per region of an atlas.

    The reactivity of a region is that of its mean CBF. A mean over voxelwise percentages would
    be drawn upwards by noise, for it divides by each voxel's own noisy baseline.

    Parameters
    ----------
    writer
        Knows the atlas labels, brain mask and regional table of the baseline run.
    run
        Stem of the baseline run.
    compared
        CBF of both runs.
    atlas
        Its name; the gyral one if not given.
    """
    import pandas as pd

    from cereflow_bids.regions.statistics import UNTRUSTED, regional_statistics

    path = writer.path("regions", run, atlas=atlas)
    known = pd.read_csv(path, sep="\t", keep_default_na=False, na_values={"coverage": ["n/a"]})
    regions = known[["index", "name", "hemisphere", "group"]]
    labels = load_labels(writer.path("atlas_labels", run, atlas=atlas))[0]
    mask = load_mask(writer.path("brain_mask", run))
    both = compared.both
    coverage = _coverage(known, labels, mask, both)
    before, after = (
        regional_statistics(values, labels, both, coverage, regions)
        for values in (compared.baseline, compared.stimulus)
    )
    table = before.assign(baseline=before["mean"], stimulus=after["mean"])
    table["cvr"] = reactivity(before["mean"], after["mean"], np.nan, np.nan)[0]
    low = table["baseline"] < MINIMUM_BASELINE
    table["reason"] = table["reason"].mask(low, "baseline")
    if (known["reason"] == UNTRUSTED).any():
        table[["baseline", "stimulus", "cvr"]], table["reason"] = np.nan, UNTRUSTED
    return pd.DataFrame(table[list(column_dictionary("reactivity"))])


def tissue_means(
    writer: DerivativeWriter, run: str, compared: Compared
) -> dict[str, dict[str, float]]:
    """Return mean CBF of both runs and its change in grey and in white matter.

    Parameters as for `reactivity_table`; NaN where there is no such voxel.
    """
    means = {}
    for name, key, threshold in (
        ("GreyMatter", "gm_probability", GM_THRESHOLD),
        ("WhiteMatter", "wm_probability", WM_THRESHOLD),
    ):
        inside = compared.both & (load(writer.path(key, run))[0] > threshold)
        before, after = (
            float(values[inside].mean(dtype=np.float64)) if inside.any() else math.nan
            for values in (compared.baseline, compared.stimulus)
        )
        change = float(reactivity(before, after, np.nan, np.nan)[0])
        means[name] = {
            "Baseline": round(before, 3),
            "Stimulus": round(after, 3),
            "CVR": round(change, 3),
        }
    return means


def _coverage(
    known: pd.DataFrame,
    labels: NDArray[np.int32],
    mask: NDArray[np.bool_],
    both: NDArray[np.bool_],
) -> dict[int, float]:
    """Return the fraction of each region that both runs imaged.

    What the baseline run imaged is in its own table; the part of it that is left where the
    stimulus run has a value, too, is counted here.
    """
    size = int(max(labels.max(), known["index"].max())) + 1
    total, left = (np.bincount(labels[where], minlength=size) for where in (mask, mask & both))
    share = np.divide(left, total, out=np.zeros(size), where=total > 0)
    return {
        int(index): float(fraction * share[int(index)])
        for index, fraction in zip(known["index"], known["coverage"], strict=True)
    }
