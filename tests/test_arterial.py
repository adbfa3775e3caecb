"""Arteries beside tissue: recovery, decision, errors, and what is refused."""

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cereflow_bids.perfusion.arterial import find_arterial, why_not, with_arteries
from cereflow_bids.perfusion.arterial_response import arterial_response
from cereflow_bids.perfusion.estimate import Flag
from cereflow_bids.perfusion.kinetics import tissue_response
from cereflow_bids.perfusion.least_squares import fit_least_squares
from cereflow_bids.perfusion.scheme import LabelingScheme
from cereflow_bids.perfusion.spatial import fit_spatial

DELAYS = tuple(np.arange(0.3, 3.1, 0.3).round(1).tolist())
PCASL = LabelingScheme("PCASL", DELAYS, (1.8,) * 10, 0.85, 1.65, (4,) * 10)
PASL = LabelingScheme("PASL", DELAYS, (0.8,) * 10, 0.98, 1.65, (4,) * 10)
# Blocks of a time-encoded run: each delay has its own duration.
BLOCKS = LabelingScheme(
    "PCASL", (1.0, 1.22, 1.48, 1.78, 2.15, 2.63, 3.32),
    (0.22, 0.26, 0.3, 0.37, 0.48, 0.69, 1.18), 0.85, 1.65, (3,) * 7,
)  # fmt: skip


def voxels(scheme, n=4000, seed=3):
    """Truth in which a measurement lies between aBAT and ATT, so that both are identifiable."""
    generator = np.random.default_rng(seed)
    first = min(scheme.delay)
    arrival = generator.uniform(first + 0.05, first + 0.7, n)
    att = arrival + generator.uniform(0.5, 0.9, n)
    return generator.uniform(20, 90, n), att, generator.uniform(0.01, 0.03, n), arrival


def amid_tissue(scheme, truth, offset=0.0):
    """Fit voxels among twice as many without arteries, from which the noise is told."""
    plain = (truth[0], truth[1], 0 * truth[2], truth[3])
    signal = np.concatenate([curves(scheme, part, offset) for part in (truth, plain, plain)])
    found, tissue = find(signal, scheme, offset=np.tile(offset, 3) if np.ndim(offset) else offset)
    n = truth[0].size
    assert not found.included[n:].any()
    return first(found, n), first(tissue, n)


def first(record, n):
    """Return a record of arrays with the first n voxels, which lie along the last axis."""
    values = {}
    for name, value in vars(record).items():
        if isinstance(value, np.ndarray):
            values[name] = value[:n] if value.shape[0] > n or value.ndim == 1 else value[:, :n]
        elif hasattr(value, "cbf"):
            values[name] = first(value, n)
    return dataclasses.replace(record, **values)


def curves(scheme, truth, offset=0.0):
    cbf, att, abv, arrival = truth
    tissue = cbf[:, None] / 6000 * tissue_response(scheme, att, cbf=cbf, offset=offset)
    return tissue + abv[:, None] * arterial_response(scheme, arrival, offset=offset)


def find(signal, scheme, **options):
    tissue = fit_least_squares(signal, scheme, offset=options.get("offset", 0.0))
    return find_arterial(signal, scheme, tissue, **options), tissue


@pytest.mark.parametrize("model", ["consensus", "full"])
@pytest.mark.parametrize("scheme", [PCASL, PASL, BLOCKS], ids=["pcasl", "pasl", "blocks"])
def test_noise_free_arteries_are_recovered(scheme, model):
    scheme = dataclasses.replace(scheme, model=model)
    truth = voxels(scheme)
    found, tissue = amid_tissue(scheme, truth)
    cbf, att, abv, arrival = truth
    assert found.included.all()
    assert np.quantile(np.abs(found.estimate.cbf - cbf), 0.99) < 1
    assert np.quantile(np.abs(found.estimate.att - att), 0.99) < 0.02
    assert np.median(np.abs(tissue.cbf - cbf)) > 10
    if scheme.pulsed:
        assert_allclose(found.estimate.abv, abv, atol=1e-3)
    else:
        # The height is aBV·exp(−aBAT/T1b): aBV is as uncertain as aBAT, and its error says so.
        height = found.estimate.abv * np.exp((arrival - found.arrival) / 1.65)
        assert_allclose(height, abv, atol=1e-3)
        error = found.estimate.abv_standard_error
        assert np.all(np.abs(found.estimate.abv - abv) < 2 * error + 1e-3)
    assert np.all(found.arrival <= found.estimate.att)
    assert_allclose(found.signal, abv[:, None] * arterial_response(scheme, arrival), atol=3e-4)


