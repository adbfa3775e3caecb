"""CBF of one delay is a sum over volumes: the same numbers, whatever was left out or scaled."""

import numpy as np
import pytest
from asl_run import halves, run_of

from cereflow_bids.quantification.quantify import quantify
from cereflow_bids.quantification.science import Science
from cereflow_bids.quantification.tissues import Tissues

SHAPE = (12, 10, 8)
MASK = np.ones(SHAPE, bool)
SLICES = {"MRAcquisitionType": "2D", "SliceTiming": [0.04 * k for k in range(8)]}
BLOCK = ["m0scan", *["control", "label"] * 6]


def quantified(context, delays, gains, *, science, volumes=None, **metadata):
    rng = np.random.default_rng(3)
    base = {"m0scan": 1000.0, "control": 300.0, "label": 292.0, "deltam": 8.0}
    series = np.stack([np.full(SHAPE, base[kind]) for kind in context], axis=-1)
    series += rng.normal(0, 1, series.shape)
    series = series * np.asarray(gains) if volumes is None else volumes(series)
    run = run_of(context, delays, SHAPE, **metadata)
    m0 = series[..., run.volumes("m0scan")].mean(axis=-1) if "m0scan" in context else None
    tissues = Tissues(*halves(SHAPE))
    found = quantify(run, series, m0, MASK, voxel_size=(3, 3, 4), science=science, tissues=tissues)
    return found, series


def spoiled(series):
    series[:, ::2, :, 4] -= 40
    return series


@pytest.mark.parametrize(
    ("context", "gains", "science", "volumes", "metadata"),
    [
        (BLOCK, 1, Science(), None, {}),
        (["m0scan", "deltam", "deltam"], 1, Science(m0_smoothing=0), None, {}),
        (BLOCK, 1, Science(outliers="score"), spoiled, {}),
        (BLOCK * 2, [1.0] * 13 + [2.0] * 13, Science(), None, {}),
        (BLOCK, 1, Science(), None, SLICES),
        (BLOCK[1:], 1, Science(), None, {"M0Type": "Estimate", "M0Estimate": 1000.0}),
    ],
    ids=["pairs", "differences", "outliers", "two scales", "slices", "one M0 of blood"],
)  # fmt: skip
def test_gain_times_weighted_volumes_is_cbf(context, gains, science, volumes, metadata):
    found, series = quantified(context, 1.8, gains, science=science, volumes=volumes, **metadata)
    assert len(found.rejected) == (1 if volumes else 0)
    sum_of_volumes = series @ np.asarray(found.linear.weights)
    np.testing.assert_allclose(found.linear.gain * sum_of_volumes, found.cbf, rtol=1e-9)


def test_what_is_no_sum_of_volumes_has_no_such_form():
    several = [0.0, *np.repeat([0.5, 1.2, 1.9], 4)]
    assert quantified(BLOCK, several, 1, science=Science())[0].linear is None
    robust, _ = quantified(BLOCK, 1.8, 1, science=Science(outliers="scrub"), volumes=spoiled)
    assert robust.cbf is not None
    assert robust.linear is None
