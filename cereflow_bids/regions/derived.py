"""Atlases that are made from the gyral one: lobes, deep structures, arterial territories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.regions import territories as rules

if TYPE_CHECKING:
    import pandas as pd

Labels = NDArray[np.integer]
LOBES = ("frontal", "parietal", "temporal", "occipital", "cingulate", "insula")
DEEP = ("subcortical", "cerebellum", "brainstem")
ARTERIES = ("anterior cerebral artery", "middle cerebral artery", "posterior cerebral artery")
BORDERS = (
    ("anterior border zone (ACA-MCA)", "cortical border zones"),
    ("posterior border zone (MCA-PCA)", "cortical border zones"),
    ("internal border zone (MCA perforators-branches)", "internal border zones"),
)


class Derived(NamedTuple):
    """Labels (x, y, z) and their table: index, name, hemisphere, group, volume_mm3 (1 mm grid)."""

    labels: NDArray[np.uint8]
    table: pd.DataFrame


def lobes(labels: Labels, regions: pd.DataFrame) -> Derived:
    """Join the gyri of each lobe and side; the cingulate gyrus and the insula count as lobes."""
    out = np.zeros(labels.shape, dtype=np.uint8)
    rows = []
    for lobe in LOBES:
        name = lobe if lobe == "insula" else f"{lobe} lobe" if lobe != "cingulate" else "cingulate"
        for side in "LR":
            members = regions[(regions["group"] == lobe) & (regions["hemisphere"] == side)]
            rows.append((name, side, "cortex"))
            out[np.isin(labels, members["index"])] = len(rows)
    return _with_table(out, rows)


def deep_structures(labels: Labels, regions: pd.DataFrame) -> Derived:
    """Keep the nuclei, hippocampus, amygdala, cerebellar cortex and brainstem."""
    out = np.zeros(labels.shape, dtype=np.uint8)
    rows = []
    for _, region in regions[regions["group"].isin(DEEP)].iterrows():
        rows.append((region["name"], region["hemisphere"], region["group"]))
        out[labels == region["index"]] = len(rows)
    return _with_table(out, rows)


def arterial_atlases(
    labels: Labels,
    regions: pd.DataFrame,
    tissue: NDArray[np.bool_],
    origin: NDArray[np.floating],
) -> dict[str, Derived]:
    """Build the arterial territories, their proximal and distal parts, and their border zones.

    Parameters as for `territories.Hemisphere.fold`.
    """
    brain = rules.Hemisphere.fold(labels, regions, tissue, origin)
    fed = rules.feeders(brain)
    whole = [(artery, "cerebrum") for artery in ARTERIES]
    parts = [(f"{a}, {part}", a) for a in ARTERIES for part in ("proximal", "distal")]
    fossa = [("cerebellum", "posterior fossa"), ("brainstem", "posterior fossa")]
    made = {
        "ArterialTerritories": (rules.territories(fed), [*whole, *fossa]),
        "ArterialTerritoriesProximalDistal": (rules.proximal_and_distal(brain, fed), parts),
        "ArterialBorderZones": (rules.border_zones(brain, fed), list(BORDERS)),
    }
    return {
        name: _both_sides(half, names, brain, labels.shape) for name, (half, names) in made.items()
    }


def _both_sides(
    half: NDArray[np.uint8],
    names: Sequence[tuple[str, str]],
    brain: rules.Hemisphere,
    shape: tuple[int, ...],
) -> Derived:
    """Give every region a number per side; what lies across the midline is one region."""
    left, right = rules.unfold(half, brain, shape)
    out = np.zeros(shape, dtype=np.uint8)
    rows = []
    for k, (name, group) in enumerate(names, start=1):
        if name == "brainstem":
            rows.append((name, "n/a", group))
            out[_across_midline((left == k) | (right == k))] = len(rows)
            continue
        for side, image in (("L", left), ("R", right)):
            rows.append((name, side, group))
            out[image == k] = len(rows)
    return _with_table(out, rows)


def _across_midline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    middle = mask.shape[0] // 2
    mask[middle] = mask[middle - 1]
    return mask


def _with_table(labels: NDArray[np.uint8], rows: Sequence[tuple[str, str, str]]) -> Derived:
    import pandas as pd

    table = pd.DataFrame(rows, columns=["name", "hemisphere", "group"])
    table.insert(0, "index", np.arange(1, len(rows) + 1))
    counts = np.bincount(labels.ravel(), minlength=len(rows) + 1)[1:]
    return Derived(labels, table.assign(volume_mm3=counts))
