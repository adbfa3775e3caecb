"""CBF of one delay as a sum over volumes, for maps that are interpolated once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cereflow_bids.bids.run import AslRun
from cereflow_bids.quantification.equation import choose_equation
from cereflow_bids.quantification.science import Science
from cereflow_bids.quantification.selection import Averages

Float = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Linear:
    """CBF = gain · Σ weight · volume.

    Attributes
    ----------
    weights
        (n,) of each volume of the series; 0 for those that are not in CBF.
    gain
        (x, y, z), mL/100 g/min per unit of ΔM: M0, its smoothing included, and the equation. It
        has a value everywhere, and where M0 was smoothed it is smooth.
    """

    weights: tuple[float, ...]
    gain: Float


def linear_form(run: AslRun, means: Averages, scale: ArrayLike, science: Science) -> Linear | None:
    """Return the linear form of CBF, or None where CBF is no such sum.

    It is none with several delays, and where the mean of the differences is no plain one.

    Parameters
    ----------
    run
        Validated metadata.
    means
        The mean difference.
    scale
        M0 (x, y, z) or one number.
    science
        Choices that change numbers.
    """
    if means.weights is None or run.labeling.several_delays:
        return None
    gain = choose_equation(run, science).cbf(1.0, scale)
    return Linear(means.weights, np.broadcast_to(gain, means.deltam.shape[:3]))
