"""Reactivity: the percentage, its error against simulation, and where it is refused."""

import numpy as np
import pytest

from cereflow_bids.perfusion.reactivity import reactivity


def test_known_change():
    cvr, error = reactivity([50.0, 50.0], [75.0, 40.0], 0.0, [1.0, 2.0])
    np.testing.assert_allclose(cvr, [50, -20])
    np.testing.assert_allclose(error, [2, 4])


def test_error_agrees_with_simulation():
    rng = np.random.default_rng(4)
    b, s = 50 + 2 * rng.standard_normal(40_000), 70 + 3 * rng.standard_normal(40_000)
    cvr, _ = reactivity(b, s, 2.0, 3.0)
    _, error = reactivity(50.0, 70.0, 2.0, 3.0)
    assert error == pytest.approx(cvr.std(), rel=0.02)


def test_refused_where_baseline_is_low_or_a_value_is_missing():
    cvr, error = reactivity([4.9, 5.0, np.nan, 0, -50, 50], [60, 60, 60, 60, 60, np.inf], 1, 1)
    assert np.isfinite(cvr).tolist() == [False, True, False, False, False, False]
    np.testing.assert_array_equal(np.isnan(cvr), np.isnan(error))


def test_missing_error_leaves_the_value():
    cvr, error = reactivity([50.0, 50.0], [60.0, 60.0], [np.nan, -1.0], 1.0)
    np.testing.assert_allclose(cvr, 20)
    assert np.isnan(error).all()


def test_two_grids_are_refused():
    with pytest.raises(ValueError, match="not one grid"):
        reactivity(np.ones((2, 3)), np.ones(3), 1, 1)