@pytest.mark.parametrize("scheme", [PCASL, PASL, BLOCKS], ids=["pcasl", "pasl", "blocks"])
@pytest.mark.parametrize("repeats_known", [True, False])
def test_false_positives_and_detection(scheme, repeats_known):
    """Noise of a difference: 0.64 % of M0, as of SNR 200 of the images."""
    generator = np.random.default_rng(8)
    truth = voxels(scheme, 6000)
    truth[0][:] = generator.uniform(30, 80, 6000)
    truth[2][:] = 0.02
    truth[2][900:] = 0
    noise = 0.0064
    signal = curves(scheme, truth)
    signal += noise / np.sqrt(scheme.repeats) * generator.standard_normal(signal.shape)
    freedom = sum(scheme.repeats) - scheme.size
    spread = noise**2 * generator.chisquare(freedom, 6000) if repeats_known else None
    included = find(signal, scheme, spread=spread)[0].included
    assert included[900:].mean() < 0.03
    assert included[:900].mean() > 0.5


def test_tissue_alone_is_left_as_it_was():
    truth = voxels(PCASL)
    truth[2][:] = 0
    signal = curves(PCASL, truth)
    signal[0], signal[1] = np.nan, 0
    found, tissue = find(signal, PCASL)
    assert not found.included.any()
    assert not found.signal.any()
    assert_allclose(found.estimate.cbf, tissue.cbf)
    assert np.array_equal(found.estimate.flag, tissue.flag)
    assert np.isnan(found.estimate.abv[0])
    assert not found.estimate.abv[1:].any()


