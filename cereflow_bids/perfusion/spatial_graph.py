"""Neighbourhoods of a brain mask: pairs of voxels, their kinds and their Laplacian."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Float = NDArray[np.float64]
Values = NDArray[np.floating[Any]]
Index = NDArray[np.intp]

_CONTRASTS = (0.25, 0.5, 0.65, 0.75, 0.82, 0.88, 0.94)
"""Shares of the pairs between which the guide's contrast divides kinds: finer where it is high."""


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
    scale
        That weight for each direction in which there are pairs.
    kind
        Kind of each pair (e,), 0 to k − 1 in the order of the contrast in the guide.
    slot, indices, indptr
        Where pairs, pairs and diagonal go in the sparse matrix; its structure.
    """

    size: int
    first: Index
    second: Index
    base: Values
    scale: Values
    kind: Index
    slot: Index
    indices: NDArray[np.int32]
    indptr: NDArray[np.int32]

    @property
    def kinds(self) -> int:
        """Number of kinds k."""
        return int(self.kind.max(initial=0)) + 1

    def laplacian(self, weight: Values) -> sparse.csr_array:
        """Return the Laplacian (v, v) for the weight of each pair (e,), float32."""
        return self._matrix(-weight, self.degree(weight))

    def averaging(self) -> sparse.csr_array:
        """Return the matrix (v, v) of the mean over a voxel, of weight 1, and its neighbours."""
        total = 1 + self.degree(self.base)
        mean = self._matrix(self.base, np.ones(self.size))
        mean.data /= np.repeat(total, np.diff(self.indptr))
        return mean

    def degree(self, weight: Values) -> Values:
        """Return the sum of weights at each voxel (v,)."""
        at_first = np.bincount(self.first, weight, self.size)
        total = at_first + np.bincount(self.second, weight, self.size)
        return np.asarray(total, dtype=np.float32)

    def gap(self, field: Values) -> Values:
        """Return the difference of each pair (e, …) of a field (v, …)."""
        return np.asarray(field[self.first] - field[self.second])

    def by_kind(self, value: Values) -> Float:
        """Return the sum (k,) of a value of each pair (e,)."""
        return np.bincount(self.kind, value, self.kinds).astype(np.float64)

    def both(self, field: Values) -> Values:
        """Return the sum at the two voxels of each pair (e,) of a field (v,)."""
        return np.asarray(field[self.first] + field[self.second])

    def spread(self, flow: Values) -> Values:
        """Return the transpose of `gap`: (v,) of (e,)."""
        at_first = np.bincount(self.first, flow, self.size)
        total = at_first - np.bincount(self.second, flow, self.size)
        return np.asarray(total, dtype=np.float32)

    def _matrix(self, pair: Values, diagonal: Values) -> sparse.csr_array:
        data = np.concatenate([pair, pair, diagonal]).astype(np.float32)[self.slot]
        return sparse.csr_array((data, self.indices, self.indptr), shape=(self.size, self.size))


def neighbourhood(
    mask: NDArray[np.bool_], voxel_size: Sequence[float], guide: Float | None = None
) -> Graph:
    """Return the 6-neighbourhood of a mask (x, y, z) with voxel edges in mm.

    `guide` (v,) has another image in the order of ``image[mask]``: pairs are of one kind where
    their contrast in it is similar.
    """
    size = int(mask.sum())
    number = np.full(mask.shape, -1, dtype=np.intp)
    number[mask] = np.arange(size)
    edge = np.asarray(voxel_size, dtype=np.float64)
    scale = (edge.min() / edge) ** 2
    ends, base = [], []
    for axis in range(mask.ndim):
        a = np.moveaxis(number, axis, 0)[:-1].ravel()
        b = np.moveaxis(number, axis, 0)[1:].ravel()
        both = (a >= 0) & (b >= 0)
        ends.append(np.stack([a[both], b[both]]))
        base.append(np.full(int(both.sum()), scale[axis], dtype=np.float32))
    first, second = np.concatenate(ends, axis=1)
    rows = np.concatenate([first, second, np.arange(size)])
    columns = np.concatenate([second, first, np.arange(size)])
    place = sparse.csr_array((np.arange(rows.size) + 1, (rows, columns)), shape=(size, size))
    place.sort_indices()
    kind = _kinds(first, second, guide)
    slot = place.data.astype(np.intp) - 1
    used = np.asarray([s for s, own in zip(scale, base, strict=True) if own.size])
    own = (first, second, np.concatenate(base), used, kind, slot)
    return Graph(size, *own, place.indices, place.indptr)


def _kinds(first: Index, second: Index, guide: Float | None) -> Index:
    if guide is None or first.size == 0:
        return np.zeros(first.size, dtype=np.intp)
    contrast = np.abs(guide[first] - guide[second])
    known = np.isfinite(contrast)
    if not known.any():
        return np.zeros(first.size, dtype=np.intp)
    contrast = np.where(known, contrast, np.median(contrast[known]))
    kind = np.searchsorted(np.quantile(contrast, _CONTRASTS), contrast)
    return np.asarray(np.unique(kind, return_inverse=True)[1], dtype=np.intp)


def grid_spectrum(scale: Values, points: int = 16, bins: int = 12) -> tuple[Float, Float]:
    """Eigenvalues (q,) of the Laplacian of an unbounded grid, and their shares (q,), sum 1.

    `scale` has the weight of the pairs in each direction. The unit is the sum of weights at a
    voxel; bins of eigenvalues are finer near 0.
    """
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
