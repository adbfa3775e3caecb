"""The steps of one run: load, call, save. Each takes a folder to write to and returns paths.

Images travel between steps as uncompressed NIfTI in the work folder, matrices as .npy, the rest
as JSON or TSV.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.bids.run import AslRun
from cereflow_bids.errors import InputError
from cereflow_bids.imaging.point_map import PointMap
from cereflow_bids.quantification.science import Science
from cereflow_bids.regions.atlas import Atlas
from cereflow_bids.workflow.images import load, load_input, load_mask, save
from cereflow_bids.workflow.space_maps import load_map, save_map

if TYPE_CHECKING:
    from cereflow_bids.imaging.coregistration import Coregistration

Paths = dict[str, str]


def motion(run: AslRun, science: Science, folder: Path) -> Paths:
    """Realign the series; ``series``, ``matrices`` (n, 4, 4) and ``notes``."""
    from cereflow_bids.imaging.motion import estimate_motion, realign

    series, affine = load_input(run.asl, run.source)
    volumes = series if series.ndim == 4 else series[..., None]
    unknown = ~np.isfinite(volumes)
    volumes = np.nan_to_num(volumes, nan=0, posinf=0, neginf=0)
    # There is nothing in an empty volume to align, and it must not take the others along.
    kinds = ["n/a" if unknown[..., k].all() else kind for k, kind in enumerate(run.context)]
    found = estimate_motion(volumes, affine, kinds, seed=science.seed)
    realigned = realign(volumes, affine, found)
    realigned[unknown] = np.nan
    np.save(folder / "matrices.npy", found.matrices)
    return {
        "series": save(realigned, affine, folder / "series.nii"),
        "matrices": str(folder / "matrices.npy"),
        "notes": _write_json([found.note], folder / "notes.json"),
    }


def reference(
    run: AslRun, science: Science, folder: Path, *, series: str, threads: int = 1
) -> Paths:
    """Find M0 and the brain; ``m0`` (empty if there is none), ``aslref``, ``mask``, ``notes``."""
    from cereflow_bids.imaging.masks import brain_mask

    volumes, affine = load(series)
    m0, notes = _m0_image(run, science, volumes, affine)
    aslref, source = _reference_image(run, volumes, m0)
    try:
        brain = brain_mask(aslref, affine, threads=threads)
    except ValueError as error:
        raise InputError(
            f"{error}.", where=run.source, fix=f"look at the {source}: is there a brain in it?"
        ) from error
    notes += [f"Reference image and brain mask from the {source}.", brain.note]
    return {
        "m0": "" if m0 is None else save(m0, affine, folder / "m0.nii"),
        "aslref": save(aslref, affine, folder / "aslref.nii"),
        "mask": save(brain.mask & _imaged_throughout(run, volumes), affine, folder / "mask.nii"),
        "notes": _write_json(notes, folder / "notes.json"),
    }


def standard_space(
    run: AslRun,
    science: Science,
    folder: Path,
    *,
    aslref: str,
    mask: str,
    anatomy: Mapping[str, str],
) -> Paths:
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
        "registration": _write_json(figures, folder / "registration.json"),
        "notes": _write_json(notes, folder / "notes.json"),
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


def _through_t1w(matrix: NDArray[Any], folder: Path, anatomy: Mapping[str, str]) -> Paths:
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


def tissue(
    run: AslRun,
    science: Science,
    folder: Path,
    *,
    mask: str,
    space: Mapping[str, str],
    anatomy: Mapping[str, str],
    atlases: Sequence[Atlas],
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
    fractions = {
        name: save(
            area_average(image, own, inside.shape, affine, world=world),
            affine,
            folder / f"{name}.nii",
        )
        for name, (image, own) in images.items()
    }
    return fractions | bring_atlases(atlases, mask, folder, to_template=to_template, to_asl=to_asl)


PERFUSION_IMAGES = ("series", "m0", "mask", "gm", "wm", "brain")


def perfusion(
    run: AslRun, science: Science, folder: Path, *, images: Mapping[str, str]
) -> dict[str, Any]:
    """Quantify; maps that exist, ``further`` maps by output key, ``record`` of how.

    `images` are those of `PERFUSION_IMAGES`; ``m0`` may be empty.
    """
    from cereflow_bids.quantification.quantify import quantify
    from cereflow_bids.quantification.tissues import Tissues

    volumes, affine = load(images["series"])
    gm, wm, brain = (load(images[name])[0] for name in ("gm", "wm", "brain"))
    result = quantify(
        run,
        volumes,
        load(images["m0"])[0] if images["m0"] else None,
        load_mask(images["mask"]),
        voxel_size=_voxel_size(affine),
        science=science,
        tissues=Tissues.of_brain(gm, wm, brain),
    )
    maps = {
        "deltam": result.deltam,
        "cbf": result.cbf,
        "cbf_standard_error": result.standard_error,
        "cbf_relative": result.relative,
        "m0map": result.m0,
    }
    record = {
        "Quantification": result.method,
        "Reference": result.reference,
        "Parameters": [parameter.as_json() for parameter in result.parameters],
        "Acquisition": run.acquisition
        | {"VoxelSize": _voxel_size(affine), "NumberOfPairs": result.n_pairs},
        "Notes": list(result.notes),
        "CalibrationParameters": [parameter.as_json() for parameter in result.calibration],
        "SelectionParameters": [parameter.as_json() for parameter in result.selection],
        "RejectedVolumes": [asdict(one) for one in result.rejected],
        "Findings": [one.name for one in result.findings],
        "Suspicion": " ".join(one.text for one in result.findings),
    } | ({"Refused": result.refusal} if result.refusal else {})
    saved = {
        name: "" if data is None else save(data, affine, folder / f"{name}.nii")
        for name, data in maps.items()
    }
    further = {
        key: save(data, affine, folder / f"{key}.nii") for key, data in result.further.items()
    }
    return saved | {
        "further": further,
        "record": _write_json(record, folder / "record.json"),
    }


def _m0_image(
    run: AslRun, science: Science, volumes: NDArray[Any], affine: NDArray[Any]
) -> tuple[NDArray[Any] | None, list[str]]:
    """Return the mean M0 as acquired, on the run's grid, and notes."""
    included = run.volumes("m0scan")
    if run.calibration.m0_file is not None:
        return _separate_m0(run, science, volumes, affine)
    if included:
        return _mean(volumes, included), []
    if run.calibration.source == "control":
        return _mean(volumes, run.volumes("control")), []
    return None, []


