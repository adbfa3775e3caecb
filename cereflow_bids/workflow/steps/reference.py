"""M0, the reference image and the brain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.bids.run import AslRun
from cereflow_bids.errors import InputError
from cereflow_bids.quantification.science import Science
from cereflow_bids.workflow.images import load, load_input, mean_volume, save, save_json


def reference(
    run: AslRun, science: Science, folder: Path, *, series: str, threads: int = 1
) -> dict[str, str]:
    """Find M0 and the brain; ``m0`` (empty if there is none), ``aslref``, ``mask``, ``notes``."""
    from cereflow_bids.imaging.masks import brain_mask

    volumes, affine = load(series)
    m0, notes = _m0_image(run, science, volumes, affine)
    aslref, source = _reference_image(run, volumes, m0)
    try:
        brain = brain_mask(aslref, affine, threads=threads)
    except ValueError as error:
        raise InputError(
            f"{error}.",
            where=run.source,
            fix=f"look at the {source}: is there a brain in it, or a phantom? Leave phantoms out.",
        ) from error
    mask = brain.mask & _imaged_throughout(run, volumes)
    if not mask.any():
        raise InputError(
            "no voxel of the brain has a value in every volume.",
            where=run.source,
            fix="look at the series and at M0: is there a brain in all of them?",
        )
    notes += [f"Reference image and brain mask from the {source}.", brain.note]
    return {
        "m0": "" if m0 is None else save(m0, affine, folder / "m0.nii"),
        "aslref": save(aslref, affine, folder / "aslref.nii"),
        "mask": save(mask, affine, folder / "mask.nii"),
        "notes": save_json(notes, folder / "notes.json"),
    }


def _m0_image(
    run: AslRun, science: Science, volumes: NDArray[Any], affine: NDArray[Any]
) -> tuple[NDArray[Any] | None, list[str]]:
    """Return the mean M0 as acquired, on the run's grid, and notes."""
    included = run.volumes("m0scan")
    if run.calibration.m0_file is not None:
        return _separate_m0(run, science, volumes, affine)
    if included:
        return mean_volume(volumes, included), []
    if run.calibration.source == "control":
        return mean_volume(volumes, run.volumes("control")), []
    return None, []


def _separate_m0(
    run: AslRun, science: Science, volumes: NDArray[Any], affine: NDArray[Any]
) -> tuple[NDArray[Any], list[str]]:
    from cereflow_bids.imaging.registration import is_found, register
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
    target = mean_volume(volumes, control or run.volumes("deltam") or run.volumes("label"))
    start = np.eye(4)
    world = register(
        target, affine, mean, m0_affine, transform="Rigid", initial=start, seed=science.seed
    )
    note = "The M0 image was registered rigidly to the series."
    if not is_found(world, start):
        world = start
        note = (
            "The M0 image could not be registered to the series, for it has too few slices or too "
            "little contrast: it was taken to lie where its header says."
        )
    return resample(mean, m0_affine, shape, affine, world=world), [note]


def _reference_image(
    run: AslRun, volumes: NDArray[Any], m0: NDArray[Any] | None
) -> tuple[NDArray[Any], str]:
    if m0 is not None:
        return m0, "M0 image" if run.calibration.source != "control" else "mean control image"
    # Time-encoded volumes may all be labels.
    for kind in ("control", "deltam", "label"):
        if run.volumes(kind):
            return mean_volume(volumes, run.volumes(kind)), f"mean {kind} image"
    raise ValueError(f"{run.stem}: no volume to make a reference from")


def _imaged_throughout(run: AslRun, volumes: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell where every volume that enters CBF has a value; realignment leaves NaN at the rim.

    A volume that is mostly empty does not count: quantification leaves it out and says so.
    """
    kinds = ("control", "label", "deltam", "m0scan")
    used = [k for kind in kinds for k in run.volumes(kind)]
    finite = [np.isfinite(volumes[..., k]) for k in used]
    return np.asarray(np.all([one for one in finite if one.mean() > 0.5], axis=0))
