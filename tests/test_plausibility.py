"""Mistakes made on purpose are named, and plausible data raise nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cereflow_bids.perfusion.plausibility import (
    check_order,
    check_scale,
    check_times,
    likeness,
)

SEEDS = st.integers(0, 2**32 - 1)


def names(findings):
    return [f.name for f in findings]


def order(pairs):
    return names(check_order(pairs.mean(axis=0), likeness(pairs)))


def brain(seed, n_pairs, noise, flow=1.0):
    """Return differences (v, p) of a brain in which grey matter has three times the flow."""
    rng = np.random.default_rng(seed)
    pattern = flow * np.where(rng.random(4000) < 0.5, 1.5, 0.5)
    return pattern[:, None] + rng.normal(0, noise, (4000, n_pairs))


@given(
    st.floats(10, 150),
    st.lists(st.floats(0.2, 9), min_size=1),
    st.integers(1, 8),
    st.sampled_from(["", "GE", "Philips", "Siemens"]),
)
def test_plausible_values_raise_nothing(cbf, times, nex, vendor):
    assert not check_scale(cbf, vendor=vendor, excitations=nex)
    assert not check_times([0, *times])


@given(SEEDS, st.integers(1, 9), st.floats(0.05, 3))
def test_pairs_in_order_raise_nothing(seed, n_pairs, noise):
    assert order(brain(seed, n_pairs, noise)) == []


@given(SEEDS, st.integers(3, 9))
def test_noise_about_zero_is_no_swap(seed, n_pairs):
    assert "swapped_pairs" not in order(brain(seed, n_pairs, 5, flow=0))


def test_late_arrival_and_motion_are_no_swap():
    """The early delay has noise and an artery only; a pair with motion is unlike the others."""
    pairs = brain(1, 4, 0.5)
    rng = np.random.default_rng(2)
    early = rng.normal(-0.1, 0.5, 4000)
    early[:20] += 20
    assert order(np.column_stack([pairs, early])) == []
    moved = rng.normal(-1, 3, 4000)
    assert order(np.column_stack([pairs, moved])) == []


@given(SEEDS, st.integers(3, 9), st.floats(0.05, 0.7), st.data())
def test_swapped_pairs_are_counted(seed, n_pairs, noise, data):
    pairs = brain(seed, n_pairs, noise)
    n = data.draw(st.integers(1, (n_pairs - 1) // 2))
    pairs[:, :n] *= -1
    (found,) = check_order(pairs.mean(axis=0), likeness(pairs))
    assert (found.name, found.value) == ("swapped_pairs", n)


def test_all_pairs_swapped():
    assert order(-brain(1, 4, 1)) == ["swapped_order"]
    assert names(check_order([-1], [np.nan])) == ["swapped_order"]
    assert names(check_order([-1], [np.nan], tissue_contrast=-0.5)) == ["swapped_order"]
    assert check_order([-1], [np.nan], tissue_contrast=0.02) == []
    assert check_order([-1, -2, 1], [0, 0, 0]) == []


@pytest.mark.parametrize(
    ("cbf", "told", "expected"),
    [
        (50 * 32, {"vendor": "GE"}, ["scale_32", "m0_suspicious"]),
        (50 * 96, {"vendor": "GE MEDICAL", "excitations": 3}, ["scale_32_nex"]),
        (180, {"vendor": "GE", "excitations": 3}, ["nex"]),
        (9, {"vendor": "GE", "excitations": 3}, ["nex_twice"]),
        (50 / 32, {"vendor": "GE"}, ["scale_32_twice"]),
        (50 * 32, {"vendor": "Philips"}, ["scale_slope", "m0_suspicious"]),
        (50 * 1000, {"vendor": "Siemens"}, ["scale_1000"]),
        (740, {"vendor": "Siemens"}, ["m0_suspicious"]),
        (740, {}, ["m0_suspicious"]),
    ],
)
def test_each_vendors_factors_are_named(cbf, told, expected):
    found = names(check_scale(cbf, **told))
    assert found[: len(expected)] == expected
    others = {"scale_32", "scale_32_twice", "scale_32_nex", "nex", "nex_twice", "scale_slope"}
    assert not others & (set(found) - set(expected))


def test_low_flow_that_varies_as_noise_does_is_no_matter_of_scale():
    assert check_scale(6, vendor="GE", excitations=3, variation=0.9) == []
    assert "nex_twice" in names(check_scale(9, vendor="GE", excitations=3, variation=0.4))


def test_times_divided_by_1000_are_named():
    assert names(check_times([0.0018])) == ["time_too_short"]
