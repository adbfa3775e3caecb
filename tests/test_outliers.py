"""Rejection of repeats: planted artefacts are found, good repeats stay."""

import numpy as np
import pytest

from cereflow_bids.perfusion.enable import enable
from cereflow_bids.perfusion.outliers import score
from cereflow_bids.perfusion.scrub import scrub

SHAPE = (16, 16, 6)


@pytest.fixture
def tissues():
    labels = np.random.default_rng(3).choice(3, SHAPE, p=[0.45, 0.4, 0.15])
    mask = np.zeros(SHAPE, dtype=bool)
    mask[2:-2, 2:-2] = True
    return [np.where(mask & (labels == k), 0.9, 0.03) for k in range(3)] + [mask]


def clean(tissues, p, seed=0, sd=10.0):
    gm, wm, _, mask = tissues
    noise = sd * np.random.default_rng(seed).standard_normal((*SHAPE, p))
    return (60 * gm + 22 * wm)[..., None] * mask[..., None] + noise


def artefact(scale):
    """A gradient, of no effect on the mean: only the second step can see it."""
    return scale * np.broadcast_to(np.linspace(-1, 1, SHAPE[0])[:, None, None], SHAPE)


def level_step(series, gm, mask):
    """Which repeats the first step keeps, by its definition."""
    level = series[(gm > 0.7) & mask].mean(axis=0)
    away = np.abs(level - np.median(level))
    return away <= 2.5 * np.median(away) / 0.675


@pytest.mark.parametrize("seed", range(6))
def test_score_loses_nothing_of_clean_data_after_its_first_step(tissues, seed):
    series = clean(tissues, 20, seed)
    result = score(series, *tissues)
    np.testing.assert_array_equal(result.kept, level_step(series, tissues[0], tissues[3]))
    inside = tissues[3]
    np.testing.assert_allclose(result.mean[inside], series[inside][:, result.kept].mean(axis=1))
    assert np.isnan(result.mean[~inside]).all()


def test_score_finds_level_and_structure(tissues):
    series = clean(tissues, 20)
    series[..., 4] += 40
    series[..., 11] += artefact(300)
    series[..., 17] -= artefact(220)
    result = score(series, *tissues)
    reasons = dict(result.reasons)
    assert {4, 11, 17} <= set(reasons)
    assert "grey matter mean" in reasons[4]
    assert sorted(reasons) == np.flatnonzero(~result.kept).tolist()
    assert result.kept.sum() >= 15


def test_score_stops_before_the_removal_that_does_not_pay(tissues):
    series = clean(tissues, 12, seed=5)
    before = score(series, *tissues).kept
    bad = np.flatnonzero(before)[2]
    series[..., bad] += artefact(1200) - artefact(1200)[(tissues[0] > 0.7) & tissues[3]].mean()
    kept = score(series, *tissues).kept
    np.testing.assert_array_equal(np.flatnonzero(before & ~kept), [bad])


@pytest.mark.parametrize("p", [1, 2, 3])
def test_few_repeats(tissues, p):
    series = np.repeat(clean(tissues, 1), p, axis=3)
    result = score(series, *tissues)
    assert result.kept.all() and result.reasons == ()
    np.testing.assert_allclose(result.mean[tissues[3]], series[tissues[3]][:, 0])


def test_volume_without_values(tissues):
    series = clean(tissues, 8)
    series[..., 2] = np.nan
    result = score(series, *tissues)
    assert not result.kept[2] and "0 % of its grey matter" in dict(result.reasons)[2]
    assert np.isfinite(result.mean[tissues[3]]).all()


def test_nothing_but_missing_values(tissues):
    result = score(np.full((*SHAPE, 2), np.nan), *tissues)
    assert not result.kept.any() and len(result.reasons) == 2
    assert np.isnan(result.mean).all()


def test_constant_image(tissues):
    result = score(np.full((*SHAPE, 5), 50.1), *tissues)
    assert result.kept.all()
    np.testing.assert_allclose(result.mean[tissues[3]], 50.1)


