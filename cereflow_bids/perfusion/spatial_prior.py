"""The spatial prior: how much neighbours differ, estimated for each field and kind of pair.

Fields are (2, v): CBF in mL/100 g/min, ATT in s. Samples (s, 2, v) are draws from the posterior,
less its mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from cereflow_bids.perfusion.spatial_graph import Graph
from cereflow_bids.perfusion.spatial_posterior import Roughness

Float = NDArray[np.float64]
Values = NDArray[np.floating[Any]]

_START = (5.0, 0.1)
"""SD of the difference between neighbours to start from, mL/100 g/min and s."""
_RANGE = ((0.01, 1e3), (1e-4, 10.0))
"""Range of that SD."""
_TAILS = 0.5
"""Degrees of freedom of the differences: few keep edges that the guide does not show. Fewer than 1
here keep more of a small lesion, and cost nothing elsewhere (our choice)."""
_FACTOR = 10.0
"""Largest change of a variance at a time."""


_HASTE, _CARE = 1.6, 0.8
"""Powers of a step on in the same direction, where plain steps are too short, and of one back."""


@dataclass
class SpatialPrior:
    """Strength of the prior.

    Attributes
    ----------
    variance
        Of the difference of neighbours, per field and kind (2, k).
    tail
        Weights of the pairs in the Student distribution (2, e).
    heading
        Logarithm of the last plain step of each variance (2, k).
    """

    variance: Float
    tail: Values
    heading: Float

    @classmethod
    def weak(cls, graph: Graph) -> SpatialPrior:
        """Return where estimation starts."""
        variance = np.tile(np.square(_START)[:, None], (1, graph.kinds))
        weights = np.ones((2, graph.first.size), dtype=np.float32)
        return cls(variance, weights, np.zeros_like(variance))

    def weight(self, graph: Graph) -> Values:
        """Return the precision of each difference (2, e)."""
        return np.asarray(graph.base * self.tail / self.variance.astype(np.float32)[:, graph.kind])

    def learn(
        self,
        graph: Graph,
        field: Float,
        samples: Values,
        rough: Sequence[Roughness],
        *,
        left: Values,
        free: float,
    ) -> None:
        """Update variances and weights from the posterior.

        The fixed point is that of expectation-maximisation in the form of MacKay 1992
        (doi:10.1162/neco.1992.4.3.415): the energy of the mode over those of the prior's degrees
        of freedom that the data determine. `left` and `free` are those of `marginal`: as in
        uniform grids they tell the kinds of pairs apart, samples give the sum exactly.
        """
        weights = self.weight(graph)
        for row, (weight, own) in enumerate(zip(weights, rough, strict=True)):
            mode = field[row].astype(np.float32)
            unsure = sum(own.energy(sample[row]) for sample in samples) / len(samples)
            total = max(graph.size - unsure, 0) / max(own.energy(mode), 1e-30)
            known = weight * graph.gap(mode) ** 2
            energy = graph.by_kind(known)
            degree = np.maximum(own.degree, 1e-30)
            spare = weight * graph.both(left[row] / degree)
            determined = graph.by_kind(weight * graph.both(free / degree) - spare)
            determined *= total * energy.sum() / max(determined.sum(), 1e-30)
            expected = (known + spare) / self.tail[row] * self.variance[row, graph.kind]
            self._update(row, energy, determined, graph)
            distance = expected / self.variance[row, graph.kind]
            self.tail[row] = (_TAILS + 1) / (_TAILS + distance)

    def _update(self, row: int, energy: Float, determined: Float, graph: Graph) -> None:
        """Variance of each kind; not smaller where the contrast in the guide is larger."""
        determined = np.maximum(determined, 1e-6 * graph.size)
        factor = np.clip(energy / determined, 1 / _FACTOR, _FACTOR)
        onward = np.log(factor) * self.heading[row] >= 0
        self.heading[row] = np.log(factor)
        factor = factor ** np.where(onward, _HASTE, _CARE)
        rising = isotonic_regression(self.variance[row] * factor, weights=determined).x
        low, high = np.square(_RANGE[row])
        self.variance[row] = np.clip(rising, low, high)

    def typical(self, graph: Graph) -> Float:
        """Return the SD (2,) of the difference between neighbours, of the median pair."""
        if graph.first.size == 0:
            return np.sqrt(self.variance[:, 0])
        return np.asarray(np.sqrt(np.median(self.variance[:, graph.kind], axis=1)))