def test_standard_errors_cover_the_truth():
    n = 6000
    generator = np.random.default_rng(4)
    truth = (np.full(n, 60.0), np.full(n, 1.3), np.full(n, 0.03), np.full(n, 0.75))
    truth[2][n // 3 :] = 0
    signal = curves(PCASL, truth)
    signal += 0.0015 * generator.standard_normal(signal.shape)
    spread = 4 * 0.0015**2 * generator.chisquare(30, n)
    estimate = find(signal, PCASL, spread=spread)[0].estimate
    for value, error, true in (
        (estimate.cbf, estimate.cbf_standard_error, 60),
        (estimate.att, estimate.att_standard_error, 1.3),
        (estimate.abv, estimate.abv_standard_error, 0.03),
    ):
        assert 0.92 < np.mean((np.abs(value - true) < 1.96 * error)[: n // 3]) <= 1


def test_an_att_that_is_not_told_is_averaged_and_says_so():
    """No measurement lies between aBAT and ATT, so that ATT and aBV trade for each other."""
    truth = tuple(np.array([x]) for x in (60.0, 1.1, 0.03, 0.95))
    found, _ = amid_tissue(PCASL, truth)
    estimate = found.estimate
    assert_allclose(estimate.cbf, 60, atol=0.5)
    assert_allclose(estimate.att, 1.05, atol=0.1)
    assert 0.05 < estimate.att_standard_error[0] < 0.12
    assert abs(estimate.abv[0] - 0.03) < 2 * estimate.abv_standard_error[0]


def test_slices_have_their_own_delays():
    truth = voxels(PCASL)
    offset = np.arange(truth[0].size) % 3 * 0.1
    truth = (truth[0], truth[1] + offset, truth[2], truth[3] + offset)
    found, _ = amid_tissue(PCASL, truth, offset)
    assert found.included.all()
    assert np.quantile(np.abs(found.estimate.cbf - truth[0]), 0.99) < 1


def test_what_cannot_tell_arteries_is_refused():
    few = dataclasses.replace(PCASL, delay=DELAYS[:4] * 2, duration=(1.8,) * 8, repeats=(1,) * 8)
    look_locker = dataclasses.replace(PASL, readout_flip_angle=35.0)
    assert not why_not(PCASL)
    for scheme, told in ((few, "4 distinct measurements"), (look_locker, "Look-Locker")):
        assert told in why_not(scheme)
        tissue = fit_least_squares(np.ones((1, scheme.size)), scheme)
        with pytest.raises(ValueError, match=told):
            find_arterial(np.ones((1, scheme.size)), scheme, tissue)


def test_spatial_estimate_of_what_arteries_leave():
    """Where vessels are, CBF is right with them and far off without; its error is larger."""
    shape = (14, 14, 4)
    size = int(np.prod(shape))
    generator = np.random.default_rng(2)
    vessel = np.zeros(shape, bool)
    vessel[5:8, 4:10] = True
    truth = (
        np.full(size, 60.0), np.full(size, 1.3), np.where(vessel.ravel(), 0.03, 0),
        np.full(size, 0.75),
    )  # fmt: skip
    signal = curves(PCASL, truth) + 0.0015 * generator.standard_normal((size, 10))
    spread = 4 * 0.0015**2 * generator.chisquare(30, size)
    found, tissue = find(signal, PCASL, spread=spread)

    def spatial(values, start):
        return fit_spatial(
            values.reshape(*shape, 10), np.ones(shape, bool), PCASL, voxel_size=(3, 3, 3),
            start=start,
        )  # fmt: skip

    without = spatial(signal, tissue)
    left = spatial(signal - found.signal, found.estimate)
    complete = with_arteries(left, found)
    inside = vessel.ravel()
    assert np.sqrt(np.mean((without.cbf[inside] - 60) ** 2)) > 8
    assert np.sqrt(np.mean((complete.cbf[inside] - 60) ** 2)) < 4
    here = found.included
    assert here[inside].mean() > 0.9
    assert np.array_equal((complete.flag & Flag.ARTERIAL) > 0, here)
    assert np.all(complete.cbf_standard_error[here] >= left.cbf_standard_error[here])
    inflated = complete.cbf_standard_error[here & inside] / left.cbf_standard_error[here & inside]
    assert np.median(inflated) > 1.2
    assert np.mean(np.abs(complete.cbf - 60) < 1.96 * complete.cbf_standard_error) > 0.92
    assert_allclose(complete.cbf_standard_error[~here], left.cbf_standard_error[~here])


def test_what_repeats_do_not_show_is_no_sign_of_arteries():
    """Rounding that all repeats share, as of noise-free integers, with no spread at all."""
    truth = voxels(PCASL)
    truth[2][:] = 0
    signal = np.round(curves(PCASL, truth) / 3e-4) * 3e-4
    assert find(signal, PCASL, spread=0.0)[0].included.mean() < 0.03
    assert find(signal, PCASL, spread=1e-10)[0].included.mean() < 0.03


def test_a_lone_voxel_needs_more_than_one_in_a_vessel():
    """Weak arteries along a line, and as many apart from each other; noise everywhere else."""
    shape = (24, 24, 6)
    line, apart = np.zeros(shape, bool), np.zeros(shape, bool)
    line[4:20, 4, 3] = True
    apart[3:21:5, 10:24:4, 1:6:2] = True
    size, generator = int(np.prod(shape)), np.random.default_rng(6)
    truth = (
        np.full(size, 50.0), np.full(size, 1.3), 0.008 * (line | apart).ravel(),
        np.full(size, 0.75),
    )  # fmt: skip
    signal = curves(PCASL, truth) + 0.0015 * generator.standard_normal((size, 10))
    mask = np.ones(shape, bool)
    own, together = (find(signal, PCASL, mask=m)[0].included.reshape(shape) for m in (None, mask))
    assert not (together & ~own).any()
    none = ~(line | apart)
    assert together[none].sum() < 0.4 * own[none].sum()
    kept = [together[where].sum() / own[where].sum() for where in (line, apart)]
    assert kept[0] > 0.8 > kept[1]
    dropped = find(signal, PCASL, mask=mask)[0]
    gone = (own & ~together).ravel()
    tissue = fit_least_squares(signal, PCASL)
    assert_allclose(dropped.estimate.cbf[gone], tissue.cbf[gone])
    assert not dropped.signal[gone].any()
    assert not dropped.estimate.abv[gone].any()


def test_no_voxel_and_no_signal():
    for signal in (np.empty((0, 10)), np.full((3, 10), np.nan), np.zeros((3, 10))):
        found = find(signal, PCASL)[0]
        assert found.included.shape == signal.shape[:1]
        assert not found.included.any()
