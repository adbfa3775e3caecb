"""Reading anatomy that other software has prepared, on the grid of its T1w image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.bids.precomputed import Precomputed
from cereflow_bids.imaging.aseg import brain_of_aseg, on_grid, same_grid, tissues_of_aseg
from cereflow_bids.imaging.t1w import Known
from cereflow_bids.resources import TEMPLATE_SPACE
from cereflow_bids.workflow.images import load_input

Volume = tuple[NDArray[np.float32], NDArray[np.float64]]

DSEG = {"gm": 1, "wm": 2, "csf": 3}
"""Labels of ``_dseg``, as BIDS has them for tissues."""

UNCORRECTED = "orig.mgz"
"""The only T1w image that is looked for and still has its bias field."""

_GREATEST_FRACTION = 1.01
_NAMES = {
    "brain": "the brain",
    "tissues": "grey matter, white matter and fluid",
    "bias": "the bias field",
}


@dataclass(frozen=True, eq=False)
class Ready:
    """A T1w image (x, y, z), its matrix, and what need not be made of it again."""

    image: NDArray[np.float32]
    affine: NDArray[np.float64]
    known: Known
    notes: tuple[str, ...]


def read_precomputed(given: Precomputed) -> Ready:
    """Read anatomy and say what is used of it.

    Raises
    ------
    InputError
        If a file is damaged.
    ValueError
        If the files do not go together; says why.
    """
    volumes = {part: _volume(path) for part, path in given.files.items()}
    image, affine = volumes.pop("head")
    moved = [
        given.files[part].name
        for part, (data, own) in volumes.items()
        if not same_grid(data.shape, own, image.shape, affine)
    ]
    mask = _mask(volumes, image.shape, affine)
    tissues = _tissues(volumes, mask, image.shape, affine)
    known = Known(mask, tissues, unbiased=given.files["head"].name != UNCORRECTED)
    return Ready(image, affine, known, tuple(_notes(given, known, moved)))


def _volume(path: Path) -> Volume:
    image, affine = load_input(path, path.name)
    while image.ndim > 3 and image.shape[-1] == 1:
        image = image[..., 0]
    if image.ndim != 3:
        raise ValueError(f"{path.name} has {image.ndim} dimensions")
    return image, affine


def _mask(
    volumes: dict[str, Volume], shape: tuple[int, ...], affine: NDArray[Any]
) -> NDArray[np.bool_] | None:
    """Return the brain; None where there is none."""
    if "brain" in volumes:
        # FreeSurfer marks with 1 what was erased by hand from the brain, which is a T1w image.
        image, own = volumes["brain"]
        inside = image > (1 if image.max(initial=0) > 2 else 0.5)
    elif "aseg" in volumes:
        labels, own = volumes["aseg"]
        inside = brain_of_aseg(labels.astype(np.int32), own)
    else:
        return None
    mask: NDArray[np.bool_] = on_grid(inside.astype(np.float32), own, shape, affine) > 0.5
    if not mask.any():
        raise ValueError("its brain mask is empty on the grid of its T1w image")
    return mask


def _tissues(
    volumes: dict[str, Volume],
    mask: NDArray[np.bool_] | None,
    shape: tuple[int, ...],
    affine: NDArray[Any],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]] | None:
    """Return fluid, grey and white matter; None where there is none."""
    parts = _fractions(volumes)
    if not parts:
        return None
    on = {part: on_grid(data, own, shape, affine) for part, (data, own) in parts.items()}
    for part, data in on.items():
        if float(np.nanmax(data)) > _GREATEST_FRACTION:
            raise ValueError(f"its fractions of {part.upper()} are up to {np.nanmax(data):.3g}")
    rest = 1 - on["gm"] - on["wm"]
    inside = mask if mask is not None else np.ones(shape, dtype=bool)
    csf = on.get("csf", np.where(inside, np.clip(rest, 0, 1), 0).astype(np.float32))
    return csf, on["gm"], on["wm"]


def _fractions(volumes: dict[str, Volume]) -> dict[str, Volume]:
    """Return grey and white matter, and fluid where it is told, on their own grids."""
    if {"gm", "wm"} <= set(volumes):
        return {part: volumes[part] for part in ("gm", "wm", "csf") if part in volumes}
    if "dseg" in volumes:
        labels, own = volumes["dseg"]
        found = set(np.unique(labels).tolist())
        if not found <= {0, *DSEG.values()}:
            raise ValueError("its _dseg has other labels than 1, 2 and 3 (BIDS: GM, WM, CSF)")
        return {part: ((labels == k).astype(np.float32), own) for part, k in DSEG.items()}
    if "aseg" in volumes:
        labels, own = volumes["aseg"]
        gm, wm = tissues_of_aseg(labels.astype(np.int32))
        return {"gm": (gm, own), "wm": (wm, own)}
    return {}


def _notes(given: Precomputed, known: Known, moved: list[str]) -> list[str]:
    """Say what is used, what was made here, and what was not used."""
    missing = {
        "brain": known.mask is None,
        "tissues": known.tissues is None,
        "bias": not known.unbiased,
    }
    used = ", ".join(name for part, name in _NAMES.items() if not missing[part] and part != "bias")
    made = ", ".join(_NAMES[part] for part, is_missing in missing.items() if is_missing)
    and_parts = f" with {used}" if used else ""
    notes = [f"The T1w image{and_parts} is that of {given.origin} ({given.dataset})."]
    if made:
        notes.append(f"What it lacks was made here: {made}.")
    if moved:
        notes.append(f"On another grid than its T1w image, and brought to it: {', '.join(moved)}.")
    if given.unused:
        others = " and ".join(given.unused)
        notes.append(
            f"Its transforms to {others} were not used: registration to {TEMPLATE_SPACE}, the "
            "space of the atlases, was done here."
        )
    return notes
