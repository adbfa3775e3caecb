"""The spatial prior: how much neighbours differ, estimated for each field and kind of pair.

Fields are (2, v): CBF in mL/100 g/min, ATT in s. Samples (s, 2, v) are draws from the posterior,
less its mode.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from cereflow_bids.perfusion.spatial_graph import Graph

Float = NDArray[np.float64]

_START = (5.0, 0.1)
"""SD of the difference between neighbours to start from, mL/100 g/min and s."""
_RANGE = ((0.01, 1e3), (1e-4, 10.0))
"""Range of that SD."""
_TAILS = 4.0
"""Degrees of freedom of the differences: few keep edges that the guide does not show."""
_FACTOR = 10.0
"""Largest change of a variance at a time."""


_HASTE = 1.3
"""Power of the step: the plain steps come out too short, always in the same direction."""


@dataclass(frozen=True)
class Shares:
    """What the prior contributes to the posterior at each voxel, as in uniform grids.

    Sums of weights and, in units of the prior's, the variance that the data leave (2, v).
    """

    degree: Float
    left: Float


@dataclass
class SpatialPrior:
    """Strength of the prior.

    Attributes
    ----------
    variance
        Of the difference of neighbours, per field and kind (2, k).
    tail
        Weights of the pairs in the Student distribution (2, e).
    """

    variance: Float
    tail: Float

    @classmethod
    def weak(cls, graph: Graph) -> SpatialPrior:
        """Return where estimation starts."""
        variance = np.tile(np.square(_START)[:, None], (1, graph.kinds))
        return cls(variance, np.ones((2, graph.first.size)))

    def weight(self, graph: Graph) -> Float:
        """Return the precision of each difference (2, e)."""
        return np.asarray(graph.base * self.tail / self.variance[:, graph.kind])

    def learn(self, graph: Graph, field: Float, samples: Float, shares: Shares) -> None:
        """Update variances and weights from the posterior.

        The fixed point is that of expectation-maximisation in the form of MacKay 1992
        (doi:10.1162/neco.1992.4.3.415): of the degrees of freedom that a kind of pairs has in
        the prior, those that the data determine, over the energy of the mode.
        """
        if graph.first.size == 0:
            return
        for row, weight in enumerate(self.weight(graph)):
            known = weight * graph.gap(field[row]) ** 2
            unsure = sum(weight @ graph.gap(own[row]) ** 2 for own in samples) / len(samples)
            left = graph.both(shares.left[row] / shares.degree[row]) * weight
            free = graph.both(1 / shares.degree[row]) * weight
            # As in uniform grids for the kinds, but exact for their sum.
            determined = graph.by_kind(free - left)
            determined *= max(graph.size - unsure, 0) / max(determined.sum(), 1e-300)
            energy = graph.by_kind(known)
            distance = (known + left) / self.tail[row] * self.variance[row, graph.kind]
            self._update(row, energy, determined, graph)
            distance /= self.variance[row, graph.kind]
            self.tail[row] = (_TAILS + 1) / (_TAILS + distance)

    def _update(self, row: int, energy: Float, determined: Float, graph: Graph) -> None:
        """Variance of each kind; not smaller where the contrast in the guide is larger."""
        determined = np.maximum(determined, 1e-6 * graph.size)
        factor = np.clip((energy / determined) ** _HASTE, 1 / _FACTOR, _FACTOR)
        rising = isotonic_regression(self.variance[row] * factor, weights=determined).x
        low, high = np.square(_RANGE[row])
        self.variance[row] = np.clip(rising, low, high)

    def typical(self, graph: Graph) -> Float:
        """Return the SD (2,) of the difference between neighbours, of the median pair."""
        if graph.first.size == 0:
            return np.sqrt(self.variance[:, 0])
        return np.asarray(np.sqrt(np.median(self.variance[:, graph.kind], axis=1)))
