"""What the arterial component costs and decides, on one core.

    OMP_NUM_THREADS=1 python benchmarks/arterial.py [--voxels 60000]

For several schemes: voxels per second with arteries in 15 % of the voxels and in all of them; how
often arteries are included where there are none; how often they are found for an aBV of 1, 2 and
3 %; and the error of CBF where they are, by tissue alone and with arteries. ``other T1``: the data
follow the full model with T1t 1.3 s, the fit the consensus form. ``uneven``: the SD of the noise
varies between voxels by a factor with a log SD of 0.4. Without repeats the noise is that of one
image of the mean, so that all rows of a scheme have the same noise in the mean.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.perfusion.arterial import Arterial, find_arterial
from cereflow_bids.perfusion.arterial_response import arterial_response
from cereflow_bids.perfusion.estimate import Estimate
from cereflow_bids.perfusion.kinetics import tissue_response
from cereflow_bids.perfusion.least_squares import fit_least_squares
from cereflow_bids.perfusion.scheme import LabelingScheme

Float = NDArray[np.float64]

TEN = tuple(np.arange(0.3, 3.1, 0.3).round(1).tolist())
SCHEMES = {
    "pCASL 6 × 0.5 s": LabelingScheme(
        "PCASL", (0.25, 0.75, 1.25, 1.75, 2.25, 2.75), (1.8,) * 6, 0.85, 1.65
    ),
    "pCASL 6 × 0.25 s": LabelingScheme(
        "PCASL", (0.25, 0.5, 0.75, 1.0, 1.25, 1.5), (1.4,) * 6, 0.85, 1.65
    ),
    "PASL 10 × 0.3 s": LabelingScheme("PASL", TEN, (0.8,) * 10, 0.98, 1.65),
    "7 encoded blocks": LabelingScheme(
        "PCASL",
        (1.0, 1.22, 1.48, 1.78, 2.15, 2.63, 3.32),
        (0.22, 0.26, 0.3, 0.37, 0.48, 0.69, 1.18),
        0.85,
        1.65,
    ),
}
NOISE = 0.0064
"""Of a difference over M0·λ, for an SNR of 200 of the images, averaged over eight."""


def simulate(
    scheme: LabelingScheme,
    n: int,
    abv: float,
    share: float,
    rng: np.random.Generator,
    *,
    uneven: bool = False,
    other: bool = False,
) -> tuple[Float, Float | None, Float, NDArray[np.bool_]]:
    """Return signal (v, n), spread (v,) or None, CBF (v,) and where arteries are."""
    first, repeats = min(scheme.delay), scheme.repeats[0]
    cbf = rng.uniform(20, 80, n)
    vessel = rng.random(n) < share
    late = min(2.4, max(scheme.delay) - 0.3)
    att = np.where(vessel, rng.uniform(first + 0.4, first + 1.0, n), rng.uniform(0.3, late, n))
    truth = replace(scheme, model="full") if other else scheme
    signal = cbf[:, None] / 6000 * tissue_response(truth, att, cbf=cbf)
    arrival = np.maximum(att - rng.uniform(0.1, 0.5, n), first + 0.02)
    signal += (vessel * abv)[:, None] * arterial_response(scheme, arrival)
    sd = NOISE / np.sqrt(8) * (np.exp(0.4 * rng.standard_normal(n)) if uneven else np.ones(n))
    signal += sd[:, None] * rng.standard_normal(signal.shape)
    freedom = (repeats - 1) * scheme.size
    spread = sd**2 * repeats * rng.chisquare(freedom, n) if repeats > 1 else None
    return signal, spread, cbf, vessel


def decide(
    scheme: LabelingScheme, signal: Float, spread: Float | None
) -> tuple[Arterial, Estimate, float]:
    tissue = fit_least_squares(signal, scheme)
    start = time.perf_counter()
    found = find_arterial(signal, scheme, tissue, spread=spread)
    return found, tissue, signal.shape[0] / (time.perf_counter() - start)


def row(scheme: LabelingScheme, n: int) -> str:
    rng = np.random.default_rng(11)
    wrong = []
    for options in ({}, {"other": True}, {"uneven": True}):
        signal, spread, *_ = simulate(scheme, n, 0, 0, rng, **options)
        wrong.append(100 * decide(scheme, signal, spread)[0].included.mean())
    right, speed = [], []
    for abv in (0.01, 0.02, 0.03):
        signal, spread, cbf, vessel = simulate(scheme, n, abv, 0.15, rng)
        found, tissue, rate = decide(scheme, signal, spread)
        right.append(100 * found.included[vessel].mean())
        speed.append(rate)
    errors = [
        np.sqrt(np.median((estimate.cbf - cbf)[vessel] ** 2))
        for estimate in (tissue, found.estimate)
    ]
    signal, spread, *_ = simulate(scheme, n, 0.03, 1, rng)
    every = decide(scheme, signal, spread)[2]
    return (
        "".join(f"{x:8.1f}" for x in wrong)
        + " |"
        + "".join(f"{x:6.0f}" for x in right)
        + " |"
        + "".join(f"{x:7.1f}" for x in errors)
        + f" |{max(speed):10.0f}{every:9.0f}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--voxels", type=int, default=60_000)
    n = parser.parse_args().voxels
    print(f"{'':28}| included without, % | found at 1, 2, 3 % | median |error| | voxels/s")
    print(
        f"{'scheme':<20}{'repeats':>8}{'even':>8}{'other T1':>8}{'uneven':>8} |{'%':>18} |"
        f"{'tissue':>7}{'both':>7} |{'15 %':>10}{'all':>9}"
    )
    for name, scheme in SCHEMES.items():
        for repeats in (8, 2, 1):
            own = replace(scheme, repeats=(repeats,) * scheme.size)
            print(f"{name:<20}{repeats:>8}{row(own, n)}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
