"""Which measures lie outside what is expected, and what that usually means."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cereflow_bids.quality.measures import SPATIAL_COV_ARTEFACT, SPATIAL_COV_VASCULAR


@dataclass(frozen=True)
class Alarm:
    """A named limit of one quality measure, with the likely causes of going beyond it.

    Attributes
    ----------
    name
        As it stands in the quality table.
    measure
        Column of the quality table.
    side
        ``below`` if lower values raise the alarm, ``above`` if higher ones do; the limit itself
        does not.
    limit
        In the measure's own unit.
    text
        What it usually means, with ``{limit}`` or ``{percent}`` in place of the limit.
    """

    name: str
    measure: str
    side: Literal["below", "above"]
    limit: float
    text: str

    def raised(self, value: float) -> bool:
        """Return whether `value` lies beyond the limit; an unknown one does not."""
        return value < self.limit if self.side == "below" else value > self.limit

    @property
    def meaning(self) -> str:
        """What the alarm usually means, in plain words."""
        return self.text.format(limit=f"{self.limit:g}", percent=f"{100 * self.limit:g}")


_SCALING = (
    "check the scaling of the perfusion images (GE: number of excitations and factor 32; Philips: "
    "scale slope), the M0, and whether a delay is in ms instead of s."
)

ALARMS = (
    Alarm(
        "swapped_order",
        "mean_deltam_percent",
        "below",
        0.0,
        "The mean control-label difference is negative: control and label are probably swapped "
        "in aslcontext.tsv.",
    ),
    Alarm(
        "scale_low",
        "gm_mean_cbf",
        "below",
        10.0,
        "Grey matter CBF is below {limit} mL/100 g/min: " + _SCALING,
    ),
    Alarm(
        "scale_high",
        "gm_mean_cbf",
        "above",
        150.0,
        "Grey matter CBF is above {limit} mL/100 g/min: "
        + _SCALING
        + " A background-suppressed M0 does this, too.",
    ),
    Alarm(
        "unusually_low",
        "gm_mean_cbf",
        "below",
        40.0,
        "Grey matter CBF is below {limit} mL/100 g/min, lower than in most adults: age, late "
        "arrival, background suppression that the efficiency leaves out, or scaling.",
    ),
    Alarm(
        "unusually_high",
        "gm_mean_cbf",
        "above",
        100.0,
        "Grey matter CBF is above {limit} mL/100 g/min, higher than in most adults: youth, "
        "anaemia, carbon dioxide, or an M0 that is too low.",
    ),
    Alarm(
        "gm_wm_ratio",
        "gm_wm_ratio",
        "below",
        1.2,
        "Grey and white matter hardly differ (a ratio of 2 to 3 is expected): noise, wrong "
        "pairing or failed registration.",
    ),
    Alarm(
        "spatial_cov",
        "spatial_cov",
        "above",
        SPATIAL_COV_VASCULAR,
        "CBF varies strongly over grey matter (spatial CoV above {limit}): late arrival of blood; "
        f"artefact if above {SPATIAL_COV_ARTEFACT:g}.",
    ),
    Alarm(
        "negative_cbf",
        "negative_fraction",
        "above",
        0.1,
        "More than {percent} % of grey matter voxels have a negative CBF: noise, or blood arrives "
        "late.",
    ),
    Alarm(
        "motion",
        "mean_framewise_displacement",
        "above",
        0.5,
        "The head moved by more than {limit} mm from volume to volume on average.",
    ),
    Alarm(
        "mask_overlap",
        "mask_dice",
        "below",
        0.85,
        "Brain mask and registered brain overlap poorly (Dice below {limit}): look at the "
        "outlines before trusting regional values.",
    ),
    Alarm(
        "possible_phantom",
        "inner_contrast",
        "below",
        0.025,
        "Inside the brain mask the reference image is uniform (local contrast below {percent} %, "
        "brains have 4 % and more): this may be a phantom.",
    ),
    Alarm(
        "left_right",
        "t1w_sides",
        "below",
        -3.0,
        "What is not symmetric in the head lies on one side in the ASL image and on the other in "
        "the T1w image: left and right are exchanged in one of the two.",
    ),
)

WITHHELD = "regions_withheld"

FOUND = {
    "swapped_pairs": "Some control-label differences are the reverse of the others: control and "
    "label are swapped there in aslcontext.tsv.",
    "time_too_short": "A delay or labelling duration is too short to be: it was divided by 1000.",
}
"""Mistakes that quantification finds and no measure tells, with their meaning."""

LIMITED = {
    WITHHELD: "The registration to the template, without a T1w image, is not to be trusted by "
    "region: there are no regional values. The notes say why.",
}
"""What the run cannot give, through no mistake of anybody, with its meaning."""

UNKNOWN = "unknown_"
# No fault of the run: motion is not estimated where there is one average per volume type, sides
# cannot be compared where there is no T1w image, or too symmetric a one, and a mask of small parts
# has no inside to look at.
_MAY_BE_UNKNOWN = ("mean_framewise_displacement", "t1w_sides", "inner_contrast")


def raised_flags(measures: Mapping[str, float], found: Sequence[str] = ()) -> list[str]:
    """Return the names of the alarms that the measures raise, in the order of `ALARMS`.

    Of several on one side of a measure only the first, which is the gravest, is named.

    Parameters
    ----------
    measures
        What should be known of the run. One with an alarm that is NaN all the same raises
        ``unknown_<measure>``, since its alarm could not be judged; motion, sides and the
        contrast inside the mask may be unknown.
    found
        Names of what was found on the way; those of `FOUND` and `LIMITED` are flags.
    """
    known = {name: value for name, value in measures.items() if not math.isnan(value)}
    raised = [a for a in ALARMS if a.measure in known and a.raised(known[a.measure])]
    gravest = {(a.measure, a.side): a.name for a in reversed(raised)}
    flags = [a.name for a in raised if a.name in gravest.values()]
    judged = dict.fromkeys(a.measure for a in ALARMS if a.measure not in _MAY_BE_UNKNOWN)
    unknown = [name for name in judged if name in measures and name not in known]
    named = [name for name in (*FOUND, *LIMITED) if name in found]
    return flags + named + [UNKNOWN + name for name in unknown]


def limits(measure: str) -> tuple[float, float]:
    """Return the lowest and the highest value of a measure without an alarm; infinite if none."""
    low = [a.limit for a in ALARMS if a.measure == measure and a.side == "below"]
    high = [a.limit for a in ALARMS if a.measure == measure and a.side == "above"]
    return max(low, default=-math.inf), min(high, default=math.inf)


def meaning(flag: str) -> str:
    """Return what a flag means, in a sentence for the report."""
    for alarm in ALARMS:
        if alarm.name == flag:
            return alarm.meaning
    if flag in FOUND or flag in LIMITED:
        return (FOUND | LIMITED)[flag]
    return f"The measure {flag.removeprefix(UNKNOWN)} could not be computed."
