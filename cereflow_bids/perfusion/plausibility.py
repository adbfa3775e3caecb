"""Mistakes that the data give away, named. Nothing is rescaled. Times in seconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

ALARM_CBF = (10.0, 150.0)
"""Mean grey matter CBF, mL/100 g/min, outside which scaling is suspected (quality alarms)."""

USUAL_CBF = (20.0, 120.0)
"""Where a factor must bring it back to for the factor to be named (our choice)."""

LONGEST_DELAY = 10.0
"""s; blood has lost its label (six T1b at 3 T): a larger number is in ms."""


@dataclass(frozen=True)
class Finding:
    """One suspicion: its name, the value behind it, what it means, and what to do."""

    name: str
    value: float
    text: str
    fix: str


def check_order(pair_means: ArrayLike) -> list[Finding]:
    """Find swapped control and label in the mean difference of the brain in each pair (p,)."""
    means = np.asarray(pair_means, dtype=np.float64)
    means = means[np.isfinite(means)]
    if not means.size or not (means < 0).any():
        return []
    fix = "compare aslcontext.tsv with the order of acquisition."
    if means.mean() < 0:
        text = "The mean control-label difference is negative: control and label are swapped."
        return [Finding("swapped_order", float(means.mean()), text, fix)]
    typical = float(np.median(means))
    # Half the typical size, so that noise about zero is not taken for a swap.
    swapped = int((means < -0.5 * typical).sum()) if typical > 0 else 0
    text = f"{swapped} of {means.size} pairs are negative: control and label are swapped there."
    return [Finding("swapped_pairs", float(swapped), text, fix)] if swapped else []


def check_scale(gm_cbf: float, excitations: float | None = None) -> list[Finding]:
    """Name each factor that brings the mean grey matter CBF (mL/100 g/min) back to 20-120."""
    if not np.isfinite(gm_cbf) or gm_cbf <= 0 or ALARM_CBF[0] <= gm_cbf <= ALARM_CBF[1]:
        return []
    causes = {
        1 / 32: ("scale_32", "the perfusion image was not divided by the scale factor 32"),
        32.0: ("scale_32_twice", "the perfusion image was divided by 32 twice"),
    }
    if excitations is not None and excitations > 1:
        causes[1 / excitations] = ("nex", "the perfusion image was not divided by NEX")
        causes[excitations] = ("nex_twice", "the perfusion image was divided by NEX twice")
    return [
        Finding(
            name,
            factor,
            f"Grey matter CBF is {gm_cbf:.4g}: perhaps {text}.",
            "correct the conversion and run again.",
        )
        for factor, (name, text) in causes.items()
        if USUAL_CBF[0] <= gm_cbf * factor <= USUAL_CBF[1]
    ] or [
        Finding(
            "scale_unknown",
            gm_cbf,
            f"Grey matter CBF is {gm_cbf:.4g}: no known factor explains it.",
            "check M0, scale slopes and times.",
        )
    ]


def check_delays(delays: ArrayLike) -> list[Finding]:
    """Find delays (n,) that were given in ms."""
    longest = float(np.max(np.asarray(delays, dtype=np.float64), initial=0))
    if not longest > LONGEST_DELAY:
        return []
    text = f"A delay of {longest:g} s leaves no label: it is in ms."
    return [Finding("delay_in_ms", longest, text, "give the delay in seconds.")]
