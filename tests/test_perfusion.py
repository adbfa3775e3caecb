"""Golden numbers, degenerate input and properties of the array functions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from cereflow_bids.perfusion.calibration import recovery_fraction, smooth_m0
from cereflow_bids.perfusion.constants import blood_t1, suppressed_efficiency
from cereflow_bids.perfusion.differences import mean_and_standard_error, pair_volumes, subtract
from cereflow_bids.perfusion.single_delay import (
    ge_product_cbf,
    pasl_cbf,
    pcasl_cbf,
    slice_delays,
)

PCASL = {"post_labeling_delay": 1.8, "labeling_duration": 1.8, "t1_blood": 1.65}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (pcasl_cbf(10, 1000, labeling_efficiency=0.85, **PCASL), 86.300),
        (
            pcasl_cbf(10, 1000, labeling_efficiency=suppressed_efficiency(0.85, 4), **PCASL),
            105.954,
        ),
        (
            pasl_cbf(
                10,
                1000,
                inversion_time=1.8,
                bolus_cutoff=0.8,
                labeling_efficiency=0.98,
                t1_blood=1.65,
            ),
            102.524,
        ),
        (
            ge_product_cbf(
                500 / (32 * 3), 1000, post_labeling_delay=2.025, labeling_duration=1.45
            ),
            70.683,
        ),
    ],
)
def test_golden_numbers(value, expected):
    assert_allclose(value, expected, atol=1e-3)


@pytest.mark.parametrize(
    ("field", "t1"), [(1.5, 1.35), (3, 1.65), (2.89, 1.65), (7, 2.087), (4.7, 1.833)]
)
def test_blood_t1(field, t1):
    assert blood_t1(field) == pytest.approx(t1)


def test_ge_product_is_the_consensus_equation_with_its_own_constants():
    consensus = pcasl_cbf(
        5.0,
        1000 / (1 - math.exp(-2 / 1.2)),
        post_labeling_delay=2.025,
        labeling_duration=1.45,
        labeling_efficiency=0.6,
        t1_blood=1.6,
    )
    product = ge_product_cbf(5.0, 1000, post_labeling_delay=2.025, labeling_duration=1.45)
    assert_allclose(product, consensus, rtol=1e-12)


def test_cbf_is_unknown_where_m0_is_not_positive():
    cbf = pcasl_cbf(
        np.ones(4), np.array([0.0, -1.0, np.nan, 2.0]), labeling_efficiency=0.85, **PCASL
    )
    assert np.isnan(cbf[:3]).all()
    assert np.isfinite(cbf[3])


@given(
    flow=st.floats(1, 200),
    pld=st.floats(0.1, 3),
    tau=st.floats(0.3, 3),
    efficiency=st.floats(0.3, 1),
    t1=st.floats(1, 2.5),
)
def test_pcasl_inverts_the_tracer_integral(flow, pld, tau, efficiency, t1):
    """The equation gives back the flow of a bolus summed up numerically, and no closed form."""
    arrival = np.linspace(pld, pld + tau, 4001)
    delivered = 2 * efficiency * np.exp(-arrival / t1)
    deltam = flow / 6000 / 0.9 * np.trapezoid(delivered, arrival)
    cbf = pcasl_cbf(
        deltam,
        1.0,
        post_labeling_delay=pld,
        labeling_duration=tau,
        labeling_efficiency=efficiency,
        t1_blood=t1,
    )
    assert_allclose(cbf, flow, rtol=1e-6)


def test_slices_that_are_read_later_get_a_longer_delay():
    delays = slice_delays(1.8, [0.0, 0.5], axis=2)
    assert delays.shape == (1, 1, 2)
    cbf = pcasl_cbf(
        np.ones((2, 2, 2)),
        1000.0,
        post_labeling_delay=delays,
        labeling_duration=1.8,
        labeling_efficiency=0.85,
        t1_blood=1.65,
    )
    assert_allclose(cbf[..., 1] / cbf[..., 0], math.exp(0.5 / 1.65))


@pytest.mark.parametrize("bad", [{"labeling_duration": 0}, {"post_labeling_delay": -0.1}])
def test_impossible_times_are_refused(bad):
    with pytest.raises(ValueError, match="in seconds"):
        pcasl_cbf(1, 1, labeling_efficiency=0.85, **(PCASL | bad))


@given(st.lists(st.sampled_from(["control", "label", "m0scan", "n/a"]), max_size=30))
def test_every_volume_is_paired_once_or_reported(types):
    control, label, unpaired = pair_volumes(types)
    assert control.size == label.size
    assert all(types[k] == "control" for k in control)
    assert all(types[k] == "label" for k in label)
    used = sorted([*control, *label, *unpaired])
    assert used == [k for k, kind in enumerate(types) if kind in ("control", "label")]


def test_difference_of_unsigned_integers_can_be_negative():
    series = np.array([[[[3, 5]]]], dtype=np.uint16)
    assert subtract(series, np.array([0]), np.array([1])).item() == -2


def test_the_error_of_one_pair_is_unknown_not_zero():
    mean, error = mean_and_standard_error(np.ones((2, 1)))
    assert_allclose(mean, 1)
    assert np.isnan(error).all()
    assert_allclose(mean_and_standard_error([[1.0, 3.0]])[1], 1.0)


@pytest.mark.parametrize(("tr", "fraction"), [(5.0, 1.0), (2.0, 1 - math.exp(-2 / 1.3))])
def test_recovery(tr, fraction):
    assert recovery_fraction(tr) == pytest.approx(fraction)


@pytest.mark.parametrize("tr", [0, -1, float("nan")])
def test_no_recovery_without_a_repetition_time(tr):
    with pytest.raises(ValueError, match="repetition time"):
        recovery_fraction(tr)


@pytest.mark.parametrize("fwhm", [0, 5])
def test_a_trace_of_m0_counts_as_none(fwhm):
    """Noise about zero would divide ΔM into thousands."""
    m0 = np.full((9, 9, 9), 100.0)
    m0[4, 4, 4], m0[2, 2, 2] = 0.2, 15.0
    smooth = smooth_m0(m0, np.ones(m0.shape, bool), (3, 3, 3), fwhm)
    assert smooth[4, 4, 4] > 90
    assert (smooth[2, 2, 2] == 15) == (fwhm == 0)


def test_smoothing_of_m0_keeps_a_flat_m0_and_does_not_let_the_rim_in():
    mask = np.zeros((20, 20, 12), bool)
    mask[4:16, 4:16, 2:10] = True
    m0 = np.where(mask, 100.0, 0.0)
    m0[3, :, :] = 10_000
    smooth = smooth_m0(m0, mask, (2.5, 2.5, 4.0))
    assert_allclose(smooth, 100, rtol=1e-9)


def test_an_m0_without_signal_is_refused():
    with pytest.raises(ValueError, match="not positive anywhere"):
        smooth_m0(np.zeros((4, 4, 4)), np.ones((4, 4, 4), bool), (1, 1, 1))
