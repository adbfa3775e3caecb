"""CBF and ATT come back, for each labelling scheme, from curves integrated numerically."""

from dataclasses import replace

import numpy as np
import pytest
from convolution import convolution, curves
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.integrate import quad

from cereflow_bids.perfusion.arterial import find_arterial
from cereflow_bids.perfusion.arterial_response import arterial_response
from cereflow_bids.perfusion.constants import suppressed_efficiency
from cereflow_bids.perfusion.hadamard import block_delays, decode, sylvester_signs
from cereflow_bids.perfusion.kinetics import tissue_response
from cereflow_bids.perfusion.least_squares import fit_least_squares
from cereflow_bids.perfusion.scheme import LabelingScheme
from cereflow_bids.perfusion.single_delay import pasl_cbf, pcasl_cbf
from cereflow_bids.perfusion.spatial import fit_spatial
from cereflow_bids.perfusion.weighted_delay import weighted_delay_att

BLOCKS = (1.18, 0.68, 0.48, 0.37, 0.30, 0.26, 0.22)
TI = (0.6, 0.9, 1.2, 1.5, 1.8, 2.1, 2.4)

SCHEMES = {
    "pcasl": LabelingScheme("PCASL", (0.25, 0.75, 1.25, 1.75, 2.25, 2.75), (1.8,) * 6, 0.85, 1.65),
    "pcasl with suppression": LabelingScheme(
        "PCASL", (0.7, 1.3, 1.9, 2.5), (1.45,) * 4, suppressed_efficiency(0.85, 4), 1.35
    ),
    "casl": LabelingScheme("CASL", (0.4, 0.9, 1.4, 1.9, 2.4), (2.0,) * 5, 0.68, 1.65),
    "a duration for each delay": LabelingScheme(
        "PCASL", (0.5, 0.7, 1.0, 1.4, 1.9), (0.8, 1.2, 1.6, 2.0, 2.4), 0.85, 1.65
    ),
    "a delay, several durations": LabelingScheme(
        "PCASL", (0.3,) * 5, (0.4, 0.9, 1.4, 1.9, 2.4), 0.85, 1.65
    ),
    "QUIPSS II": LabelingScheme("PASL", TI, (0.8,) * 7, 0.98, 1.65),
    "Q2TIPS at 7 T": LabelingScheme("PASL", TI, (0.7,) * 7, 0.98, 2.087, (4, 3, 3, 2, 2, 1, 1)),
    "Look-Locker, pulsed": LabelingScheme(
        "PASL", TI, (0.7,) * 7, 0.98, 1.65, readout_flip_angle=35
    ),
    "Look-Locker, pcasl": LabelingScheme(
        "PCASL", (0.2, 0.6, 1.0, 1.4, 1.8, 2.2), (1.6,) * 6, 0.85, 1.65, readout_flip_angle=25
    ),
    "time-encoded": LabelingScheme("PCASL", block_delays(BLOCKS, 0.6), BLOCKS, 0.85, 1.65),
}


@pytest.fixture(params=SCHEMES.values(), ids=SCHEMES.keys())
def scheme(request):
    return request.param


def truth(shape):
    """CBF, ATT and what the slice adds to the delays; the fields are smooth."""
    x, y, z = np.indices(shape) / np.array(shape)[:, None, None, None]
    return 60 - 30 * x + 10 * y, 0.85 + 0.3 * y + 0.15 * x, 0.2 * z


@pytest.mark.parametrize("model", ["consensus", "full"])
def test_least_squares_recovers_cbf_and_att(scheme, model):
    scheme = replace(scheme, model=model)
    cbf, att, offset = (field.ravel() for field in truth((4, 3, 2)))
    t1 = np.linspace(0.8, 2.2, cbf.size)
    signal = curves(scheme, cbf, att, t1=t1, offset=offset)
    found = fit_least_squares(signal, scheme, t1_tissue=t1, offset=offset)
    assert_allclose(found.cbf, cbf, rtol=2e-4)
    assert_allclose(found.att, att, atol=1e-4)
    assert not found.flag.any()
    assert_allclose(found.residual, 0, atol=1e-6)


