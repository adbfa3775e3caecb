"""Peak memory of the quantification of a series with several delays, beside the series' size.

    OMP_NUM_THREADS=1 python benchmarks/memory.py [--shape 128 128 40] [--pairs 5]

Simulates a pCASL series of ten delays in float32, quantifies it from the arrays and prints the
peak of the process, less what Python and its modules take, over the size of the series; the series
itself counts as 1. Each estimator runs in a process of its own.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.bids.m0_metadata import read_calibration
from cereflow_bids.bids.metadata import read_labeling
from cereflow_bids.bids.run import AslRun
from cereflow_bids.bids.sidecar import Sidecar
from cereflow_bids.perfusion.kinetics import tissue_response
from cereflow_bids.perfusion.scheme import LabelingScheme
from cereflow_bids.quantification.quantify import quantify
from cereflow_bids.quantification.science import Science

DELAYS = tuple(0.25 + 0.3 * k for k in range(10))
SCHEME = LabelingScheme("PCASL", DELAYS, (1.8,) * 10, 0.85, 1.65)
SIDECAR = {
    "ArterialSpinLabelingType": "PCASL",
    "MRAcquisitionType": "3D",
    "MagneticFieldStrength": 3,
    "LabelingEfficiency": 0.85,
    "LabelingDuration": 1.8,
    "M0Type": "Included",
    "RepetitionTimePreparation": 6.0,
}
LIMIT = 4.0


def brain(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return an ellipsoid that fills three tenths of the image."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij", sparse=True)
    return np.asarray(sum((a / 0.83) ** 2 for a in axes) < 1)


def simulate(shape: tuple[int, ...], pairs: int) -> tuple[AslRun, NDArray[np.float32]]:
    """Return a run and its series, M0 first: volume by volume, so that no copy is made."""
    context = ["m0scan"] + ["control", "label"] * pairs * len(DELAYS)
    times = [0.0] + [t for t in DELAYS for _ in range(2 * pairs)]
    sidecar = Sidecar(SIDECAR | {"PostLabelingDelay": times}, "sub-01_asl.nii.gz")
    labeling, notes = read_labeling(sidecar, context, shape)
    calibration = read_calibration(sidecar, context, None, labeling)
    run = AslRun(
        "sub-01", "01", None, Path("asl"), "sub-01", tuple(context), labeling, calibration,
        notes=tuple(notes),
    )  # fmt: skip
    generator = np.random.default_rng(1)
    mask = brain(shape)
    response = 60 / 6000 * tissue_response(SCHEME, 1.0)[0] / 0.9
    series = np.zeros((*shape, len(context)), dtype=np.float32)
    for k, kind in enumerate(context):
        volume = 1000 * mask + 5 * generator.standard_normal(shape, dtype=np.float32)
        if kind == "label":
            volume -= 1000 * mask * response[(k - 1) // (2 * pairs)]
        series[..., k] = volume
    return run, series


def measure(estimator: str, shape: tuple[int, ...], pairs: int) -> None:
    """Print one row of the table."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run, series = simulate(shape, pairs)
    size = series.nbytes / 1024
    mask = brain(shape)
    simulated = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    spatial = estimator == "spatial"
    science = Science(estimator="spatial" if spatial else "least-squares")
    quantify(run, series, series[..., 0], mask, voxel_size=(1.7, 1.7, 4.0), science=science)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{estimator:15s} series {size / 1024:6.0f} MB, {mask.sum()} voxels: simulated "
        f"{(simulated - before) / size:5.2f}, quantified {(peak - before) / size:5.2f} times the "
        f"series (limit {LIMIT:g}), {seconds:.1f} s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=3, default=[128, 128, 40])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--estimator", help="only this one, in this process")
    chosen = parser.parse_args()
    if chosen.estimator:
        measure(chosen.estimator, tuple(chosen.shape), chosen.pairs)
        return
    for estimator in ("least-squares", "spatial"):
        subprocess.run([sys.executable, *sys.argv, "--estimator", estimator], check=True)


if __name__ == "__main__":
    main()
