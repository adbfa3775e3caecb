"""The quality of a run in plain words: one of three levels, the reasons, what to do."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cereflow_bids.imaging.template_registration import (
    LEAST_CONTRAST,
    LEAST_COVERAGE,
    LEAST_OUTLINE,
    TRUSTED_DISAGREEMENT_MM,
    TRUSTED_SPREAD_MM,
)
from cereflow_bids.quality.flags import ALARMS, UNKNOWN, WITHHELD, limits, meaning
from cereflow_bids.quality.measures import SPATIAL_COV_ARTEFACT, spatial_cov_category
from cereflow_bids.report.runs import RunRecord

GREEN, AMBER, RED = "green", "amber", "red"
SYMBOLS = {GREEN: "✔", AMBER: "▲", RED: "✖"}


@dataclass(frozen=True)
class Banner:
    """Level (green, amber, red), headline, and (reason, what to do) pairs."""

    level: str
    headline: str
    reasons: tuple[tuple[str, str], ...] = ()

    @property
    def symbol(self) -> str:
        """A sign that tells the level without colour."""
        return SYMBOLS[self.level]


@dataclass(frozen=True)
class Measure:
    """How a quality measure is shown and what is expected of it.

    ``typical`` is what the literature reports, in words.
    """

    name: str
    label: str
    unit: str = ""
    digits: int = 2
    typical: str = ""
    scale: float = 1.0

    @property
    def low(self) -> float:
        """The lowest value without an alarm, as shown; minus infinity if there is no alarm."""
        return self.scale * limits(self.name)[0]

    @property
    def high(self) -> float:
        """The highest value without an alarm, as shown; infinity if there is no alarm."""
        return self.scale * limits(self.name)[1]

    @property
    def expected(self) -> str:
        """The range without an alarm and what is usual, in words."""
        unit = f" {self.unit}" if self.unit else ""
        if math.isfinite(self.low) and math.isfinite(self.high):
            return f"{self.low:g} to {self.high:g}{unit}{self.typical}"
        if math.isfinite(self.low):
            return f"at least {self.low:g}{unit}{self.typical}"
        if math.isfinite(self.high):
            return f"at most {self.high:g}{unit}{self.typical}"
        return self.typical or "no limit"


MEASURES = (
    Measure("gm_mean_cbf", "Grey matter CBF, mean", "mL/100 g/min", 1,
            typical=", as in most adults"),
    Measure("wm_mean_cbf", "White matter CBF, mean", "mL/100 g/min", 1,
            typical="usually a half to a third of grey matter"),
    Measure("gm_wm_ratio", "Grey / white matter ratio", "", 2, typical="; usually 2 to 3"),
    Measure("spatial_cov", "Spatial coefficient of variation", "", 2,
            typical=f"; above {SPATIAL_COV_ARTEFACT:g}: artefact"),
    Measure("negative_fraction", "Grey matter voxels below 0", "%", 1, scale=100),
    Measure("fraction_above_100", "Grey matter voxels above 100", "%", 1, scale=100,
            typical="few in adults; vessels, noise or youth"),
    Measure("fraction_above_150", "Grey matter voxels above 150", "%", 1, scale=100,
            typical="near 0; vessels or noise"),
    Measure("fraction_above_200", "Grey matter voxels above 200", "%", 1, scale=100,
            typical="near 0; vessels, noise or wrong scale"),
    Measure("contrast_correlation", "Correlation with the tissues", "", 2,
            typical="1 at best; near 0: noise or misplaced"),
    Measure("qei", "Quality evaluation index (QEI)", "", 2,
            typical="0 to 1; no limit: compare in the cohort"),
    Measure("temporal_snr", "Signal over noise (tSNR)", "", 2,
            typical="no limit; n/a for a single pair"),
    Measure("mean_deltam_percent", "Mean difference signal", "% of control or M0", 2,
            typical="; 0.3 to 0.8 % of an unsuppressed control"),
    Measure("mean_framewise_displacement", "Framewise displacement, mean", "mm", 2),
    Measure("max_framewise_displacement", "Framewise displacement, largest", "mm", 2),
    Measure("mask_dice", "Mask and registered brain (Dice)", "", 2),
    Measure("mask_coverage", "Registered brain in the mask", "%", 0, scale=100,
            typical="lower where the scan is a slab"),
    Measure("mask_overlap_coefficient", "Overlap, of the smaller of both", "%", 0, scale=100,
            typical="near 100, where the scan is a slab, too"),
    Measure("inner_contrast", "Contrast inside the mask", "%", 1, scale=100,
            typical="; a phantom has less"),
    Measure("t1w_spread", "T1w registration, spread of starts", "mm", 1,
            typical="above 5 mm the T1w is not used"),
    Measure("t1w_overlap", "Mask in the brain of the T1w", "%", 0, scale=100,
            typical="below 80 % the T1w is not used"),
    Measure("t1w_sides", "Left and right as in the T1w", "SD", 1,
            typical="; above 3 the same; below -3 exchanged; between, nobody knows"),
    Measure("template_spread", "Template registration, spread of starts", "mm", 1,
            typical=f"above {TRUSTED_SPREAD_MM:g} mm no regional values"),
    Measure("template_disagreement", "M0 and perfusion, placed apart by", "mm", 1,
            typical=f"above {TRUSTED_DISAGREEMENT_MM:g} mm no regional values"),
    Measure("template_outline", "Outlines of mask and template (Dice)", "", 2,
            typical=f"below {LEAST_OUTLINE:g} no regional values"),
    Measure("template_contrast", "Difference signal and template tissues (r)", "", 2,
            typical=f"below {LEAST_CONTRAST:g} no regional values"),
    Measure("template_coverage", "Brain in the field of view", "%", 0, scale=100,
            typical=f"below {100 * LEAST_COVERAGE:g} % no regional values"),
    Measure("mask_volume", "Brain mask volume", "mL", 0, typical="1100 to 2000, with its fluid"),
    Measure("n_pairs", "Control-label pairs used", "", 0, typical="more pairs, less noise"),
)  # fmt: skip

OF_ONE_WAY = (
    *("t1w_spread", "t1w_overlap", "t1w_sides"),
    *("template_spread", "template_disagreement", "template_outline"),
    *("template_contrast", "template_coverage"),
)
"""Measures of the registration through a T1w image, or without, not shown on the other way."""

ADVICE = {
    "swapped_order": "Do not use the values. Correct aslcontext.tsv and run again.",
    "swapped_pairs": "Do not use the values. Correct aslcontext.tsv and run again.",
    "time_too_short": "Do not use the values. Correct the sidecar and run again.",
    "scale_low": "Do not use the values before the cause is found.",
    "scale_high": "Do not use the values before the cause is found.",
    "unusually_low": "Check the delay and the notes below; compare with others from this scanner.",
    "unusually_high": "Check the M0 and the notes below; compare with others from this scanner.",
    "gm_wm_ratio": "Look at the map and the outlines below before using regional values.",
    "spatial_cov": "Low values may be late arrival of blood, not low perfusion: look for bright "
    "vessels in the map; a longer or a further delay would tell.",
    "negative_cbf": "Read regional values with caution; compare with the map.",
    "motion": "Look at the motion plot; consider to repeat the scan.",
    "possible_phantom": "Look at the reference image below; leave phantoms out of the dataset.",
    "left_right": "Do not tell left from right before it is known which image has its sides "
    "exchanged: look at the affines, and at asymmetries that other images show.",
    WITHHELD: "Use whole-brain values and the map only. A T1w image of the participant in the "
    "dataset would help.",
    "mask_overlap": "Do not use regional values unless the outlines below fit the brain.",
}
SEVERE = (
    *("swapped_order", "swapped_pairs", "time_too_short"),
    *("scale_low", "scale_high", "mask_overlap", "left_right", "possible_phantom"),
)


def banner(record: RunRecord) -> Banner:
    """Return the quality banner of a run.

    Red means that the numbers must not be used before somebody has looked; amber, that they
    need care; green, that no alarm was raised, which is no proof of quality.
    """
    if record.state == "failed":
        return Banner(RED, "Processing failed: no result", ((record.message, record.fix),))
    if record.state == "pending":
        return Banner(
            AMBER, "Not processed: a parameter is missing", ((record.message, record.fix),)
        )
    if record.state != "done":
        again = "Build the report again when the run has ended."
        return Banner(AMBER, f"Not finished: {record.state}", ((record.message, again),))
    reasons = [(meaning(flag), advice(flag)) for flag in record.flags]
    if record.refused:
        why = f"Absolute CBF was refused: {record.refused}"
        what = "Only the pattern of the relative map below can be read, not its level."
        return Banner(RED, "No absolute CBF", ((why, what), *reasons))
    if not record.flags:
        return Banner(GREEN, "Image quality: no alarm; look at the map before use")
    if any(_severe(flag, record.quality) for flag in record.flags):
        return Banner(RED, "Do not use without expert review", tuple(reasons))
    return Banner(AMBER, "Use with care", tuple(reasons))


def advice(flag: str) -> str:
    """Return what to do about a flag."""
    return ADVICE.get(flag, "Look at the figures below before using the values.")


def _severe(flag: str, quality: Mapping[str, float]) -> bool:
    artefact = flag == "spatial_cov" and quality.get("spatial_cov", 0) > SPATIAL_COV_ARTEFACT
    return flag in SEVERE or flag.startswith(UNKNOWN) or artefact


def quality_rows(record: RunRecord) -> list[dict[str, Any]]:
    """Return one row per measure: label, value with unit, expected range, and its verdict.

    The verdict is taken from the run's own flags, not judged a second time here.
    """
    outside = {alarm.measure for alarm in ALARMS if alarm.name in record.flags}
    outside |= {flag.removeprefix(UNKNOWN) for flag in record.flags if flag.startswith(UNKNOWN)}
    rows = []
    for measure in MEASURES:
        value = record.quality.get(measure.name, math.nan)
        known = math.isfinite(value)
        if not known and measure.name in OF_ONE_WAY:
            continue
        number = f"{value * measure.scale:.{measure.digits}f}"
        limited = math.isfinite(measure.low) or math.isfinite(measure.high)
        verdict = "ok" if known and limited else ""
        rows.append(
            {
                "label": measure.label,
                "value": number if known else "n/a",
                "unit": measure.unit if known else "",
                "expected": measure.expected + _here(measure, value),
                "verdict": "check" if measure.name in outside else verdict,
            }
        )
    return rows


def _here(measure: Measure, value: float) -> str:
    """Return what a spatial CoV says of the map; nothing of other measures."""
    category = spatial_cov_category(value) if measure.name == "spatial_cov" else ""
    return f"; here: {category}" if category else ""
