"""Faces out of anatomical images: everything before a plane in front of the brain is cleared."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.errors import InputError
from cereflow_bids.imaging.brain_network import extract_brain
from cereflow_bids.imaging.masks import volume_limits
from cereflow_bids.intake import heuristic
from cereflow_bids.intake.nifti.assembly import Scan
from cereflow_bids.intake.nifti.sidecars import DEFACED

if TYPE_CHECKING:
    import nibabel as nib

# Between the brain and the plane, mm.
_DISTANCE = 10.0


def without_faces(scans: Sequence[Scan], folder: Path) -> tuple[list[Scan], list[str]]:
    """Deface the T1w images among `scans`, and leave out those where that is not possible.

    Parameters
    ----------
    scans
        Converted series of one study.
    folder
        Where defaced images go.

    Returns
    -------
    kept
        The scans; what is said in the sidecar of a defaced one is how that was done.
    notes
        One sentence for each image that was left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept, notes = [], []
    for number, scan in enumerate(scans):
        is_t1w = scan.known.kind in (heuristic.rules().T1W, heuristic.rules().T1W_THICK)
        if not is_t1w or DEFACED in scan.sidecars[0]:
            kept.append(scan)
            continue
        path = folder / f"defaced-{number:03d}.nii"
        try:
            how = deface(scan.files[0], path, f"series {scan.known.number}")
        except InputError as error:
            notes.append(f"a T1w was left out, for it cannot be defaced: {error}")
        else:
            told = {**scan.sidecars[0], DEFACED: how}
            kept.append(replace(scan, files=(path,), sidecars=(told,)))
    return kept, notes


def deface(source: Path, target: Path, where: str) -> str:
    """Write a copy of `source` in which the face is 0, and return how that was done.

    The packaged network finds the brain; quickshear (Schimke and Hale 2011) puts the plane in
    front of it. Ears and the back of the head stay.

    Parameters
    ----------
    source, target
        NIfTI files.
    where
        What a message calls the image by.

    Raises
    ------
    InputError
        If no plausible brain is found: what is called defaced must be so.
    """
    import nibabel as nib
    from quickshear import quickshear

    image = nib.Nifti1Image.from_filename(source)
    brain = _brain(image, where)
    voxel = float(np.mean(image.header.get_zooms()[:3]))
    mask = nib.Nifti1Image(brain.astype(np.uint8), image.affine)
    whole = nib.Nifti1Image(np.ones(image.shape, dtype=np.uint8), image.affine)
    with warnings.catch_warnings():
        # It takes the cross product of two vectors in the plane, which NumPy will not have.
        warnings.simplefilter("ignore", DeprecationWarning)
        kept = np.asarray(quickshear(whole, mask, buff=round(_DISTANCE / voxel)).dataobj) > 0
    if not kept[brain].all() or kept.all():
        raise InputError(
            "The face could not be cut off without the brain.",
            where=where,
            fix="deface this image with another tool, and leave --deface out for it.",
        )
    proxy: Any = image.dataobj
    stored = np.array(proxy.get_unscaled())
    stored[~kept] = 0
    result = nib.Nifti1Image(stored, image.affine, image.header)
    result.header.set_slope_inter(proxy.slope, proxy.inter)
    nib.save(result, target)
    return f"quickshear {version('quickshear')}, {_DISTANCE:g} mm before the brain"


def _brain(image: nib.Nifti1Image, where: str) -> NDArray[np.bool_]:
    data = np.asarray(image.get_fdata(dtype=np.float32))
    affine = np.asarray(image.affine)
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    try:
        brain = np.asarray(extract_brain(data, affine))
    except ValueError as error:
        raise _no_brain(where) from error
    upright = int(np.abs(affine[2, :3]).argmax())
    low, high = volume_limits(float(sizes[upright]) * data.shape[upright])
    if not low <= brain.sum() * float(sizes.prod()) / 1000 <= high:
        raise _no_brain(where)
    return brain


def _no_brain(where: str) -> InputError:
    return InputError(
        "No brain was found in the image, so that its face cannot be told from it.",
        where=where,
        fix="deface this image with another tool, and leave --deface out for it.",
    )
