"""What an estimator returns, whichever it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.floating]


class Flag(IntFlag):
    """What a reader of a voxel's estimate must know; 0 is a plain estimate."""

    BEFORE_FIRST_DELAY = 1
    """ATT is not identifiable below the first delay: read it as "at most the first delay"."""
    AT_UPPER_BOUND = 2
    """ATT is at the upper end of what was searched."""
    NO_PERFUSION = 4
    """No positive perfusion signal: ATT says nothing."""
    NOT_CONVERGED = 8
    ARTERIAL = 16
    """The arterial component was included, since the data favour it."""
    NO_DATA = 32
    """No finite signal or no M0: nothing was estimated (all maps NaN)."""


@dataclass(frozen=True)
class Estimate:
    """Estimates per voxel, all of shape (v,).

    Attributes
    ----------
    cbf, cbf_standard_error
        mL/100 g/min.
    att, att_standard_error
        s; the error is NaN where ATT is not identifiable.
    residual
        Root mean square of what the model leaves, in the unit of the signal.
    flag
        Sum of `Flag` values, uint8.
    abv, abv_standard_error
        Arterial blood volume, fraction; 0 where evidence is against it; None if not sought.
    settings
        What was estimated from the data as a whole, such as noise and smoothness, by name.
    """

    cbf: Values
    att: Values
    cbf_standard_error: Values
    att_standard_error: Values
    residual: Values
    flag: NDArray[np.uint8]
    abv: Values | None = None
    abv_standard_error: Values | None = None
    settings: Mapping[str, float] = field(default_factory=dict)
