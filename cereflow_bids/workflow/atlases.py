"""Atlases of one run: labels brought to its grid, and the tables of its maps by region."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.bids.derivatives import DerivativeWriter
from cereflow_bids.imaging.resampling import World
from cereflow_bids.regions.atlas import Atlas
from cereflow_bids.workflow.images import load, load_labels, load_mask, save

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Regional:
    """What the atlases became on the grid of a run.

    Attributes
    ----------
    atlases
        The atlases.
    labels
        Label image by the atlas's name.
    coverage
        JSON of the imaged fraction, by atlas and label.
    """

    atlases: Sequence[Atlas]
    labels: Mapping[str, str]
    coverage: str


def bring_atlases(
    atlases: Sequence[Atlas],
    mask: str,
    folder: Path,
    *,
    to_template: World,
    to_asl: World,
) -> dict[str, Any]:
    """Bring atlases to the grid of a mask; ``labels`` by name, and ``coverage``.

    Parameters
    ----------
    atlases
        In template space, each on any grid.
    mask
        The run's brain mask.
    folder
        Where to write.
    to_template, to_asl
        Points of the run to points of the template, and the way back.
    """
    from cereflow_bids.imaging.label_volumes import volume_preserving_labels
    from cereflow_bids.imaging.resampling import resample
    from cereflow_bids.regions.statistics import imaged_fraction

    inside, affine = load(mask)
    on_one_grid: dict[tuple[Any, ...], list[tuple[Atlas, NDArray[np.int32]]]] = defaultdict(list)
    for atlas in atlases:
        image, own_affine = load_labels(atlas.labels)
        on_one_grid[image.shape, tuple(own_affine.ravel())].append((atlas, image))
    labels, coverage = {}, {}
    for (shape, numbers), members in on_one_grid.items():
        own_affine = np.reshape(numbers, (4, 4))
        images = [image for _, image in members]
        seen = resample(inside, affine, shape, own_affine, world=to_asl, order=0) > 0.5
        moved = volume_preserving_labels(
            images, own_affine, inside.shape, affine, world=to_template
        )
        for (atlas, image), there in zip(members, moved, strict=True):
            labels[atlas.name] = save(there, affine, folder / f"labels-{atlas.name}.nii")
            coverage[atlas.name] = imaged_fraction(image, seen)
    path = folder / "coverage.json"
    path.write_text(json.dumps(coverage), encoding="utf-8")
    return {"labels": labels, "coverage": str(path)}


def deposit_atlases(
    writer: DerivativeWriter,
    run: str,
    regional: Regional,
    maps: Mapping[str, str],
    sidecar: Mapping[str, Any],
) -> list[Path]:
    """Write the labels of every atlas, and one table per atlas and map.

    Parameters
    ----------
    writer
        Knows where each file lies.
    run
        Stem of the run.
    regional
        The atlases on its grid.
    maps
        ``mask``, and of ``cbf``, ``cbf_gm``, ``att`` and ``fit_flags`` those that exist.
    sidecar
        Metadata that all of them share; with ``RegionsWithheld`` the tables have no numbers.
    """
    imaged = json.loads(Path(regional.coverage).read_text(encoding="utf-8"))
    mask = load_mask(maps["mask"])
    written = []
    for atlas in regional.atlases:
        labels, affine = load_labels(regional.labels[atlas.name])
        about = {f"Atlas{key}": value for key, value in atlas.about.items()}
        written.append(
            writer.write_image(
                "atlas_labels", run, labels, affine, {**sidecar, **about}, atlas=atlas.name
            )
        )
        about_regions = {
            "labels": labels,
            "mask": mask,
            "coverage": {int(label): share for label, share in imaged[atlas.name].items()},
            "regions": atlas.regions(),
        }
        withheld = "RegionsWithheld" in sidecar
        for key, table in _tables(maps, about_regions, withheld=withheld).items():
            written.append(writer.write_table(key, run, table, atlas=atlas.name))
    return written


def _tables(
    maps: Mapping[str, str], about_regions: dict[str, Any], *, withheld: bool
) -> dict[str, pd.DataFrame]:
    """Return the table of each map that exists, by its key in derivatives_spec/outputs.yaml."""
    from cereflow_bids.regions.statistics import (
        regional_statistics,
        transit_statistics,
        without_numbers,
    )

    tables = {
        key: regional_statistics(load(maps[name])[0], **about_regions)
        for key, name in (("regions", "cbf"), ("regions_gm", "cbf_gm"))
        if maps.get(name)
    }
    if maps.get("att"):
        flags = load_labels(maps["fit_flags"])[0]
        tables["regions_att"] = transit_statistics(load(maps["att"])[0], flags, **about_regions)
    if withheld:
        return {key: without_numbers(table) for key, table in tables.items()}
    return tables
