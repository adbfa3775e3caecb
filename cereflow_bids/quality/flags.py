"""Which measures lie outside what is expected, and what that usually means."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Alarm:
    """A named condition on one quality measure, with its likely causes in plain words."""

    name: str
    measure: str
    raised: Callable[[float], bool]
    meaning: str


_SCALING = (
    "check the scaling of the perfusion images (GE: number of excitations and factor 32; Philips: "
    "scale slope), the M0, and whether a delay is in ms instead of s."
)

ALARMS = (
    Alarm(
        "swapped_order",
        "mean_deltam_percent",
        lambda value: value < 0,
        "The mean control-label difference is negative: control and label are probably swapped "
        "in aslcontext.tsv.",
    ),
    Alarm(
        "scale_low",
        "gm_mean_cbf",
        lambda value: value < 10,
        f"Grey matter CBF is below 10 mL/100 g/min: {_SCALING}",
    ),
    Alarm(
        "scale_high",
        "gm_mean_cbf",
        lambda value: value > 150,
        f"Grey matter CBF is above 150 mL/100 g/min: {_SCALING} A background-suppressed M0 does "
        "this, too.",
    ),
    Alarm(
        "gm_wm_ratio",
        "gm_wm_ratio",
        lambda value: value < 1.2,
        "Grey and white matter hardly differ (a ratio of 2 to 3 is expected): noise, wrong "
        "pairing or failed registration.",
    ),
    Alarm(
        "spatial_cov",
        "spatial_cov",
        lambda value: value > 0.67,
        "CBF varies strongly over grey matter (spatial CoV above 0.67): late arrival of blood; "
        "artefact if above 1.",
    ),
    Alarm(
        "negative_cbf",
        "negative_fraction",
        lambda value: value > 0.1,
        "More than 10 % of grey matter voxels have a negative CBF: noise, or blood arrives late.",
    ),
    Alarm(
        "motion",
        "mean_framewise_displacement",
        lambda value: value > 0.5,
        "The head moved by more than 0.5 mm from volume to volume on average.",
    ),
    Alarm(
        "mask_overlap",
        "mask_dice",
        lambda value: value < 0.85,
        "Brain mask and registered template overlap poorly (Dice below 0.85): look at the "
        "outlines before trusting regional values.",
    ),
)

UNKNOWN = "unknown_"
_ESSENTIAL = ("gm_mean_cbf", "spatial_cov")


def raised_flags(measures: Mapping[str, float]) -> list[str]:
    """Return the names of the alarms that the measures raise, in the order of `ALARMS`.

    An essential measure that is there but could not be computed (NaN) raises ``unknown_<name>``.
    """
    flags = [
        alarm.name
        for alarm in ALARMS
        if alarm.measure in measures and alarm.raised(measures[alarm.measure])
    ]
    unknown = [name for name in _ESSENTIAL if math.isnan(measures.get(name, 0.0))]
    return flags + [UNKNOWN + name for name in unknown]


def meaning(flag: str) -> str:
    """Return what a flag means, in a sentence for the report."""
    for alarm in ALARMS:
        if alarm.name == flag:
            return alarm.meaning
    return f"The measure {flag.removeprefix(UNKNOWN)} could not be computed."
