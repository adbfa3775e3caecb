"""The user's choices that change numbers, frozen: handed in, nobody looks them up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cereflow_bids.perfusion.constants import M0_SMOOTHING_FWHM, T1_TISSUE

Quantification = Literal["consensus", "ge-product"]


@dataclass(frozen=True)
class Science:
    """Choices that change numbers.

    Attributes
    ----------
    quantification
        The consensus equations, or those of the GE product.
    m0_smoothing
        FWHM of the Gaussian on M0, mm.
    t1_tissue
        T1 of tissue for the TR correction of M0, s.
    seed
        Seed of all random choices (registration sampling).
    """

    quantification: Quantification = "consensus"
    m0_smoothing: float = M0_SMOOTHING_FWHM
    t1_tissue: float = T1_TISSUE
    seed: int = 0
