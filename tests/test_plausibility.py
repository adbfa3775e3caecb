"""Mistakes made on purpose are named, and plausible data raise nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cereflow_bids.perfusion.plausibility import check_delays, check_order, check_scale


def names(findings):
    return [f.name for f in findings]


@given(st.floats(20, 120), st.lists(st.floats(0.1, 9), min_size=1), st.integers(1, 8))
def test_plausible_values_raise_nothing(cbf, values, nex):
    assert not check_scale(cbf, nex) + check_order(values) + check_delays(values)


@given(st.floats(20, 120), st.sampled_from([("scale_32", 32), ("scale_32_twice", 1 / 32)]))
def test_a_factor_of_32_is_named(cbf, mistake):
    assert mistake[0] in names(check_scale(cbf * mistake[1]))


@pytest.mark.parametrize(("cbf", "expected"), [(180, "nex"), (9, "nex_twice")])
def test_nex_is_named(cbf, expected):
    assert names(check_scale(cbf, 3)) == [expected]


def test_order_and_units():
    assert names(check_order([-1, -2, 1])) == ["swapped_order"]
    assert names(check_order([2, 2, -2, 2])) == ["swapped_pairs"]
    assert not check_order([2, 2, -0.1])
    assert names(check_delays([1800])) == ["delay_in_ms"]
    assert names(check_scale(1e6)) == ["scale_unknown"]
