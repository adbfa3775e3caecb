"""The maps of a run on the grid of another space, and how often they were interpolated."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.bids.run import AslRun
from cereflow_bids.imaging.composed import Place, bring_map, bring_sum
from cereflow_bids.workflow.images import load, load_input, load_mask

Float = NDArray[np.floating]

_ORDERS = {"cbf": 3, "att": 1}
_ONCE = (
    "Motion and registration were composed: each volume was taken from where it was acquired by "
    "one cubic spline. M0 is the map of the run, smoothed there."
)
_ONCE_STILL = "The map of the run, whose volumes were not realigned, was interpolated."
_TWICE = "The map of the run, whose volumes were realigned, was interpolated once more."


@dataclass(frozen=True, eq=False)
class Moved:
    """A map in another space, and what its sidecar says besides."""

    data: Float
    sidecar: dict[str, Any]


def moved_maps(run: AslRun, maps: Mapping[str, str], place: Place) -> Iterator[tuple[str, Moved]]:
    """Return the maps of a run that there are, brought to a place.

    Parameters
    ----------
    run
        The run.
    maps
        ``mask`` and ``matrices``; ``cbf`` and ``att``, empty if there is none; ``gain`` and
        ``weights``, which make CBF from the volumes, empty where it is no sum of them.
    place
        Where to.
    """
    motion = np.load(maps["matrices"])
    still = not _realigned(motion)
    mask, affine = load_mask(maps["mask"]), load(maps["mask"])[1]
    if maps["cbf"] and maps["gain"] and not still:
        yield "cbf", Moved(_composed(run, maps, motion, place), _told(1, _ONCE))
    elif maps["cbf"]:
        cbf = bring_map(load(maps["cbf"])[0], affine, mask, place, order=_ORDERS["cbf"])
        yield "cbf", Moved(cbf, _told(*((1, _ONCE_STILL) if still else (2, _TWICE))))
    if maps["att"]:
        att = bring_map(load(maps["att"])[0], affine, mask, place, order=_ORDERS["att"])
        yield "att", Moved(att, _told(*((1, _ONCE_STILL) if still else (2, _TWICE))))


def _composed(run: AslRun, maps: Mapping[str, str], motion: Float, place: Place) -> Float:
    series, affine = load_input(run.asl, run.source)
    weights = json.loads(Path(maps["weights"]).read_text(encoding="utf-8"))
    volumes = series if series.ndim == 4 else series[..., None]
    difference = bring_sum(volumes, affine, weights, motion, place)
    gain = load(maps["gain"])[0]
    everywhere = np.ones(gain.shape, dtype=bool)
    factor: Float = bring_map(gain, affine, everywhere, place, order=3)
    return factor * difference


def _realigned(motion: Float) -> bool:
    """Tell whether any volume was moved."""
    estimated = motion[np.isfinite(motion).all(axis=(1, 2))]
    return any(not np.array_equal(matrix, np.eye(4)) for matrix in estimated)


def _told(count: int, how: str) -> dict[str, Any]:
    return {"Interpolations": count, "InterpolationMethod": how}