def test_spatial_estimate_recovers_cbf_and_att(scheme):
    shape = (5, 4, 3)
    cbf, att, offset = truth(shape)
    signal = curves(scheme, cbf.ravel(), att.ravel(), offset=offset.ravel())
    found = fit_spatial(
        signal.reshape(*shape, scheme.size), np.ones(shape), scheme,
        voxel_size=(3, 3, 3), offset=offset,
    )  # fmt: skip
    assert_allclose(found.cbf, cbf.ravel(), atol=0.3)
    assert_allclose(found.att, att.ravel(), atol=5e-3)


@pytest.mark.parametrize("name", ["pcasl", "casl", "a duration for each delay", "time-encoded"])
def test_cross_check_by_weighted_delay(name):
    cbf, att, _ = (field.ravel() for field in truth((3, 3, 1)))
    signal = curves(SCHEMES[name], cbf, att)
    assert_allclose(weighted_delay_att(signal, SCHEMES[name]), att, atol=2e-3)


@pytest.mark.parametrize("kind", ["PCASL", "CASL", "PASL"])
def test_one_delay_and_the_closed_form(kind):
    """All has arrived at this delay, so that ATT does not matter."""
    tau, delay = (0.8, 2.2) if kind == "PASL" else (1.8, 1.9)
    scheme = LabelingScheme(kind, (delay,), (tau,), 0.8, 1.65)
    cbf, att, offset = (field.ravel() for field in truth((3, 2, 3)))
    ratio = curves(scheme, cbf, att, offset=offset)[:, 0] / 0.9
    constants = {"labeling_efficiency": 0.8, "t1_blood": 1.65}
    if kind == "PASL":
        constants |= {"inversion_time": delay + offset, "bolus_cutoff": tau}
        found = pasl_cbf(ratio, 1.0, **constants)
    else:
        constants |= {"post_labeling_delay": delay + offset, "labeling_duration": tau}
        found = pcasl_cbf(ratio, 1.0, **constants)
    assert_allclose(found, cbf, rtol=1e-9)
    fitted = fit_least_squares(ratio[:, None] * 0.9, scheme, offset=offset)
    assert_allclose(fitted.cbf, cbf, rtol=1e-6)


def test_encoded_volumes_give_cbf_and_att():
    """A volume of a time-encoded run is one long label with pauses: integrated as such."""
    signs, delays = sylvester_signs(8), block_delays(BLOCKS, 0.6)
    cbf, att, _ = (field.ravel() for field in truth((3, 2, 1)))
    label = [
        sum(
            f / 6000 * passage(a, sum(BLOCKS[:k]), BLOCKS[k], total=sum(BLOCKS) + 0.6)
            for k in np.flatnonzero(row == -1)
        )
        for f, a in zip(cbf, att, strict=True)
        for row in signs
    ]
    encoded = 1.0 - np.reshape(label, (cbf.size, 8))
    scheme = LabelingScheme("PCASL", delays, BLOCKS, 0.85, 1.65)
    found = fit_least_squares(decode(encoded, signs), scheme)
    assert_allclose(found.cbf, cbf, rtol=2e-4)
    assert_allclose(found.att, att, atol=1e-4)


@pytest.mark.parametrize("name", ["pcasl", "PASL"])
def test_arteries_beside_tissue(name):
    """Label in vessels of 1 to 3 % of a voxel, from 0.6 s on, is told from tissue."""
    pulsed = name == "PASL"
    delays = tuple(np.arange(0.4, 3.3, 0.4).round(1).tolist())
    tau, alpha = (0.8, 0.98) if pulsed else (1.8, 0.85)
    kind = "PASL" if pulsed else "PCASL"
    scheme = LabelingScheme(kind, delays, (tau,) * 8, alpha, 1.65, (4,) * 8)
    cbf, att, _ = (field.ravel() for field in truth((8, 4, 1)))
    # What most voxels share is not taken for arteries.
    att, abv = att + 0.5, np.linspace(0.01, 0.03, cbf.size) * (np.arange(cbf.size) % 4 == 0)
    time = np.array(delays) + (0 if pulsed else tau)
    age = time if pulsed else 0.6
    seen = (time >= 0.6) & (time < 0.6 + tau)
    vessels = abv[:, None] * seen * 2 * alpha * np.exp(-age / 1.65)
    signal = curves(scheme, cbf, att) + vessels
    tissue = fit_least_squares(signal, scheme)
    found = find_arterial(signal, scheme, tissue, spread=0.0)
    assert np.array_equal(found.included, abv > 0)
    assert_allclose(found.estimate.cbf, cbf, rtol=0.02)
    assert_allclose(found.estimate.att, att, atol=0.02)
    assert_allclose(found.estimate.abv, abv, rtol=0.15)
    assert np.abs(tissue.cbf - cbf).max() > 10


