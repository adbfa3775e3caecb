"""How much of each voxel is which tissue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.floating]


@dataclass(frozen=True)
class Tissues:
    """Fractions 0 to 1 on the grid of the run, (x, y, z).

    Attributes
    ----------
    gm, wm, csf
        Grey matter, white matter, cerebrospinal fluid.
    """

    gm: Float
    wm: Float
    csf: Float

    @classmethod
    def of_brain(cls, gm: Float, wm: Float, brain: Float) -> Tissues:
        """Take what is brain and neither grey nor white matter for cerebrospinal fluid."""
        return cls(gm, wm, np.clip(brain - gm - wm, 0, 1))
