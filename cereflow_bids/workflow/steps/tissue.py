"""Tissue fractions and atlases on the grid of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.bids.run import AslRun
from cereflow_bids.imaging.point_map import PointMap
from cereflow_bids.quantification.science import Science
from cereflow_bids.regions.atlas import Atlas
from cereflow_bids.workflow.images import load, save
from cereflow_bids.workflow.space_maps import load_map


def tissue(
    run: AslRun,
    science: Science,
    folder: Path,
    *,
    mask: str,
    space: Mapping[str, str],
    anatomy: Mapping[str, str],
    atlases: Sequence[Atlas],
    threads: int = 1,
) -> dict[str, Any]:
    """Bring tissues and atlases to the run.

    ``gm``, ``wm``, ``brain``, from the T1w image where `space`, what `standard_space` returned,
    goes through it, else from the template; and what `bring_atlases` returns.
    """
    from cereflow_bids.imaging.resampling import area_average
    from cereflow_bids.imaging.standard_space import template_mask
    from cereflow_bids.resources import template
    from cereflow_bids.workflow.atlases import bring_atlases

    inside, affine = load(mask)
    to_asl, to_template = load_map(space["to_asl"]), load_map(space["to_template"])
    if space["t1w_to_asl"]:
        world: Any = np.linalg.inv(_matrix(space["t1w_to_asl"]))
        images: dict[str, Any] = {name: load(anatomy[name]) for name in ("gm", "wm", "brain")}
    else:
        world = to_template
        brain, own = load(template("T1w"))
        images = {name: (load(template(name.upper()))[0] / 255, own) for name in ("gm", "wm")}
        images["brain"] = (template_mask(brain).astype(np.float32), own)

    def bring(name: str) -> str:
        image, own = images[name]
        average = area_average(image, own, inside.shape, affine, world=world)
        return save(average, affine, folder / f"{name}.nii")

    # Interpolation leaves the interpreter to other threads.
    with ThreadPoolExecutor(threads) as pool:
        regions = pool.submit(
            bring_atlases, atlases, mask, folder, to_template=to_template, to_asl=to_asl
        )
        fractions = dict(zip(images, pool.map(bring, images), strict=True))
        return fractions | regions.result()


def _matrix(path: str) -> NDArray[np.float64]:
    found = load_map(path)
    if isinstance(found, PointMap):
        raise TypeError("a rigid registration is a matrix")
    return found
