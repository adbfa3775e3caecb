"""Maps of one run in other spaces than its own, the ways there, and the T1w image itself."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.bids.derivatives import DerivativeWriter
from cereflow_bids.bids.run import AslRun
from cereflow_bids.imaging.point_map import PointMap
from cereflow_bids.imaging.registration import write_displacement, write_itk
from cereflow_bids.imaging.resampling import World, resample
from cereflow_bids.imaging.standard_space import downsample
from cereflow_bids.resources import TEMPLATE_SPACE, template
from cereflow_bids.workflow.images import load
from cereflow_bids.workflow.origin import read_origin
from cereflow_bids.workflow.space_maps import load_map

STANDARD_SPACE_MM = 2
_ORDERS = {"cbf": 1, "att": 1, "aslref": 3}
_ANATOMICAL = {
    "t1w": "head",
    "t1w_mask": "brain",
    "t1w_gm": "gm",
    "t1w_wm": "wm",
    "t1w_csf": "csf",
}


def deposit_spaces(
    writer: DerivativeWriter,
    run: AslRun,
    maps: Mapping[str, str],
    anatomy: Mapping[str, str],
    record: dict[str, Any],
) -> list[Path]:
    """Write maps in template space, and in T1w space where it was used, with the transforms.

    Parameters
    ----------
    writer
        Knows where each file lies.
    run
        The run.
    maps
        ``to_asl``, ``t1w_to_asl``, and of ``cbf``, ``att`` and ``aslref`` those that exist.
    anatomy
        What was made of the T1w image.
    record
        Metadata that all maps share.
    """
    to_asl = load_map(maps["to_asl"])
    brain, brain_affine = load(template("T1w"))
    grid, grid_affine = downsample(brain, brain_affine, STANDARD_SPACE_MM)
    told = record | {"SpatialReference": f"{TEMPLATE_SPACE}, {STANDARD_SPACE_MM} mm"}
    place = (grid.shape, grid_affine)
    written = _moved(writer, run, maps, "standard_space", to_asl, place, told)
    if isinstance(to_asl, PointMap):
        write = partial(write_displacement, to_asl, *place)
        written.append(writer.write_with("transform_deformation", run.stem, write))
    else:
        written.append(writer.write_with("transform", run.stem, partial(write_itk, to_asl)))
    if not maps["t1w_to_asl"]:
        return written
    matrix = load_map(maps["t1w_to_asl"])
    if isinstance(matrix, PointMap):
        raise TypeError("a rigid registration is a matrix")
    head, head_affine = load(anatomy["head"])
    place = _t1w_grid(head, head_affine, load(maps["aslref"])[1])
    told = record | {"SpatialReference": "T1w image of the participant"}
    return [
        *written,
        *_moved(writer, run, maps, "t1w_space", matrix, place, told),
        writer.write_with("transform_t1w", run.stem, partial(write_itk, matrix)),
    ]


def _moved(  # noqa: PLR0917
    writer: DerivativeWriter,
    run: AslRun,
    maps: Mapping[str, str],
    space: str,
    world: World,
    place: tuple[tuple[int, ...], NDArray[np.floating]],
    told: dict[str, Any],
) -> list[Path]:
    """Interpolate each map once, on a grid of another space."""
    written = []
    for name, order in _ORDERS.items():
        if maps.get(name):
            data, affine = load(maps[name])
            moved = resample(data, affine, *place, world=world, order=order)
            key = f"{name}_{space}"
            written.append(writer.write_image(key, run.stem, moved, place[1], told))
    return written


def _t1w_grid(
    head: NDArray[Any], head_affine: NDArray[np.float64], asl_affine: NDArray[np.float64]
) -> tuple[tuple[int, ...], NDArray[np.floating]]:
    """Return the axes of the T1w with voxels of about the size of the run's finest edge."""
    finest = np.linalg.norm(asl_affine[:3, :3], axis=0).min()
    own = np.linalg.norm(head_affine[:3, :3], axis=0).max()
    grid, affine = downsample(head, head_affine, max(1, round(float(finest / own))))
    return grid.shape, affine


def deposit_anatomy(writer: DerivativeWriter, anatomy: Mapping[str, str]) -> None:
    """Write the T1w image without bias, its brain and its tissues; the same for all its runs.

    Parameters
    ----------
    writer
        Knows where each file lies.
    anatomy
        What was made of it; nothing is written where that is nothing.
    """
    origin = read_origin(anatomy)
    if origin is None:
        return
    for key, name in _ANATOMICAL.items():
        data, affine = load(anatomy[name])
        image = data > 0.5 if name == "brain" else data
        told: dict[str, Any] = {"Sources": list(origin.sources)}
        told |= {"SkullStripped": False} if name == "head" else {}
        writer.write_image(key, origin.stem, image, affine, told)


def bids_uri(image: Path) -> str:
    """Return the BIDS URI of an image of the dataset."""
    parts = image.parts
    folders = [k for k, part in enumerate(parts[:-1]) if part.startswith("sub-")]
    start = max(folders, default=len(parts) - 1)
    return "bids:raw:" + "/".join(parts[start:])