def _separate_m0(
    run: AslRun, science: Science, volumes: NDArray[Any], affine: NDArray[Any]
) -> tuple[NDArray[Any], list[str]]:
    from cereflow_bids.imaging.registration import register
    from cereflow_bids.imaging.resampling import resample
    from cereflow_bids.quantification.m0_series import mean_m0

    m0_file = run.calibration.m0_file or Path()
    data, m0_affine = load_input(m0_file, m0_file.name)
    try:
        mean = mean_m0(data)
    except ValueError as error:
        raise InputError(
            f"{error}: one of them is suppressed, or scaled otherwise.",
            where=m0_file.name,
            fix="leave the volumes out that are no calibration scans.",
        ) from error
    shape = volumes.shape[:3]
    same_grid = mean.shape == shape and np.allclose(m0_affine, affine, atol=1e-3)
    control = run.volumes("control")
    if same_grid and len(control) < 2:
        return mean, ["The M0 image lies on the grid of the series and was not moved."]
    target = _mean(volumes, control or run.volumes("deltam") or run.volumes("label"))
    world = register(
        target, affine, mean, m0_affine, transform="Rigid", initial=np.eye(4), seed=science.seed
    )
    moved = resample(mean, m0_affine, shape, affine, world=world)
    return moved, ["The M0 image was registered rigidly to the series."]


def _reference_image(
    run: AslRun, volumes: NDArray[Any], m0: NDArray[Any] | None
) -> tuple[NDArray[Any], str]:
    if m0 is not None:
        return m0, "M0 image" if run.calibration.source != "control" else "mean control image"
    # Time-encoded volumes may all be labels.
    for kind in ("control", "deltam", "label"):
        if run.volumes(kind):
            return _mean(volumes, run.volumes(kind)), f"mean {kind} image"
    raise ValueError(f"{run.stem}: no volume to make a reference from")


def _mean(volumes: NDArray[Any], index: list[int]) -> NDArray[Any]:
    """Return the mean of some volumes, 0 where one of them did not image the place.

    Empty volumes do not count, unless there is no other.
    """
    imaged = [k for k in index if np.isfinite(volumes[..., k]).mean() > 0.5]
    return np.nan_to_num(volumes[..., imaged or index].mean(axis=-1))


def _imaged_throughout(run: AslRun, volumes: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell where every volume that enters CBF has a value; realignment leaves NaN at the rim.

    A volume that is mostly empty does not count: quantification leaves it out and says so.
    """
    kinds = ("control", "label", "deltam", "m0scan")
    used = [k for kind in kinds for k in run.volumes(kind)]
    finite = [np.isfinite(volumes[..., k]) for k in used]
    return np.asarray(np.all([one for one in finite if one.mean() > 0.5], axis=0))


def _matrix(path: str) -> NDArray[np.float64]:
    found = load_map(path)
    if isinstance(found, PointMap):
        raise TypeError("a rigid registration is a matrix")
    return found


def _voxel_size(affine: NDArray[Any]) -> list[float]:
    return [round(float(edge), 4) for edge in np.linalg.norm(affine[:3, :3], axis=0)]


def _write_json(content: Any, path: Path) -> str:
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(path)
