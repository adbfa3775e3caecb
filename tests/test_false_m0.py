"""An M0 that is as suppressed as the series is found, and true ones raise nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cereflow_bids.perfusion.false_m0 import check_m0, compare

TISSUES = ((0.82, 1.3), (0.7, 0.85), (1.0, 4.3))
"""Proton density and T1 (s) of grey matter, white matter and CSF."""
MASK = np.ones((12, 12, 6), bool)


def images(seed, inversion=None, delta=0.01):
    """Return true M0, control (suppressed by an inversion at this time, s) and difference."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(3, MASK.shape, p=(0.5, 0.4, 0.1))
    coil = np.linspace(1, 2, MASK.shape[0])[:, None, None]
    density, t1 = np.moveaxis(np.take(TISSUES, kind, axis=0), -1, 0)
    m0 = 1000 * coil * density
    left = 1.0 if inversion is None else np.abs(1 - 2 * np.exp(-inversion / t1))
    noise = rng.normal(0, 2, (3, *MASK.shape))
    return m0 + noise[0], m0 * left + noise[1], delta * m0 + noise[2]


def found(m0, control, deltam, suppressed):
    return [one.name for one in check_m0(compare(m0, control, deltam, MASK), suppressed)]


SEEDS = st.integers(0, 2**32 - 1)


@given(SEEDS, st.floats(0.4, 1.1), st.floats(0.002, 0.04), st.sampled_from([True, None]))
def test_a_true_m0_raises_nothing(seed, inversion, delta, suppressed):
    assert found(*images(seed, inversion, delta), suppressed) == []


@given(SEEDS, st.floats(0.002, 0.04), st.sampled_from([False, None]))
def test_an_unsuppressed_series_may_be_as_bright_as_m0(seed, delta, suppressed):
    assert found(*images(seed, None, delta), suppressed) == []


@given(SEEDS, st.floats(0.3, 1.1), st.sampled_from([1.0, 0.9, 3.0, 20.0]))
def test_a_suppressed_m0_is_found_at_any_scale(seed, inversion, scale):
    _, control, deltam = images(seed, inversion)
    assert found(scale * control, control, deltam, True) == ["m0_suppressed"]


@pytest.mark.parametrize("told", [False, None])
def test_a_difference_beyond_any_blood_flow_tells_where_the_sidecar_does_not(told):
    _, control, deltam = images(1, 1.1, delta=0.03)
    assert deltam.mean() > 0.05 * control.mean()
    assert found(control, control, deltam, told) == ["m0_suppressed"]


def test_nothing_to_compare_is_no_finding():
    nothing = np.full(MASK.shape, np.nan)
    assert found(nothing, nothing, nothing, True) == []