def test_no_grey_matter_is_refused(tissues):
    with pytest.raises(ValueError, match="grey matter"):
        score(np.ones((*SHAPE, 3)), *tissues[:3], np.zeros(SHAPE))


def test_scrub_equals_the_plain_mean_of_clean_data(tissues):
    series = clean(tissues, 20)
    plain, robust = score(series, *tissues), scrub(series, *tissues)
    np.testing.assert_array_equal(robust.kept, plain.kept)
    same = np.isclose(robust.mean, plain.mean)[tissues[3]]
    assert same.mean() > 0.99
    assert np.nanmin(robust.weights) > 0.99


def test_scrub_repairs_a_spot_that_score_leaves(tissues):
    truth = clean(tissues, 1, sd=0)[..., 0]
    series = clean(tissues, 20, seed=2)
    spot = np.zeros(SHAPE, dtype=bool)
    spot[6:9, 6:9, 2] = True
    victim = np.flatnonzero(score(series, *tissues).kept)[3]
    added = np.where(spot, 600.0, 0.0)
    series[..., victim] += added - added[(tissues[0] > 0.7) & tissues[3]].mean()
    plain, robust = score(series, *tissues), scrub(series, *tissues)
    assert plain.kept[victim]
    errors = [np.abs(r.mean - truth)[spot].mean() for r in (plain, robust)]
    assert errors[0] > 20 and errors[1] < errors[0] / 3
    assert np.nanargmin(robust.weights) == victim


@pytest.mark.parametrize("p", [1, 2, 3])
def test_scrub_of_few_constant_and_missing_repeats(tissues, p):
    series = np.full((*SHAPE, p + 1), 50.1)
    series[..., p] = np.nan
    result = scrub(series, *tissues)
    np.testing.assert_allclose(result.mean[tissues[3]], 50.1)
    np.testing.assert_array_equal(result.weights, [1.0] * p + [np.nan])


def test_enable_drops_the_noisy_repeats_and_says_why(tissues):
    series = clean(tissues, 20, seed=7)
    bad = [3, 9, 15]
    series[..., bad] += 150 * np.random.default_rng(8).standard_normal((*SHAPE, 3))
    result = enable(series, *tissues, delay=1.8)
    grey = (tissues[0] > 0.7) & tissues[3]
    contrast = series[grey].mean(axis=0) / series[~tissues[3]].std(axis=0)
    assert not result.kept[bad].any() and result.kept.sum() >= 15
    assert contrast[result.kept].min() > contrast[~result.kept].max()
    assert {i for i, _ in result.reasons} == set(np.flatnonzero(~result.kept))
    assert all("contrast to noise" in why for _, why in result.reasons)
    expected = series[tissues[3]][:, result.kept].mean(axis=1)
    np.testing.assert_allclose(result.mean[tissues[3]], expected)


@pytest.mark.parametrize("seed", range(4))
def test_enable_loses_nothing_of_clean_data(tissues, seed):
    assert enable(clean(tissues, 12, seed), *tissues, delay=1.3, field_strength=1.5).kept.all()


@pytest.mark.parametrize("p", [1, 2, 3])
def test_enable_of_equal_and_missing_repeats(tissues, p):
    series = np.repeat(clean(tissues, 1), p + 1, axis=3)
    series[..., p] = np.nan
    result = enable(series, *tissues, delay=1.8)
    np.testing.assert_array_equal(result.kept, [True] * p + [False])
    np.testing.assert_allclose(result.mean[tissues[3]], series[tissues[3]][:, 0])


def test_enable_needs_noise_outside_the_brain(tissues):
    series = clean(tissues, 6) * tissues[3][..., None]
    with pytest.raises(ValueError, match="noise outside"):
        enable(series, *tissues, delay=1.8)
    with pytest.raises(ValueError, match="noise outside"):
        enable(np.full((*SHAPE, 4), 50.0), *tissues, delay=1.8)
