"""Maps of one run in other spaces than its own, the ways there, and the T1w image itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.bids.derivatives import DerivativeWriter
from cereflow_bids.bids.run import AslRun
from cereflow_bids.imaging.composed import Place
from cereflow_bids.imaging.point_map import PointMap
from cereflow_bids.imaging.registration import write_displacement, write_itk
from cereflow_bids.imaging.resampling import resample
from cereflow_bids.imaging.standard_space import downsample
from cereflow_bids.resources import template
from cereflow_bids.workflow.images import load, load_mask
from cereflow_bids.workflow.moved_maps import Moved, moved_maps
from cereflow_bids.workflow.origin import read_origin
from cereflow_bids.workflow.output_spaces import OutputSpaces, Standard
from cereflow_bids.workflow.space_maps import SpaceMap, load_map

Grid = tuple[tuple[int, ...], NDArray[np.floating]]

_ANATOMICAL = {
    "t1w": "head",
    "t1w_mask": "brain",
    "t1w_gm": "gm",
    "t1w_wm": "wm",
    "t1w_csf": "csf",
}


def space_notes(spaces: OutputSpaces, *, t1w: bool) -> list[str]:
    """Return what the record of a run says of spaces that it could not be brought to.

    Parameters
    ----------
    spaces
        What is asked for.
    t1w
        Whether a T1w image was used.
    """
    if spaces.asked and spaces.t1w and not t1w:
        return [
            "T1w space was asked for; the run has no T1w image that was used: no map is there."
        ]
    return []


def deposit_spaces(
    writer: DerivativeWriter,
    run: AslRun,
    maps: Mapping[str, str],
    record: dict[str, Any],
    *,
    anatomy: Mapping[str, str],
    spaces: OutputSpaces,
    bridges: Mapping[str, str],
) -> list[Path]:
    """Write maps in template spaces, and in T1w space where it was used, with the transforms.

    Parameters
    ----------
    writer
        Knows where each file lies.
    run
        The run.
    maps
        ``to_asl``, ``t1w_to_asl``, ``aslref``, ``mask``, and what `moved_maps` needs.
    record
        Metadata that all maps share.
    anatomy
        What was made of the T1w image.
    spaces
        Which.
    bridges
        Maps from points of other templates to those of the packaged one, by name.
    """
    written = []
    for name in sorted({one.template for one in spaces.standards}):
        members = [one for one in spaces.standards if one.template == name]
        world = _way(load_map(maps["to_asl"]), bridges.get(name, ""))
        for one in members:
            grid = _grid(one, spaces)
            edge = f"{one.resolution} mm"
            told = record | {
                "SpatialReference": f"{one.template}, {edge}",
                "Resolution": f"grid of the template with voxels of {edge}",
            }
            for key, moved in _moved(run, maps, grid, world):
                write = partial(writer.write_image, f"{key}_standard_space", run.stem)
                written.append(write(moved.data, grid[1], told | moved.sidecar, space=one.label))
        written.append(_write_way(writer, run, world, members[0], spaces))
    if not maps["t1w_to_asl"]:
        return written
    matrix = load_map(maps["t1w_to_asl"])
    if isinstance(matrix, PointMap):
        raise TypeError("a rigid registration is a matrix")
    written.append(writer.write_with("transform_t1w", run.stem, partial(write_itk, matrix)))
    if spaces.t1w:
        grid = _t1w_grid(anatomy, maps["aslref"])
        told = record | {"SpatialReference": "T1w image of the participant"}
        for key, moved in _moved(run, maps, grid, matrix):
            write = partial(writer.write_image, f"{key}_t1w_space", run.stem)
            written.append(write(moved.data, grid[1], told | moved.sidecar))
    return written


def _way(to_asl: SpaceMap, bridge: str) -> SpaceMap:
    """Return the map from points of a template to points of the run."""
    if not bridge:
        return to_asl
    found = load_map(bridge)
    if not isinstance(found, PointMap):
        raise TypeError("the way between templates is a deformation")
    return found.followed_by(to_asl)


def _moved(
    run: AslRun, maps: Mapping[str, str], grid: Grid, world: SpaceMap
) -> Iterator[tuple[str, Moved]]:
    """Return each map on a grid of another space."""
    affine = load(maps["mask"])[1]
    place = Place(load_mask(maps["mask"]), affine, *grid, world)
    yield from moved_maps(run, maps, place)
    image, affine = load(maps["aslref"])
    yield "aslref", Moved(resample(image, affine, *grid, world=world), {})


def _grid(space: Standard, spaces: OutputSpaces) -> Grid:
    if not space.packaged:
        image, affine = load(spaces.other(space.template).grids[space.resolution])
        if np.allclose(np.linalg.norm(affine[:3, :3], axis=0), space.resolution, rtol=0.05):
            return image.shape, affine
    return _averaged(space, spaces, space.resolution)


def _averaged(space: Standard, spaces: OutputSpaces, edge: int) -> Grid:
    """Return the grid of a template of 1 mm, averaged to an edge in mm."""
    fine = template("T1w") if space.packaged else spaces.other(space.template).head
    image, affine = downsample(*load(fine), edge)
    return image.shape, affine


def _write_way(
    writer: DerivativeWriter,
    run: AslRun,
    world: SpaceMap,
    space: Standard,
    spaces: OutputSpaces,
) -> Path:
    """Write the way to a template; a deformation at 2 mm, at which it was registered."""
    if isinstance(world, PointMap):
        write = partial(write_displacement, world, *_averaged(space, spaces, 2))
        return writer.write_with("transform_deformation", run.stem, write, space=space.label)
    return writer.write_with("transform", run.stem, partial(write_itk, world), space=space.label)


def _t1w_grid(anatomy: Mapping[str, str], aslref: str) -> Grid:
    """Return the axes of the T1w with voxels of about the size of the run's finest edge."""
    head, affine = load(anatomy["head"])
    finest = np.linalg.norm(load(aslref)[1][:3, :3], axis=0).min()
    own = np.linalg.norm(affine[:3, :3], axis=0).max()
    grid, coarse = downsample(head, affine, max(1, round(float(finest / own))))
    return grid.shape, coarse


def deposit_anatomy(writer: DerivativeWriter, anatomy: Mapping[str, str]) -> list[Path]:
    """Write the T1w image without bias, its brain and its tissues; the same for all its runs.

    Parameters
    ----------
    writer
        Knows where each file lies.
    anatomy
        What was made of it; nothing is written where that is nothing.

    Returns
    -------
    list of Path
        The images.
    """
    origin = read_origin(anatomy)
    if origin is None:
        return []
    written = []
    for key, name in _ANATOMICAL.items():
        data, affine = load(anatomy[name])
        image = data > 0.5 if name == "brain" else data
        told: dict[str, Any] = {"Sources": list(origin.sources)}
        told |= {"SkullStripped": False} if name == "head" else {}
        written.append(writer.write_image(key, origin.stem, image, affine, told))
    return written


def bids_uri(image: Path) -> str:
    """Return the BIDS URI of an image of the dataset."""
    parts = image.parts
    folders = [k for k, part in enumerate(parts[:-1]) if part.startswith("sub-")]
    start = max(folders, default=len(parts) - 1)
    return "bids:raw:" + "/".join(parts[start:])