def passage(att, begin, length, *, total):
    """Signal at `total` of label made from `begin` on, all times from the start of the run."""
    first, last = begin + att, min(begin + length + att, total)
    if last <= first:
        return 0.0
    age = np.exp(-att / 1.65)
    return quad(lambda u: 2 * 0.85 * age * np.exp(-(total - u) / 1.65), first, last)[0]


times = st.floats(0.05, 4, allow_subnormal=False)


@settings(max_examples=40)
@given(
    kind=st.sampled_from(["PCASL", "CASL", "PASL"]),
    model=st.sampled_from(["consensus", "full"]),
    arrival=times,
    tau=times,
    delay=times,
    t1=st.floats(0.5, 4),
)
def test_the_artery_feeds_the_tissue(*, kind, model, arrival, tau, delay, t1):
    """The curve of the artery, integrated over the residue, is the curve of the tissue."""
    scheme = LabelingScheme(kind, (delay,), (tau,), 0.85, 1.65, model=model)
    end = delay if kind == "PASL" else delay + tau
    left = min(arrival + tau, end)

    def flux(u):
        artery = arterial_response(scheme, [arrival], offset=u - end)[0, 0]
        return artery * np.exp(-(end - u) / (t1 if model == "full" else 1.65))

    inside = (arrival * (1 + 1e-12) + 1e-12, left * (1 - 1e-12))
    expected = quad(flux, *inside)[0] if inside[0] < inside[1] else 0.0
    found = tissue_response(scheme, arrival, t1_tissue=t1)[0, 0]
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)


@settings(max_examples=30)
@given(
    blocks=st.lists(st.floats(0.1, 1.5), min_size=2, max_size=7),
    final=st.floats(0, 2),
    att=st.floats(0, 4),
    model=st.sampled_from(["consensus", "full"]),
)
def test_blocks_add_up_to_one_label(*, blocks, final, att, model):
    parts = LabelingScheme(
        "PCASL", block_delays(blocks, final), tuple(blocks), 0.85, 1.65, model=model
    )
    whole = LabelingScheme("PCASL", (final,), (sum(blocks),), 0.85, 1.65, model=model)
    expected = convolution(whole, 0, att=att, t1=1.3, cbf=60)
    found = tissue_response(parts, att, cbf=60, t1_tissue=1.3).sum()
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)


@settings(max_examples=30)
@given(
    kind=st.sampled_from(["PCASL", "PASL"]),
    model=st.sampled_from(["consensus", "full"]),
    cbf=st.floats(5, 150),
    att=st.floats(0.4, 2.0),
    tau=st.floats(0.6, 2.0),
    t1=st.floats(0.7, 2.5),
)
def test_least_squares_over_the_parameter_space(*, kind, model, cbf, att, tau, t1):
    delays = np.arange(0.3, 3.4, 0.4) + (tau if kind == "PASL" else 0)
    scheme = LabelingScheme(kind, tuple(delays), (tau,) * delays.size, 0.85, 1.65, model=model)
    signal = curves(scheme, np.array([cbf]), np.array([att]), t1=t1)
    found = fit_least_squares(signal, scheme, t1_tissue=t1)
    assert found.cbf[0] == pytest.approx(cbf, rel=5e-4)
    assert found.att[0] == pytest.approx(att, abs=2e-4)
