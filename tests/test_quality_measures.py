"""Quality measures against numbers worked out by hand, and where they cannot be computed."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cereflow_bids.quality import evaluation_index as qei
from cereflow_bids.quality import measures as m

# Three voxels of each pure tissue, in a row.
GM, WM, CSF = (np.repeat(kind, 3)[:, None, None] for kind in np.eye(3))
WHOLE = np.ones(GM.shape, bool)
FLOW = np.array([50.0, 60, 70, 18, 20, 22, -1, 0, 1])[:, None, None]


def brain(noise, seed=0, negative=0.0):
    """Return a noisy map of 20³ voxels with its fractions: bands of the three tissues."""
    band = np.indices((20, 20, 20))[0] // 4 % 3
    gm, wm, csf = ((band == k).astype(float) for k in range(3))
    rng = np.random.default_rng(seed)
    return 60 * gm + 22 * wm + rng.normal(-negative, noise, band.shape), gm, wm, csf


def index_of(flow, gm, wm, csf):
    inside = np.ones(flow.shape, bool)
    return qei.quality_evaluation_index(flow, inside, gm, wm, csf)


def test_the_index_by_hand():
    """Variances 100, 4 and 1 over three voxels each: pooled 35, over a mean of 60."""
    pure = [fraction > qei.PURE for fraction in (GM, WM, CSF)]
    dispersion = qei.dispersion_index(FLOW, *pure)
    assert dispersion == pytest.approx(35 / 60)
    # Against 2.5, 1 and 0: deviations 4/3, -1/6 and -7/6 of the means 60, 20 and 0.
    correlation = (80 - 20 / 6) * 3 / math.sqrt(9.5 * (5600 + 210))
    assert qei.contrast_correlation(FLOW, WHOLE, GM, WM) == pytest.approx(correlation)
    structure = 1 - math.exp(-3.0126 * correlation**2.4419)
    expected = (structure * math.exp(-0.054 * (35 / 60) ** 0.9272)) ** (1 / 3)
    assert index_of(FLOW, GM, WM, CSF) == pytest.approx(expected)
    assert 0.95 < expected < 1


def test_negative_voxels_lower_the_index_as_published():
    flow = FLOW.copy()
    flow[0] = -50
    pure = [fraction > qei.PURE for fraction in (GM, WM, CSF)]
    parts = qei.dispersion_index(flow, *pure), qei.contrast_correlation(flow, WHOLE, GM, WM)
    lost = 0.054 * parts[0] ** 0.9272 + 2.8478 * (1 / 3) ** 0.5196
    structure = 1 - math.exp(-3.0126 * parts[1] ** 2.4419)
    assert index_of(flow, GM, WM, CSF) == pytest.approx((structure * math.exp(-lost)) ** (1 / 3))


def test_a_map_against_the_tissues_has_the_index_0():
    assert index_of(70 - FLOW, GM, WM, CSF) == 0


@settings(max_examples=25, deadline=None)
@given(noise=st.floats(0, 1e4), seed=st.integers(0, 99), shift=st.floats(-200, 200))
def test_the_index_lies_between_0_and_1(noise, seed, shift):
    value = index_of(*brain(noise, seed, shift))
    assert math.isnan(value) or 0 <= value <= 1


@pytest.mark.parametrize("seed", range(3))
def test_noise_lowers_the_index(seed):
    values = [index_of(*brain(noise, seed)) for noise in (1, 5, 20, 60, 200)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.9
    assert values[-1] < 0.4


def test_smoothing_keeps_a_constant_to_the_rim_and_nothing_outside():
    inside = np.zeros((9, 9, 9), bool)
    inside[2:7, 2:7, 2:7] = True
    flow = np.where(inside, 50.0, 1e6)
    flow[4, 4, 4] = np.nan
    smoothed = qei.smooth_inside(flow, inside, (3, 3, 6))
    known = inside & np.isfinite(flow)
    np.testing.assert_allclose(smoothed[known], 50)
    assert np.isnan(smoothed[~known]).all()


def test_smoothing_is_5_mm_wide_along_every_edge():
    """A point falls to half of its height at 2.5 mm, whatever the voxel."""
    flow = np.zeros((41, 41, 41))
    flow[20, 20, 20] = 1
    smoothed = qei.smooth_inside(flow, np.ones(flow.shape, bool), (1.25, 2.5, 0.5))
    peak = smoothed[20, 20, 20]
    at = (smoothed[22, 20, 20], smoothed[20, 21, 20], smoothed[20, 20, 25])
    np.testing.assert_allclose(np.array(at) / peak, 0.5, rtol=0.01)


def test_shares_above_limits_by_hand():
    flow = np.array([90.0, 100, 101, 151, 201, np.nan, 500])
    gm = np.array([True] * 6 + [False])
    assert [m.fraction_above(flow, gm, limit) for limit in (100, 150, 200)] == [0.6, 0.4, 0.2]


@pytest.mark.parametrize(
    ("cov", "category"),
    [
        (0.669, "perfusion"),
        (0.67, "vascular"),
        (1.0, "vascular"),
        (1.01, "artefact"),
        (math.nan, ""),
    ],
)
def test_categories_of_the_spatial_cov(cov, category):
    assert m.spatial_cov_category(cov) == category


def test_snr_of_repeats_by_hand():
    """Voxels: mean 2, SD 1; mean 4, SD 1; no spread. The other delay: mean 1, SD √2 in all."""
    early = [[1, 2, 3], [3, 4, 5], [7, 7, 7]]
    late = [[0, 2]] * 3
    differences = np.hstack([early, late])
    assert m.temporal_snr(differences, [0, 0, 0, 1, 1]) == pytest.approx((3 + 0.5**0.5) / 2)
    assert m.temporal_snr(differences[:, :4], [0, 0, 0, 1]) == pytest.approx(3)


def test_overlap_of_a_slab_with_a_brain_is_whole():
    whole = np.array([True] * 8 + [False] * 2)
    slab = np.array([True] * 3 + [False] * 7)
    assert m.overlap_coefficient(slab, whole) == m.overlap_coefficient(whole, slab) == 1
    assert m.overlap_coefficient(slab, ~slab) == 0


NOTHING = np.zeros(GM.shape, bool)
UNKNOWN = np.full(GM.shape, np.nan)


@pytest.mark.parametrize(
    "value",
    [
        index_of(FLOW, 0 * GM, WM, CSF),
        index_of(FLOW, GM, WM, 0 * CSF),
        index_of(UNKNOWN, GM, WM, CSF),
        index_of(0 * FLOW, GM, WM, CSF),
        qei.quality_evaluation_index(FLOW, NOTHING, GM, WM, CSF),
        qei.contrast_correlation(FLOW, NOTHING, GM, WM),
        qei.contrast_correlation(FLOW, WHOLE, 0 * GM, 0 * WM),
        m.fraction_above(FLOW, NOTHING, 100),
        m.fraction_above(UNKNOWN, WHOLE, 100),
        m.overlap_coefficient(NOTHING, WHOLE),
        m.temporal_snr(np.ones((5, 1)), [0]),
        m.temporal_snr(np.ones((5, 3)), [0, 1, 2]),
        m.temporal_snr(np.ones((5, 3)), [0, 0, 0]),
        m.temporal_snr(np.ones((0, 3)), [0, 0, 0]),
        m.temporal_snr(np.full((5, 3), np.nan), [0, 0, 0]),
        m.temporal_snr(np.ones((5, 0)), []),
    ],
)
def test_what_cannot_be_computed_is_unknown(value):
    assert math.isnan(value)


def test_smoothing_nothing_gives_nothing():
    assert np.isnan(qei.smooth_inside(FLOW, NOTHING, (3, 3, 3))).all()
