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
    from cereflow_bids.imaging.template_registration import TemplateRegistration


def standard_space(
    run: AslRun,
    science: Science,
    folder: Path,
    *,
    series: str,
    aslref: str,
    mask: str,
    anatomy: Mapping[str, str],
    threads: int = 1,
) -> dict[str, str]:
    """Register to the template, through the T1w image where there is one.

    Parameters
    ----------
    run, science, folder
        As for every step.
    series, aslref, mask
        Of the run.
    anatomy
        What `anatomy.prepare` made of the T1w image; empty texts where there is none.

    Returns
    -------
    dict
        ``to_asl`` and ``to_template``: maps from points of the template to points of the run and
        back; ``t1w_to_asl``: the same from the T1w, empty where it was not used;
        ``registration``: its quality ``measures`` and why regional values are ``withheld``,
        empty if they are not; ``notes``.
    """
    notes = json.loads(Path(anatomy["notes"]).read_text("utf-8")) if anatomy["notes"] else []
    found = _coregistration(science, aslref, mask, anatomy, threads)
    if found is not None:
        notes.append(found.note)
    measures = {} if found is None else found.measures
    doubts: tuple[str, ...] = ()
    if found is not None and found.trusted:
        ways = _through_t1w(found.matrix, folder, anatomy)
    else:
        directly = _directly(run, science, {"series": series, "aslref": aslref, "mask": mask})
        ways = {
            "to_asl": save_map(directly.matrix, folder / "to_asl.npz"),
            "to_template": save_map(np.linalg.inv(directly.matrix), folder / "to_template.npz"),
            "t1w_to_asl": "",
        }
        measures |= directly.measures
        doubts = directly.doubts
        notes += [directly.note, *([directly.warning] if doubts else [])]
    registration = {"measures": measures, "withheld": "; ".join(doubts)}
    return ways | {
        "registration": save_json(registration, folder / "registration.json"),
        "notes": save_json(notes, folder / "notes.json"),
    }


def _directly(run: AslRun, science: Science, images: Mapping[str, str]) -> TemplateRegistration:
    """Register to the template without a T1w image."""
    from cereflow_bids.imaging.standard_space import register_to_template, template_tissues
    from cereflow_bids.quantification.differences import find_differences
    from cereflow_bids.resources import template

    reference, affine = load(images["aslref"])
    differences = find_differences(run, load(images["series"])[0]).values
    # Where a volume has no value, the others stand in; where none has, there is no perfusion.
    known = np.isfinite(differences)
    total = np.where(known, differences, 0).sum(axis=-1)
    brain, own = load(template("T1w"))
    gm, wm = (load(template(name))[0] / 255 for name in ("GM", "WM"))
    return register_to_template(
        (reference, total / np.maximum(known.sum(axis=-1), 1)),
        load_mask(images["mask"]),
        affine,
        *template_tissues(brain, gm, wm, own),
        seed=science.seed,
    )


def _coregistration(
    science: Science, aslref: str, mask: str, anatomy: Mapping[str, str], threads: int
) -> Coregistration | None:
    """Register to the T1w image; None where there is none."""
    from cereflow_bids.imaging.coregistration import register_to_t1w

    if not anatomy["head"]:
        return None
    image, affine = load(aslref)
    head, head_affine = load(anatomy["head"])
    brain = load_mask(anatomy["brain"])
    return register_to_t1w(
        *(image, affine, head, head_affine, brain),
        mask=load_mask(mask),
        seed=science.seed,
        processes=threads,
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
