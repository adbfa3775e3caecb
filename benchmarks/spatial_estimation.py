"""Error, calibration and speed of the spatial estimate on noisy phantoms, on one core.

    OMP_NUM_THREADS=1 python benchmarks/spatial_estimation.py [--snr 200 480] [--seeds 11 12 13]

One row per set of fields of CBF and ATT, seed (of noise and of the smooth fields) and estimator.
Choices were made with the phantom and seeds 1 to 3, and seen with smooth fields of seed 5. Errors
are with the T1 of tissue taken as 1.3 s, calibration is with the T1 known (the model is then that
of the simulation), in pure voxels and in all of the brain. Voxels per second are of processor
time, least squares for the start included. The guide is an M0 image with the noise of the others.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from phantom import Phantom, load, noisy_m0, noisy_signal, other_fields, scheme

from cereflow_bids.perfusion.estimate import Estimate
from cereflow_bids.perfusion.least_squares import fit_least_squares
from cereflow_bids.perfusion.spatial import fit_spatial

Float = NDArray[np.float64]
REACHES = (8, 12, 20)


def rmse(estimate: Estimate, truth: Phantom) -> list[float]:
    """GM and WM error of CBF (mL/100 g/min), then of ATT (s)."""
    out = []
    for name in ("cbf", "att"):
        error = np.asarray(getattr(estimate, name)) - getattr(truth, name)[truth.mask]
        for tissue in ("gm", "wm"):
            own = error[truth.tissues[tissue][truth.mask]]
            out.append(float(np.sqrt(np.nanmean(own**2))))
    return out


def coverage(estimate: Estimate, truth: Phantom) -> list[float]:
    """Share whose truth is in the 95 % interval: GM, WM, all voxels of CBF, then of ATT."""
    out = []
    for name in ("cbf", "att"):
        error = np.asarray(getattr(estimate, name)) - getattr(truth, name)[truth.mask]
        se = np.asarray(getattr(estimate, f"{name}_standard_error"))
        for tissue in (truth.tissues["gm"], truth.tissues["wm"], truth.mask):
            own = tissue[truth.mask] & np.isfinite(se)
            out.append(100 * float(np.mean(np.abs(error[own]) <= 1.96 * se[own])))
    return out


def spatial(signal: Float, truth: Phantom, guide: Float | None, *, known: bool) -> Estimate:
    return fit_spatial(
        signal,
        truth.mask,
        scheme(),
        voxel_size=truth.voxel_size,
        guide=guide,
        t1_tissue=np.where(truth.mask, truth.t1, 1.3) if known else None,
    )


def rows(truth: Phantom, seed: int, snr: float) -> Iterator[tuple[str, str, str, str]]:
    """Estimator, errors, shares in the interval, voxels/s."""
    signal = noisy_signal(truth, seed, snr)
    plain = fit_least_squares(signal[truth.mask], scheme())
    yield "least squares", _text(rmse(plain, truth), 3), "", ""
    for name, guide in (("spatial", None), ("spatial, guided", noisy_m0(truth, seed, snr))):
        begin = time.process_time()
        found = spatial(signal, truth, guide, known=False)
        rate = truth.mask.sum() / (time.process_time() - begin)
        matched = coverage(spatial(signal, truth, guide, known=True), truth)
        yield name, _text(rmse(found, truth), 3), _text(matched, 1), f"{rate:.0f}"


def _text(values: Sequence[float], digits: int) -> str:
    return " ".join(f"{x:7.{digits}f}" for x in values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--snr", type=float, nargs="+", default=[200.0, 480.0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    chosen = parser.parse_args()
    tuned = load()
    print(
        "RMSE of CBF in GM, WM, of ATT in GM, WM | % in interval of CBF: GM, WM, all, of ATT: ..."
    )
    for snr in chosen.snr:
        for reach in (0, *REACHES):
            for seed in chosen.seeds:
                truth = other_fields(tuned, seed, reach) if reach else tuned
                name = f"smooth {reach} mm" if reach else "phantom"
                for estimator, errors, shares, rate in rows(truth, seed, snr):
                    start = f"{name:13s} {seed:3d} M0/{snr:<4.0f} {estimator:16s}"
                    print(f"{start} {errors} | {shares:47s} | {rate}", flush=True)


if __name__ == "__main__":
    main()
