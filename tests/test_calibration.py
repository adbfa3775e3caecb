"""M0 of blood from a reference tissue: a signal simulated forward comes back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cereflow_bids.perfusion.reference_region import CSF, WHITE_MATTER, blood_m0

TIMES = {"repetition_time": 6.0, "m0_echo_time": 0.014, "asl_echo_time": 0.014}


@given(
    st.sampled_from([CSF, WHITE_MATTER]),
    st.floats(1, 20),
    st.floats(0, 0.05),
    st.floats(0, 0.05),
)
def test_the_m0_of_blood_behind_a_simulated_tissue_is_found(tissue, tr, te, asl_te):
    magnetisation = 1000 * tissue.partition_coefficient
    signal = magnetisation * (1 - np.exp(-tr / tissue.t1)) * np.exp(-te / tissue.t2)
    found = blood_m0(
        np.full((4, 4, 2), signal),
        np.ones((4, 4, 2), bool),
        tissue,
        repetition_time=tr,
        m0_echo_time=te,
        asl_echo_time=asl_te,
    )
    assert found.value == pytest.approx(1000 * np.exp(-asl_te / 0.15))
    assert (found.spread, found.voxels) == (0, 32)


def test_impure_nan_and_zero_voxels_do_not_count():
    m0, fraction = np.full((5, 5, 2), 100.0), np.ones((5, 5, 2))
    expected = blood_m0(m0, fraction, CSF, **TIMES).value
    m0[0], m0[1], m0[2], fraction[2] = np.nan, 0, 9000, 0.8
    found = blood_m0(m0, fraction, CSF, **TIMES)
    assert (found.value, found.voxels) == (pytest.approx(expected), 20)


@pytest.mark.parametrize(
    ("m0", "region", "times", "message"),
    [
        (np.ones(9), np.ones(9, bool), {}, "9 voxels"),
        (np.ones(20), np.zeros(20, bool), {}, "0 voxels"),
        (np.full(20, np.nan), np.ones(20, bool), {}, "0 voxels"),
        (np.zeros(20), np.ones(20, bool), {}, "0 voxels"),
        (np.geomspace(1, 1000, 20), np.ones(20, bool), {}, "not one tissue"),
        (np.ones(20), np.ones(21, bool), {}, "shape"),
        (np.ones(20), np.ones(20, bool), {"repetition_time": 0}, "repetition time"),
        (np.ones(20), np.ones(20, bool), {"m0_echo_time": -1}, "echo times"),
    ],
)
def test_a_region_that_cannot_serve_is_refused(m0, region, times, message):
    with pytest.raises(ValueError, match=message):
        blood_m0(m0, region, CSF, **(TIMES | times))
