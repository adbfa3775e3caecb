"""Partial volume correction: exact where it must be, bounded where it smooths."""

import numpy as np
import pytest
from scipy import ndimage

from cereflow_bids.perfusion.partial_volume import linear_regression

SHAPE = (24, 22, 8)


@pytest.fixture
def fractions():
    rng = np.random.default_rng(1)
    gm = rng.uniform(0, 1, SHAPE)
    return gm, (1 - gm) * rng.uniform(0.3, 1, SHAPE)


@pytest.mark.parametrize("readout", ["2D", "3D"])
def test_piecewise_constant_truth_is_exact(fractions, readout):
    gm, wm = fractions
    left = np.arange(SHAPE[0])[:, None, None] < 12
    true_gm, true_wm = np.where(left, 60.0, 30.0), np.where(left, 20.0, 10.0)
    got = linear_regression(gm * true_gm + wm * true_wm, gm, wm, readout=readout)
    inside = np.r_[0:10, 14:24]  # kernels that do not straddle the step
    for image, value in zip(got, (true_gm, true_wm), strict=True):
        truth = np.broadcast_to(value, SHAPE)
        np.testing.assert_allclose(image[inside], truth[inside], rtol=1e-9)


def test_equals_least_squares_of_one_kernel(fractions):
    gm, wm = fractions
    image = np.random.default_rng(2).normal(50, 10, SHAPE)
    box = (slice(4, 9), slice(5, 10), slice(1, 6))
    design = np.stack([gm[box].ravel(), wm[box].ravel()], axis=1)
    expected = np.linalg.lstsq(design, image[box].ravel(), rcond=None)[0]
    got = linear_regression(image, gm, wm, readout="3D")
    np.testing.assert_allclose([got[0][6, 7, 3], got[1][6, 7, 3]], expected)


def test_smooth_truth_within_bound(fractions):
    gm, wm = fractions
    true_gm = 60 + 15 * np.sin(np.arange(SHAPE[0]) / 8)[:, None, None] * np.ones(SHAPE)
    got, _ = linear_regression(gm * true_gm + wm * 20, gm, wm)
    error = np.abs(got - true_gm)[2:-2, 2:-2]
    assert error.max() < 4 and np.sqrt(np.mean(error**2)) < 1.5


def test_absent_tissue_and_proportional_fractions():
    gm, wm = np.full(SHAPE, 0.5), np.zeros(SHAPE)
    got_gm, got_wm = linear_regression(gm * 60, gm, wm)
    np.testing.assert_allclose(got_gm, 60)
    assert np.isnan(got_wm).all()
    assert all(np.isnan(m).all() for m in linear_regression(gm * 80, gm, gm))
    assert all(np.isnan(m).all() for m in linear_regression(gm, wm, wm))


def test_a_trace_of_tissue_gets_no_number():
    """It would be noise over next to nothing."""
    rng = np.random.default_rng(3)
    gm = rng.uniform(0.6, 0.95, SHAPE)
    wm = rng.uniform(0, 0.08, SHAPE)
    got_gm, got_wm = linear_regression(60 * gm + rng.normal(0, 3, SHAPE), gm, wm)
    assert np.isnan(got_wm).all()
    assert np.abs(got_gm - 60).max() < 12


def test_missing_values_stay_where_they_are(fractions):
    gm, wm = fractions
    image = gm * 60 + wm * 20
    image[5, 5, 4] = np.nan
    mask = np.ones(SHAPE, dtype=bool)
    mask[:3] = False
    image[:3] = 1e9
    got, _ = linear_regression(image, gm, wm, mask=mask)
    expected = mask.copy()
    expected[5, 5, 4] = False
    np.testing.assert_array_equal(np.isfinite(got), expected)
    np.testing.assert_allclose(got[expected], 60, rtol=1e-9)


def test_phantom_regains_its_grey_matter(data_dir):
    nib = pytest.importorskip("nibabel")
    folder = data_dir / "phantoms/varied_single_clean/derivatives/truth/sub-01/perf"
    cbf, seg = (
        np.asarray(nib.load(folder / f"sub-01_{n}.nii.gz").dataobj).squeeze()
        for n in ("desc-truth_cbf", "dseg")
    )
    pure = [
        np.asarray(nib.load(folder / f"sub-01_label-{t}_desc-pure_mask.nii.gz").dataobj) > 0
        for t in ("gm", "wm")
    ]
    labels = [np.bincount(seg[p].astype(int)).argmax() for p in pure]
    gm, wm = (ndimage.gaussian_filter((seg == k).astype(float), 1) for k in labels)
    blurred = ndimage.gaussian_filter(np.where(np.isin(seg, labels), cbf, 0.0), 1)
    got, _ = linear_regression(blurred, gm, wm, readout="3D")
    region = (seg == labels[0]) & np.isfinite(got)
    before = np.abs(blurred - cbf)[region].mean()
    after = np.abs(got - cbf)[region].mean()
    assert after < before / 2
