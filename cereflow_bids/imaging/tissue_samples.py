"""What a registration by tissues looks at: the template, and ASL images at points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cereflow_bids.imaging.point_map import transform

Float = NDArray[np.floating]
Mask = NDArray[np.bool_]

_RIM_MM = 8.0  # of surroundings, where the outline can tell that the template is too large
_CLIPPED = (2, 98)  # percentiles of a contrast in the brain


@dataclass(frozen=True, eq=False)
class Tissues:
    """Tissue fractions of the template at one resolution.

    Attributes
    ----------
    fractions
        (tissues, x, y, z); their sum is 1 in the brain and 0 outside.
    slopes
        Their derivatives by RAS+ coordinates (tissues, 3, x, y, z), 1/mm.
    affine
        Voxel-to-RAS+ matrix (4, 4), mm.
    """

    fractions: Float
    slopes: Float
    affine: Float

    @classmethod
    def smoothed(cls, fractions: Float, affine: Float, sigma: float) -> Tissues:
        """Smooth fractions (tissues, x, y, z) by a Gaussian with an SD of `sigma` mm."""
        edges = np.linalg.norm(affine[:3, :3], axis=0)
        smooth = np.stack([ndimage.gaussian_filter(one, sigma / edges) for one in fractions])
        steps = np.stack([np.stack(np.gradient(one)) for one in smooth])
        slopes = np.einsum("tvxyz,vw->twxyz", steps, np.linalg.inv(affine)[:3, :3])
        return cls(smooth, slopes.astype(np.float32), affine)

    def at(self, points: Float) -> Float:
        """Return the fractions (tissues, n) at points (3, n) in RAS+ mm."""
        return self._interpolated(self.fractions, points)

    def with_slopes(self, points: Float) -> tuple[Float, Float]:
        """Return the fractions, and their derivatives (tissues, 3, n), at points (3, n)."""
        flat = self.slopes.reshape(-1, *self.slopes.shape[2:])
        slopes = self._interpolated(flat, points)
        return self.at(points), slopes.reshape(len(self.fractions), 3, -1)

    def _interpolated(self, maps: Float, points: Float) -> Float:
        voxels = transform(np.linalg.inv(self.affine), points)
        return np.stack([ndimage.map_coordinates(one, voxels, order=1) for one in maps])


@dataclass(frozen=True, eq=False)
class Samples:
    """What the ASL images show at some points.

    Attributes
    ----------
    points
        (3, n), RAS+ mm.
    outline
        How much of the brain mask is there, 0 to 1 (n,).
    contrasts
        Values (n,) of each image.
    weights
        1 in the brain mask, 0 outside (n,).
    """

    points: Float
    outline: Float
    contrasts: tuple[Float, ...]
    weights: Float


def take_samples(
    images: Sequence[Float], mask: Mask, affine: Float, *, sigma: float, count: int, seed: int = 0
) -> Samples:
    """Look at images in the brain and around it.

    Parameters
    ----------
    images
        Images (x, y, z), finite; each is divided by its median in the mask.
    mask
        Brain.
    affine
        Voxel-to-RAS+ matrix (4, 4), mm.
    sigma
        SD of the Gaussian that smooths within the mask first, mm.
    count
        Points at most; they are drawn at random.
    seed
        Of the draw.
    """
    edges = np.linalg.norm(affine[:3, :3], axis=0)

    def smooth(image: Float) -> Float:
        # A slab ends where the scan does, not the head.
        return ndimage.gaussian_filter(image, sigma / edges, mode="nearest") if sigma else image

    inside = mask.astype(np.float32)
    outline = smooth(inside)
    around = ndimage.distance_transform_edt(~mask, sampling=edges) <= max(_RIM_MM, 1.5 * sigma)
    places = np.argwhere(around)
    if len(places) > count:
        chosen = np.random.default_rng(seed).permutation(len(places))[:count]
        places = places[chosen]
    index = tuple(places.T)
    contrasts = []
    for image in images:
        typical = float(np.median(np.abs(image[mask])))
        scaled = image / (typical or 1.0)
        clipped = np.clip(scaled, *np.percentile(scaled[mask], _CLIPPED)).astype(np.float32)
        values = smooth(clipped * inside) / np.maximum(outline, 0.05)
        contrasts.append(values[index].astype(np.float64))
    points = transform(affine, places.T.astype(np.float64))
    return Samples(points, outline[index], tuple(contrasts), inside[index])
