"""Neighbourhoods of a brain mask, and the spatial prior that rests on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Float = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True)
class Graph:
    """Pairs of neighbouring voxels.

    Attributes
    ----------
    size
        Number of voxels v.
    first, second
        Voxels of each pair (e,), numbered in the order of mask indexing.
    base
        Weight of each pair (e,): (shortest edge/edge)² of the direction of the pair.
    spectrum
        Eigenvalues of the Laplacian of an unbounded grid, (q,), each for an equal share given
        by `share`, in units of the sum of weights at a voxel.
    share
        Share of each eigenvalue (q,), summing to 1.
    """

    size: int
    first: Index
    second: Index
    base: Float
    spectrum: Float
    share: Float

    def laplacian(self, weight: Float) -> sparse.csr_array:
        """Return the Laplacian (v, v) for the weight of each pair (e,)."""
        rows = np.concatenate([self.first, self.second])
        columns = np.concatenate([self.second, self.first])
        shape = (self.size, self.size)
        links = sparse.csr_array((np.tile(weight, 2), (rows, columns)), shape=shape)
        return sparse.csr_array(sparse.diags_array(self.degree(weight)) - links)

    def degree(self, weight: Float) -> Float:
        """Return the sum of weights at each voxel (v,)."""
        at_first = np.bincount(self.first, weight, self.size)
        return np.asarray(at_first + np.bincount(self.second, weight, self.size))


def neighbourhood(mask: NDArray[np.bool_], voxel_size: Sequence[float]) -> Graph:
    """Return the 6-neighbourhood of a mask (x, y, z) with voxel edges in mm."""
    number = np.full(mask.shape, -1, dtype=np.intp)
    number[mask] = np.arange(int(mask.sum()))
    edge = np.asarray(voxel_size, dtype=np.float64)
    scale = (edge.min() / edge) ** 2
    first, second, base, used = [], [], [], []
    for axis in range(mask.ndim):
        a = np.moveaxis(number, axis, 0)[:-1].ravel()
        b = np.moveaxis(number, axis, 0)[1:].ravel()
        both = (a >= 0) & (b >= 0)
        first.append(a[both])
        second.append(b[both])
        base.append(np.full(int(both.sum()), scale[axis]))
        if both.any():
            used.append(scale[axis])
    spectrum, share = _grid_spectrum(np.asarray(used))
    joined = np.concatenate(first), np.concatenate(second), np.concatenate(base)
    return Graph(int(mask.sum()), *joined, spectrum, share)


def _grid_spectrum(scale: Float, points: int = 16, bins: int = 12) -> tuple[Float, Float]:
    """Eigenvalues of an unbounded grid, over 2·Σ scale, in bins that are finer near 0."""
    if scale.size == 0:
        return np.zeros(1), np.ones(1)
    wave = 1 - np.cos(np.pi * (np.arange(points) + 0.5) / points)
    values = np.zeros(1)
    for s in scale:
        values = np.add.outer(values, s / scale.sum() * wave).ravel()
    values = np.sort(values)
    edges = np.unique((values.size * (np.arange(bins + 1) / bins) ** 2).astype(np.intp))
    share = np.diff(edges)
    return np.add.reduceat(values, edges[:-1]) / share, share / values.size
