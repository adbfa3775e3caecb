"""How an ASL image lies to the template, and whether that is to be trusted by region."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.floating]

STARTS = 4

TRUSTED_SPREAD_MM = 3.0
TRUSTED_DISAGREEMENT_MM = 3.0
"""Our choice: a third of the width of a gyrus. Whole brains of 3D scans had 1.8 mm at most; 12
slices of 7.5 mm with 3 pairs, whose values by gyral region were 14 % off, 3.4 mm."""

LEAST_OUTLINE = 0.85
"""Our choice, as of the alarm on `mask_dice`; brains in their place had 0.95 and more."""

LEAST_CONTRAST = 0.1
"""Our choice: noise has about 0; the least of a brain in its place was 0.2."""

LEAST_COVERAGE = 0.5
"""Our choice: of less than half of a brain, the outline does not tell how large it is."""


@dataclass(frozen=True, eq=False)
class TemplateRegistration:
    """How the ASL image lies to the template.

    Attributes
    ----------
    matrix
        Points of the template to points of the ASL image (4, 4), RAS+ mm.
    spread
        Median over the other starts of how far their results put the brain from the best's, mm.
    disagreement
        How far the reference image alone and perfusion alone put the brain from each other, mean
        over the brain, mm.
    outline
        Dice of the brain mask with the template's brain, both smoothed, within the slab.
    contrast
        Correlation in the brain of perfusion, smoothed, with 2.5 times the grey plus the white
        matter of the template.
    coverage
        Part of the template's brain that lies in the slab.
    """

    matrix: Float
    spread: float
    disagreement: float
    outline: float
    contrast: float
    coverage: float

    @property
    def doubts(self) -> tuple[str, ...]:
        """What speaks against regional values; nothing if they are to be trusted."""
        told = {
            f"starts ended {self.spread:.1f} mm apart": self.spread <= TRUSTED_SPREAD_MM,
            f"reference image and perfusion place the brain {self.disagreement:.1f} mm apart": (
                self.disagreement <= TRUSTED_DISAGREEMENT_MM
            ),
            f"the outlines overlap at Dice {self.outline:.2f} only": self.outline >= LEAST_OUTLINE,
            f"perfusion hardly follows the grey matter (r {self.contrast:.2f}), as in noise or "
            "where there is no brain, such as a phantom": (abs(self.contrast) >= LEAST_CONTRAST),
            f"the slab holds {100 * self.coverage:.0f} % of the brain only": (
                self.coverage >= LEAST_COVERAGE
            ),
        }
        # What is not a number passes no comparison.
        return tuple(doubt for doubt, passed in told.items() if not passed)

    @property
    def measures(self) -> dict[str, float]:
        """Columns of the quality table."""
        return {
            "template_spread": self.spread,
            "template_disagreement": self.disagreement,
            "template_outline": self.outline,
            "template_contrast": self.contrast,
            "template_coverage": self.coverage,
        }

    @property
    def warning(self) -> str:
        """A sentence for the record of a run without regional values."""
        return (
            "Regional values are withheld, because this registration is not to be trusted by "
            f"region: {'; '.join(self.doubts)}. Means over the whole grey or white matter stand: "
            "a shift of some millimetres changes them little. With a T1w image of the participant "
            "regions could be given."
        )

    @property
    def note(self) -> str:
        """Sentences for the record of the run."""
        return (
            "Without a T1w image, ASL was registered to the template by the reference image and "
            f"perfusion, from {STARTS} starts, which ended {self.spread:.1f} mm apart (median); "
            f"either image alone places the brain {self.disagreement:.1f} mm from where the other "
            f"does. Outlines overlap at Dice {self.outline:.2f}; perfusion follows the "
            f"template's tissues at r {self.contrast:.2f}. The template is symmetric: "
            "which side is left is as the header says."
        )
