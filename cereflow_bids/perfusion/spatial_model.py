"""The kinetic model around the current CBF and ATT of each voxel, as a linear one.

Fields are (2, v): CBF in mL/100 g/min, ATT in s. Information is (3, v): its elements CBF-CBF,
CBF-ATT and ATT-ATT at each voxel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.perfusion.constants import CBF_UNIT
from cereflow_bids.perfusion.kinetics import tissue_response
from cereflow_bids.perfusion.scheme import LabelingScheme
from cereflow_bids.perfusion.spatial_graph import Graph

Float = NDArray[np.float64]

_CHUNK = 4096
_ATT_STEP = 0.01
"""Half-width, s, of the two responses whose mean and slope are taken: rounds corners in ATT."""
_CBF_SD = 1000.0
"""SD of a prior on CBF about 0 that only keeps it defined where the data say nothing."""
_NEAR = np.array([[0.3], [0.01]])
"""Within it, mL/100 g/min and s, the linear model is not made anew."""


@dataclass(frozen=True)
class Problem:
    """What stays: data (v, n), T1t and offset (v,) or None, neighbours, prior of ATT."""

    values: NDArray[np.floating]
    scheme: LabelingScheme
    t1_tissue: Float | None
    offset: Float | None
    graph: Graph
    att_prior: tuple[float, float]

    @property
    def precision(self) -> Float:
        """Of the priors of a voxel (2, 1)."""
        return np.array([[_CBF_SD**-2], [self.att_prior[1] ** -2]])

    @property
    def centre(self) -> Float:
        """Of the priors of a voxel (2, 1)."""
        return np.array([[0.0], [self.att_prior[0]]])

    @property
    def floor(self) -> float:
        """Smallest noise variance."""
        return 1e-8 * float(np.mean(self.values.astype(np.float64) ** 2))


class LinearModel:
    """The fit around a field, for a noise variance of 1.

    Attributes
    ----------
    information
        (3, v).
    gradient
        (2, v), of the fit at the field of the last `move`.
    rss
        (v,), weighted sum of squares left there.
    """

    def __init__(self, problem: Problem, field: Float) -> None:
        self._problem = problem
        size = problem.graph.size
        self.information, self.gradient = np.empty((3, size)), np.empty((2, size))
        self.rss = np.empty(size)
        self._around, self._field = field.copy(), field
        self._renew(np.arange(size))

    def move(self, field: Float) -> None:
        """Go to another field (2, v); voxels that leave the vicinity are linearised anew."""
        step = field - self._field
        a, b, c = self.information
        pull = np.stack([a * step[0] + b * step[1], b * step[0] + c * step[1]])
        self.rss -= np.sum(step * (2 * self.gradient - pull), axis=0)
        self.gradient -= pull
        self._field = field
        self._renew(np.flatnonzero((np.abs(field - self._around) > _NEAR).any(axis=0)))

    def _renew(self, voxels: NDArray[np.intp]) -> None:
        scheme, t1, offset = self._problem.scheme, self._problem.t1_tissue, self._problem.offset
        weight = np.asarray(scheme.repeats, dtype=np.float64)
        for start in range(0, voxels.size, _CHUNK):
            part = voxels[start : start + _CHUNK]
            cbf, att = self._around[:, part] = self._field[:, part]
            own = {
                "t1_tissue": None if t1 is None else t1[part],
                "offset": 0.0 if offset is None else offset[part],
                "cbf": np.clip(cbf, 0, 200),
            }
            early = np.maximum(att - _ATT_STEP, 0)
            low = tissue_response(scheme, early, **own)
            high = tissue_response(scheme, early + 2 * _ATT_STEP, **own)
            response = (low + high) / (2 * CBF_UNIT)
            slope = (high - low) * (np.maximum(cbf, 0) / CBF_UNIT / (2 * _ATT_STEP))[:, None]
            left = self._problem.values[part] - cbf[:, None] * response
            self.rss[part] = (left * left) @ weight
            pairs = ((response, response), (response, slope), (slope, slope))
            for row, (a, b) in enumerate(pairs):
                self.information[row, part] = (a * b) @ weight
            for row, a in enumerate((response, slope)):
                self.gradient[row, part] = (a * left) @ weight
