"""The kinetic models against the convolution of arterial input and residue, done numerically."""

import numpy as np
import pytest
from convolution import convolution
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from cereflow_bids.perfusion.arterial_response import arterial_response
from cereflow_bids.perfusion.constants import CBF_UNIT, blood_t1_from_haematocrit
from cereflow_bids.perfusion.kinetics import tissue_response
from cereflow_bids.perfusion.scheme import LabelingScheme

KINDS, MODELS = st.sampled_from(["PCASL", "CASL", "PASL"]), st.sampled_from(["consensus", "full"])


def seconds(low, high):
    return st.floats(low, high, allow_subnormal=False)


@pytest.mark.parametrize(
    ("pld", "expected"), [(0.7, 8.2109), (1.3, 9.4134), (1.8, 6.9525), (2.5, 4.5488)]
)
def test_golden_curve(pld, expected):
    scheme = LabelingScheme("PCASL", (pld,), (1.8,), 0.85, 1.65)
    difference = 60 / CBF_UNIT * tissue_response(scheme, 1.2)[0, 0] * 1000 / 0.9
    assert difference == pytest.approx(expected, abs=1e-3)


@settings(max_examples=60)
@given(
    kind=KINDS,
    model=MODELS,
    att=seconds(0, 4),
    tau=seconds(0.1, 4),
    delays=st.lists(st.one_of(st.just(0.0), seconds(0, 5)), min_size=1, max_size=3),
    t1=seconds(0.5, 4),
    cbf=seconds(0, 200),
    offset=seconds(0, 1),
)
def test_tissue_is_the_convolution(*, kind, model, att, tau, delays, t1, cbf, offset):
    n = len(delays)
    scheme = LabelingScheme(kind, tuple(delays), (tau,) * n, 0.8, 1.65, model=model)
    found = tissue_response(scheme, [att], t1_tissue=[t1], cbf=[cbf], offset=[offset])
    expected = [convolution(scheme, k, att=att, t1=t1, cbf=cbf, offset=offset) for k in range(n)]
    assert_allclose(found[0], expected, rtol=1e-6, atol=1e-9)


@settings(max_examples=40)
@given(
    kind=KINDS,
    model=MODELS,
    att=seconds(0, 2.5),
    flip=seconds(1, 120),
    delays=st.permutations([0.0, 0.3, 0.7, 1.1, 1.9]),
    t1=seconds(0.5, 4),
    offset=seconds(0, 1),
)
def test_excitations_deplete_what_had_arrived(*, kind, model, att, flip, delays, t1, offset):
    durations = (0.7, 0.7, 0.7, 1.2, 1.2)
    scheme = LabelingScheme(
        kind, tuple(delays), durations, 0.9, 1.65, model=model, readout_flip_angle=flip
    )
    found = tissue_response(scheme, [att], t1_tissue=[t1], cbf=80, offset=[offset])
    expected = [convolution(scheme, k, att=att, t1=t1, cbf=80, offset=offset) for k in range(5)]
    assert_allclose(found[0], expected, rtol=1e-6, atol=1e-9)


def test_what_a_train_cannot_tell_is_refused():
    twice = LabelingScheme("PASL", (0.5, 0.5), (0.7, 0.7), 0.9, 1.65, readout_flip_angle=30)
    with pytest.raises(ValueError, match="which of them came first"):
        tissue_response(twice, 0.7)
    turned = LabelingScheme("PASL", (0.5,), (0.7,), 0.9, 1.65, readout_flip_angle=270)
    with pytest.raises(ValueError, match="flip angle"):
        tissue_response(turned, 0.7)
    with pytest.raises(ValueError, match="no arterial component"):
        arterial_response(twice, 0.7)


@pytest.mark.parametrize("kind", ["PCASL", "PASL"])
def test_before_arrival_is_nothing_and_unknown_stays_unknown(kind):
    scheme = LabelingScheme(kind, (0.0, 1.0), (0.5, 0.5), 0.85, 1.65, model="full")
    found = tissue_response(scheme, [9.0, np.nan], t1_tissue=0.01)  # e^900 is no number
    assert_allclose(found, [[0, 0], [np.nan, np.nan]])


def test_voxels_keep_their_own_constants():
    scheme = LabelingScheme("PASL", (0.8, 2.0), (0.8, 0.8), 0.98, 1.65, model="full")
    att, t1, cbf, offset = [0.4, 1.0, 1.7], [0.9, 1.3, 4.0], [20, 60, 0], [0, 0.4, 0.1]
    found = tissue_response(scheme, att, t1_tissue=t1, cbf=cbf, offset=offset)
    for v, row in enumerate(found):
        own = {"att": att[v], "t1": t1[v], "cbf": cbf[v], "offset": offset[v]}
        assert_allclose(row, [convolution(scheme, k, **own) for k in (0, 1)], rtol=1e-6)


@pytest.mark.parametrize("kind", ["PCASL", "PASL"])
@pytest.mark.parametrize("model", ["consensus", "full"])
def test_tissue_collects_what_the_artery_brings(kind, model):
    """The artery's own curve, fed into the residue, gives the curve of the tissue."""
    arrival, tau, t1 = 0.9, 1.1, 1.2
    scheme = LabelingScheme(kind, (2.5,), (tau,), 0.85, 1.65, model=model)
    end = 2.5 if kind == "PASL" else 2.5 + tau
    step = 1e-4
    u = np.arange(step / 2, end, step)
    artery = arterial_response(scheme, [arrival], offset=u - end)[:, 0]
    residue = np.exp(-(end - u) / (1.65 if model == "consensus" else t1))
    found = tissue_response(scheme, arrival, t1_tissue=t1)[0, 0]
    assert found == pytest.approx((artery * residue).sum() * step, rel=2e-4)


def test_arterial_signal_in_image_units():
    """ΔM = 2α·aBV·M0a·exp(−aBAT/T1b) with M0a = M0/λ; here seen at the first delay only."""
    scheme = LabelingScheme("PCASL", (0.5, 1.5), (1.4, 1.4), 0.85, 1.65)
    s = 0.02 * arterial_response(scheme, [0.8, 0.8], offset=[0, 0.4])
    difference = s * 1000 / scheme.partition_coefficient
    signal = 2 * 0.85 * 0.02 * (1000 / 0.9) * np.exp(-0.8 / 1.65)
    assert_allclose(difference, [[signal, 0], [0, 0]])


@pytest.mark.parametrize(("haematocrit", "t1"), [(0.30, 1.93), (0.36, 1.85), (0.43, 1.75)])
def test_blood_t1_follows_haematocrit(haematocrit, t1):
    assert blood_t1_from_haematocrit(haematocrit) == pytest.approx(t1, abs=5e-3)


@pytest.mark.parametrize("bad", [(43.0,), (float("nan"),), (0.43, 0.5), (0.43, 3, 97.0)])
def test_impossible_blood_is_refused(bad):
    with pytest.raises(ValueError, match="must be from"):
        blood_t1_from_haematocrit(*bad)
