"""The tissue and the regions of the digital head, from the packaged template and atlas.

On a grid of 1 mm every point is grey matter, white matter, cerebrospinal fluid, scalp or nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cereflow_bids.regions.atlas import packaged_atlas
from cereflow_bids.resources import template

_PAD = 18  # mm around the template grid, room for skull and scalp
_SKULL_MM = 6.0
_SCALP_MM = 12.0


@dataclass(frozen=True)
class Anatomy:
    """The head on its 1 mm grid, before anyone's blood flow is painted on it.

    Attributes
    ----------
    tissue
        0 nothing, 1 grey matter, 2 white matter, 3 cerebrospinal fluid, 4 scalp; ``(x, y, z)``.
    labels
        Atlas labels, 0 outside; ``(x, y, z)``.
    nearest
        Label of the nearest region at every point of the brain, 0 outside; ``(x, y, z)``.
    affine
        Voxel to template mm, ``(4, 4)``.
    """

    tissue: NDArray[np.uint8]
    labels: NDArray[np.int32]
    nearest: NDArray[np.int32]
    affine: NDArray[np.float64]


class Region(NamedTuple):
    """A row of the atlas table."""

    label: int
    name: str
    hemisphere: str
    group: str


def regions() -> list[Region]:
    """Return every region of the packaged atlas."""
    table = packaged_atlas().regions()
    columns = (table[key] for key in ("index", "name", "hemisphere", "group"))
    return [
        Region(int(label), str(name), str(side), str(group))
        for label, name, side, group in zip(*columns, strict=True)
    ]


@cache
def anatomy() -> Anatomy:
    """Return the head's anatomy, read once."""
    reference = nib.Nifti1Image.from_filename(template("T1w"))
    whole = np.asarray(reference.dataobj) > 0
    box = ndimage.find_objects(whole.astype(np.uint8))[0]
    brain, grey, white, labels = (
        np.pad(array[box], _PAD)
        for array in (whole, _voxels("GM"), _voxels("WM"), _voxels("labels").astype(np.int32))
    )
    affine = reference.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [edge.start - _PAD for edge in box]
    # 255 stands for certainty; what is neither grey nor white is fluid.
    fluid = np.clip(255 - grey.astype(np.int16) - white, 0, 255)
    tissue = np.argmax(np.stack([grey, white, fluid]), axis=0).astype(np.uint8) + 1
    # The template's maps come from T1w contrast, which takes iron-rich nuclei for white matter.
    tissue[np.isin(labels, _nuclei()) & (tissue == 2)] = 1
    tissue[~brain] = 0
    indices = ndimage.distance_transform_edt(
        labels == 0, return_distances=False, return_indices=True
    )
    nearest = np.where(brain, labels[tuple(indices)], 0)
    outside = ndimage.distance_transform_edt(~brain)
    tissue[(outside > _SKULL_MM) & (outside <= _SCALP_MM)] = 4
    return Anatomy(tissue, labels, nearest, affine)


def _voxels(kind: str) -> NDArray[np.integer]:
    """Return the voxels of a tissue map, or of the atlas (``"labels"``), on the template grid."""
    path = packaged_atlas().labels if kind == "labels" else template(kind)
    return np.asarray(nib.Nifti1Image.from_filename(path).dataobj)


def _nuclei() -> list[int]:
    """Return the labels of the deep nuclei, which are grey matter; the brainstem is mixed."""
    return [region.label for region in regions() if region.group == "subcortical"]
