"""Arterial territories by rule from gyral labels: no angiogram and no lesion map is in them.

The rules follow published descriptions of injected brains and of their sections (Tatu 1998, 2012;
van der Zwan 1993; Mangla 2011). Where arteries share a gyrus the boundary is a plane in template
space, as far as possible at the sulcus that the descriptions name. In people these boundaries
vary by centimetres (van der Zwan 1993).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

if TYPE_CHECKING:
    import pandas as pd

Labels = NDArray[np.integer]
Mask = NDArray[np.bool_]
Sides = tuple[NDArray[np.uint8], NDArray[np.uint8]]

ACA, ACA_DEEP, MCA, MCA_DEEP, PCA, PCA_DEEP, CEREBELLUM, BRAINSTEM = range(1, 9)
"""What feeds a voxel: cortical (leptomeningeal) branches, or perforators where it says deep."""

SMOOTHING_MM = 3.0
BORDER_MM = 6.0
INTERNAL_BORDER_MM = 4.0
INTERNAL_BORDER_FLOOR_MM = 18.0
POSTERIOR_BORDER_FRONT_MM = -40.0
ANTERIOR_BORDER_FLOOR_MM = 15.0
FRONTAL_HORN_MM = 20.0
THALAMIC_RIM_MM = 2.0

WHOLE_GYRUS = {
    ACA: (
        *("superior frontal", "medial orbitofrontal", "frontal pole", "paracentral", "precuneus"),
        *("rostral anterior cingulate", "caudal anterior cingulate", "posterior cingulate"),
    ),
    ACA_DEEP: ("accumbens",),
    MCA: (
        *("rostral middle frontal", "caudal middle frontal", "precentral", "postcentral"),
        *("pars opercularis", "pars triangularis", "pars orbitalis", "lateral orbitofrontal"),
        *("insula", "supramarginal", "inferior parietal", "superior parietal"),
        *("superior temporal", "middle temporal", "transverse temporal", "temporal pole"),
        *("banks of superior temporal sulcus", "amygdala"),
    ),
    MCA_DEEP: ("caudate", "putamen", "pallidum"),
    PCA: (
        *("cuneus", "lingual", "pericalcarine", "lateral occipital", "fusiform"),
        *("inferior temporal", "parahippocampal", "entorhinal", "hippocampus"),
        "isthmus cingulate",
    ),
    PCA_DEEP: ("thalamus",),
    CEREBELLUM: ("cerebellar cortex",),
    BRAINSTEM: ("brainstem",),
}


@dataclass(frozen=True)
class Shared:
    """Part of a gyrus that another artery feeds: where every limit holds (mm from the origin)."""

    gyri: tuple[str, ...]
    feeder: int
    lateral: tuple[float, float] = (0, 200)
    anterior: tuple[float, float] = (-200, 200)
    up: tuple[float, float] = (-200, 200)


SHARED = (
    # Convexity: the anterior artery comes over the edge down to the level of the superior frontal
    # sulcus, about 2 cm, and behind it along the intraparietal sulcus.
    Shared(("precentral", "postcentral", "superior parietal"), ACA, lateral=(0, 20), up=(45, 200)),
    Shared(("superior parietal",), PCA, lateral=(0, 26), anterior=(-200, -78)),
    Shared(("rostral middle frontal",), ACA, lateral=(0, 20)),
    Shared(("lateral orbitofrontal",), ACA, lateral=(0, 20)),
    # Heubner's recurrent artery feeds the lower front of the head of the caudate nucleus.
    Shared(("caudate",), ACA_DEEP, anterior=(6, 200), up=(-200, 2)),
    # The parieto-occipital artery feeds the lower and the hindmost part of the precuneus.
    Shared(("precuneus",), PCA, up=(-200, 28)),
    Shared(("precuneus",), PCA, anterior=(-200, -70)),
    # The back of the middle artery ends in front of the occipital pole, above its lower edge.
    Shared(("lateral occipital",), MCA, lateral=(32, 200), anterior=(-86, 200), up=(-4, 200)),
    Shared(("inferior parietal",), PCA, lateral=(0, 32), anterior=(-200, -80)),
    # The front of the temporal lobe is the middle artery's, its lower surface the posterior's.
    Shared(("fusiform",), MCA, anterior=(-8, 200)),
    Shared(("inferior temporal",), MCA, anterior=(-14, 200)),
    Shared(("inferior temporal",), MCA, up=(-14, 200)),
    Shared(("entorhinal",), MCA, anterior=(0, 200)),
)

# Where the trunk enters each territory; what is near is proximal.
ROOTS = {
    ACA: ("accumbens", "rostral anterior cingulate"),
    MCA: ("insula",),
    PCA: ("thalamus", "parahippocampal"),
}


@dataclass(frozen=True)
class Hemisphere:
    """Both halves of the labels, laid one upon the other; axis 0 goes from the midline outwards.

    Attributes
    ----------
    names
        Number of each region's name, 1 up.
    halves
        Left and right half (x, y, z) with these numbers, 0 elsewhere.
    tissue
        Where there is grey or white matter.
    axes
        Coordinates of voxel centres along the axes, mm; x counts from the midline.
    box
        Where the smallest box around all labels and tissue lies in the half of the grid.
    """

    names: dict[str, int]
    halves: tuple[Labels, Labels]
    tissue: Mask
    axes: tuple[NDArray[np.floating], ...]
    box: tuple[slice, ...]

    @classmethod
    def fold(
        cls, labels: Labels, regions: pd.DataFrame, tissue: Mask, origin: NDArray[np.floating]
    ) -> Hemisphere:
        """Fold a 1 mm label image whose midline plane is a plane of voxels.

        Parameters
        ----------
        labels
            Gyral and subcortical labels (x, y, z), x rising to the right.
        regions
            Table with index and name.
        tissue
            Grey or white matter, the same on both sides.
        origin
            Coordinates of the first voxel's centre (3,), mm.
        """
        middle = round(-origin[0])
        if labels.shape[0] != 2 * middle + 1 or (tissue != tissue[::-1]).any():
            raise ValueError("the template is not symmetric about its midline")
        names = {name: k for k, name in enumerate(dict.fromkeys(regions["name"]), start=1)}
        number = np.zeros(int(labels.max()) + 1, dtype=np.int16)
        number[regions["index"]] = regions["name"].map(names)
        left, right = (number[half] for half in (labels[middle - 1 :: -1], labels[middle + 1 :]))
        tissue = tissue[middle + 1 :]
        content = (left > 0) | (right > 0) | tissue
        (box,) = ndimage.find_objects(content.astype(np.uint8))
        starts = (1.0, *origin[1:])
        axes = (
            start + np.arange(part.start, part.stop)
            for start, part in zip(starts, box, strict=True)
        )
        return cls(names, (left[box], right[box]), tissue[box], tuple(axes), box)

    def inside(self, half: Labels, gyri: tuple[str, ...]) -> Mask:
        """Tell where a half has one of the regions."""
        return np.isin(half, [self.names[name] for name in gyri])


def feeders(brain: Hemisphere) -> NDArray[np.uint8]:
    """Return what feeds each voxel of a hemisphere, the same for both sides; 0 outside tissue.

    Grey matter by gyrus and plane, white matter by the nearest grey matter; the thalamus alone
    reaches no further than its rim, for the capsule beside it is not its arteries'. Left and right
    vote together, smoothed, so that the sides of one brain do not differ.
    """
    counts = np.zeros((BRAINSTEM + 1, *brain.tissue.shape), dtype=np.float32)
    for half in brain.halves:
        nearest = _nearest(_grey_matter(brain, half), half, brain)
        for feeder in range(1, BRAINSTEM + 1):
            counts[feeder] += nearest == feeder
    for feeder in range(1, BRAINSTEM + 1):
        counts[feeder] = ndimage.gaussian_filter(counts[feeder], SMOOTHING_MM, mode="nearest")
    return np.where(brain.tissue, counts.argmax(axis=0), 0).astype(np.uint8)


def _grey_matter(brain: Hemisphere, half: Labels) -> NDArray[np.uint8]:
    found = np.zeros(half.shape, dtype=np.uint8)
    for feeder, gyri in WHOLE_GYRUS.items():
        found[brain.inside(half, gyri)] = feeder
    grid = np.ix_(*brain.axes)
    for rule in SHARED:
        here = brain.inside(half, rule.gyri)
        for place, (low, high) in zip(grid, (rule.lateral, rule.anterior, rule.up), strict=True):
            here &= (place >= low) & (place < high)
        found[here] = rule.feeder
    return found


def _nearest(grey: NDArray[np.uint8], half: Labels, brain: Hemisphere) -> NDArray[np.uint8]:
    """Give white matter what feeds the nearest grey matter."""
    thalamus = brain.inside(half, ("thalamus",))
    sources = (grey > 0) & ~thalamus
    where = ndimage.distance_transform_edt(~sources, return_distances=False, return_indices=True)
    nearest = grey[tuple(where)]
    rim = ndimage.distance_transform_edt(~thalamus) <= THALAMIC_RIM_MM
    nearest[rim & (grey == 0)] = PCA_DEEP
    nearest[thalamus] = PCA_DEEP
    return nearest


def territories(fed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return territories of a hemisphere: 1 ACA, 2 MCA, 3 PCA, 4 cerebellum, 5 brainstem."""
    number = np.array([0, 1, 1, 2, 2, 3, 3, 4, 5], dtype=np.uint8)
    return number[fed]


