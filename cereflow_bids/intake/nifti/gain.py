"""Receiver gain: GE sets it anew for every series, and delays scanned apart differ in scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cereflow_bids.intake.nifti.assembly import Assembly

# Share by which the brightness of two density images may differ without a change of gain, whose
# smallest step is about a tenth.
_SAME_GAIN = 0.05


def corrections(found: Assembly) -> list[float]:
    """Return what the images of each series are multiplied by, so that all have the first's scale.

    Within a series perfusion and density images share their gain. Across series the density
    images show its ratio: they were acquired alike and are not labelled.

    Parameters
    ----------
    found
        An acquisition; anything but perfusion-weighted series with a density image each is left
        as it is.

    Returns
    -------
    list of float
        One factor per series; 1 where the gain did not change.
    """
    factors = [1.0] * len(found.scans)
    kinds = np.array(found.order.types)
    if "deltam" not in found.order.types:
        return factors
    owner = np.array([source.scan for source in found.sources])
    density = [found.signal[(owner == k) & (kinds == "m0scan")] for k in range(len(factors))]
    if any(not signal.size or signal.mean() <= 0 for signal in density):
        return factors
    ratios = [float(density[0].mean() / signal.mean()) for signal in density]
    return [ratio if abs(ratio - 1) > _SAME_GAIN else 1.0 for ratio in ratios]


def remarks(found: Assembly, factors: Sequence[float]) -> list[str]:
    """Say which series were rescaled, or that nothing tells whether they ought to be."""
    first, part = found.scans[0].known, found.scans[0].known.labeling.part
    apart = len(found.scans) > 1 and part is not None and part.by == "delay"
    if apart and first.vendor == "siemens":
        return [_UNCHECKED]
    return [
        f"The proton-density image of series {scan.known.number} is {1 / factor:.2f} times as "
        f"bright as that of series {first.number}, as after a prescan with another receiver gain: "
        f"all images of series {scan.known.number} were multiplied by {factor:.3f}."
        for scan, factor in zip(found.scans, factors, strict=True)
        if factor != 1
    ]


_UNCHECKED = (
    "The delays were scanned one after the other, and no field that is read tells the receiver "
    "gain of each series: it was taken to be the same. If the scanner adjusted itself in between, "
    "the delays differ in scale."
)
