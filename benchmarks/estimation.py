"""Speed and exactness of the plain fit of several delays, on one core.

    OMP_NUM_THREADS=1 python benchmarks/estimation.py [--voxels 400000]

Simulates CBF and ATT at random, six pCASL delays, without and with noise, and prints voxels per
second (best of three) and the root mean square errors.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from cereflow_bids.perfusion.kinetics import tissue_response
from cereflow_bids.perfusion.least_squares import fit_least_squares
from cereflow_bids.perfusion.scheme import LabelingScheme

DELAYS = (0.25, 0.75, 1.25, 1.75, 2.25, 2.75)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--voxels", type=int, default=400_000)
    n = parser.parse_args().voxels
    generator = np.random.default_rng(1)
    cbf, att = generator.uniform(10, 100, n), generator.uniform(0.3, 2.5, n)
    print(f"{'model':<12}{'noise':>8}{'voxels/s':>12}{'CBF RMSE':>12}{'ATT RMSE':>12}")
    for model in ("consensus", "full"):
        scheme = LabelingScheme("PCASL", DELAYS, (1.8,) * 6, 0.85, 1.65, model=model)
        clean = cbf[:, None] / 6000 * tissue_response(scheme, att, cbf=cbf)
        for noise in (0.0, 3e-4):
            signal = clean + noise * generator.standard_normal(clean.shape)
            seconds = []
            for _ in range(3):
                start = time.perf_counter()
                found = fit_least_squares(signal, scheme)
                seconds.append(time.perf_counter() - start)
            errors = [
                np.sqrt(np.nanmean((found.cbf - cbf) ** 2)),
                np.sqrt(np.nanmean((found.att - att) ** 2)),
            ]
            print(
                f"{model:<12}{noise:>8.0e}{n / min(seconds):>12.0f}"
                f"{errors[0]:>12.2e}{errors[1]:>12.2e}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