def proximal_and_distal(brain: Hemisphere, fed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Divide ACA, MCA, PCA into 1/2, 3/4, 5/6: the nearer and the farther half of each.

    Distance, mean of both sides, is from the grey matter where the trunk enters. What perforators
    feed is proximal whatever its distance.
    """
    parts = np.zeros(fed.shape, dtype=np.uint8)
    for k, (cortical, gyri) in enumerate(ROOTS.items()):
        distance = sum(
            ndimage.distance_transform_edt(~brain.inside(half, gyri)) for half in brain.halves
        )
        whole = (fed == cortical) | (fed == cortical + 1)
        distance[fed == cortical + 1] = 0
        near = distance <= np.median(distance[whole])
        parts[whole & near] = 2 * k + 1
        parts[whole & ~near] = 2 * k + 2
    return parts


def border_zones(brain: Hemisphere, fed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return border zones of a hemisphere: 1 ACA-MCA, 2 MCA-PCA, 3 internal (deep-cortical MCA).

    The cortical ones are bands on both sides of the seam through cortex and white matter. The
    internal one is white matter at the seam of perforators and cortical branches above the basal
    ganglia: corona radiata and centrum semiovale. What is not called a border zone is left out:
    the seams through the base of the brain and through the front of the temporal lobe.
    """
    zones = np.zeros(fed.shape, dtype=np.uint8)
    high = brain.axes[2] >= INTERNAL_BORDER_FLOOR_MM
    grey = np.logical_or(*(half > 0 for half in brain.halves))
    internal = _band(fed, MCA, MCA_DEEP, INTERNAL_BORDER_MM) & ~grey & high
    zones[internal] = 3
    _, y, z = np.ix_(*brain.axes)
    above = (z >= ANTERIOR_BORDER_FLOOR_MM) | (y >= FRONTAL_HORN_MM)
    zones[_band(fed, ACA, MCA, BORDER_MM) & above] = 1
    zones[_band(fed, MCA, PCA, BORDER_MM) & (y < POSTERIOR_BORDER_FRONT_MM)] = 2
    return zones


def _band(fed: NDArray[np.uint8], one: int, other: int, width: float) -> Mask:
    here, there = fed == one, fed == other
    to_here, to_there = (ndimage.distance_transform_edt(~side) for side in (here, there))
    return np.asarray((here & (to_there <= width)) | (there & (to_here <= width)))


def unfold(half: NDArray[np.uint8], brain: Hemisphere, shape: tuple[int, ...]) -> Sides:
    """Return the left and the right half on the whole grid; the midline plane stays empty."""
    middle = shape[0] // 2
    whole = np.zeros((middle, *shape[1:]), dtype=np.uint8)
    whole[brain.box] = half
    nothing = np.zeros((middle + 1, *shape[1:]), dtype=np.uint8)
    return np.concatenate((whole[::-1], nothing)), np.concatenate((nothing, whole))
