"""The way from the run to the template."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.bids.run import AslRun
from cereflow_bids.imaging.point_map import PointMap
from cereflow_bids.quantification.science import Science
from cereflow_bids.workflow.images import load, load_mask, save_json
from cereflow_bids.workflow.space_maps import load_map, save_map

if TYPE_CHECKING:
    from cereflow_bids.imaging.coregistration import Coregistration


def standard_space(
    run: AslRun,
    science: Science,
    folder: Path,
    *,
    aslref: str,
    mask: str,
    anatomy: Mapping[str, str],
) -> dict[str, str]:
    """Register to the template, through the T1w image where there is one.

    Parameters
    ----------
    run, science, folder
        As for every step.
    aslref, mask
        Of the run.
    anatomy
        What `anatomy.prepare` made of the T1w image; empty texts where there is none.

    Returns
    -------
    dict
        ``to_asl`` and ``to_template``: maps from points of the template to points of the run and
        back; ``t1w_to_asl``: the same from the T1w, empty where it was not used;
        ``registration``: quality measures of the registration to the T1w; ``notes``.
    """
    from cereflow_bids.imaging.standard_space import register_to_template
    from cereflow_bids.resources import template

    notes = json.loads(Path(anatomy["notes"]).read_text("utf-8")) if anatomy["notes"] else []
    found = _coregistration(science, aslref, mask, anatomy)
    if found is not None:
        notes.append(found.note)
    figures = {} if found is None else {"t1w_spread": found.spread, "t1w_overlap": found.overlap}
    told = {
        "registration": save_json(figures, folder / "registration.json"),
        "notes": save_json(notes, folder / "notes.json"),
    }
    if found is not None and found.trusted:
        return _through_t1w(found.matrix, folder, anatomy) | told
    image, affine = load(aslref)
    brain, brain_affine = load(template("T1w"))
    matrix = register_to_template(
        image, load_mask(mask), affine, brain, brain_affine, seed=science.seed
    )
    return told | {
        "to_asl": save_map(matrix, folder / "to_asl.npz"),
        "to_template": save_map(np.linalg.inv(matrix), folder / "to_template.npz"),
        "t1w_to_asl": "",
    }


def _coregistration(
    science: Science, aslref: str, mask: str, anatomy: Mapping[str, str]
) -> Coregistration | None:
    """Register to the T1w image; None where there is none."""
    from cereflow_bids.imaging.coregistration import register_to_t1w

    if not anatomy["head"]:
        return None
    image, affine = load(aslref)
    head, head_affine = load(anatomy["head"])
    brain = load_mask(anatomy["brain"])
    return register_to_t1w(
        image, affine, head, head_affine, brain, mask=load_mask(mask), seed=science.seed
    )


def _through_t1w(matrix: NDArray[Any], folder: Path, anatomy: Mapping[str, str]) -> dict[str, str]:
    """Return the maps through the T1w image, whose points `matrix` takes to those of the run."""
    to_asl, to_template = (load_map(anatomy[name]) for name in ("to_t1w", "to_template"))
    if not isinstance(to_asl, PointMap) or not isinstance(to_template, PointMap):
        raise TypeError("the way from T1w to template is no deformation")
    back = np.linalg.inv(matrix)
    return {
        "to_asl": save_map(to_asl.followed_by(matrix), folder / "to_asl.npz"),
        "to_template": save_map(to_template.preceded_by(back), folder / "to_template.npz"),
        "t1w_to_asl": save_map(matrix, folder / "t1w_to_asl.npz"),
    }
