"""A run with several delays: from its sidecar and volumes to CBF and ATT."""

import asl_run
import numpy as np
import pytest

from cereflow_bids.errors import InputError
from cereflow_bids.perfusion.kinetics import tissue_response
from cereflow_bids.perfusion.scheme import LabelingScheme
from cereflow_bids.quantification.differences import find_differences
from cereflow_bids.quantification.quantify import quantify
from cereflow_bids.quantification.science import Science

SHAPE = (4, 3, 2)
TIMING = {"MRAcquisitionType": "2D", "SliceTiming": [0.0, 0.3]}
# Delays out of order, label first in some pairs, M0 in the middle, two repeats of 1.5 s.
CONTEXT = (
    "control",
    "label",
    "label",
    "control",
    "m0scan",
    "label",
    "control",
    "control",
    "label",
)
DELAYS = [1.5, 1.5, 0.5, 0.5, 0, 1.5, 1.5, 2.5, 2.5]


def run_of(context=CONTEXT, delays=DELAYS, **changed):
    return asl_run.run_of(context, delays, SHAPE, **(TIMING | changed))


def series_of(run, cbf, att, model="consensus"):
    """Return volumes in which control is 500 and M0 1000; slice 1 is read 0.3 s later."""
    times = dict.fromkeys(
        d for d, kind in zip(run.labeling.volume_delays, run.context, strict=True)
    )
    scheme = LabelingScheme("PCASL", tuple(times), (1.8,) * len(times), 0.85, 1.65, model=model)
    offset = np.broadcast_to([0.0, 0.3], SHAPE).ravel()
    f = np.full(offset.size, cbf)
    deltam = (
        1000
        / 0.9
        / 6000
        * cbf
        * tissue_response(scheme, np.full(f.size, att), cbf=f, offset=offset)
    )
    volumes = np.full((*SHAPE, len(run.context)), 500.0)
    for k, kind in enumerate(run.context):
        if kind == "m0scan":
            volumes[..., k] = 1000
        elif kind == "label":
            column = list(times).index(run.labeling.volume_delays[k])
            volumes[..., k] -= deltam[:, column].reshape(SHAPE)
    return volumes


def test_volumes_are_paired_within_their_delay_in_any_order():
    run = run_of()
    found = find_differences(run, series_of(run, 60, 1.0))
    assert found.delays == (0.5, 1.5, 2.5)
    assert found.measurement == (0, 1, 1, 2)
    assert found.volumes == ((3, 2), (0, 1), (6, 5), (7, 8))
    assert np.all(found.values > 0)
    assert run.labeling.post_labeling_delay.value == (0.5, 1.5, 2.5)
    assert run.labeling.labeling_duration.value == 1.8


def test_a_delay_that_the_scanner_subtracted_stands_beside_pairs():
    run = run_of(("deltam", "control", "label", "m0scan"), [1.0, 2.0, 2.0, 0])
    series = np.empty((*SHAPE, 4))
    series[:] = 7, 500, 491, 1000
    found = find_differences(run, series)
    assert found.volumes == ((0,), (1, 2))
    assert np.unique(found.values[..., 0]) == 7
    assert np.unique(found.values[..., 1]) == 9


@pytest.mark.parametrize("model", ["consensus", "full"])
def test_cbf_and_att_come_back_slice_by_slice(model):
    run, science = (
        run_of(),
        Science(kinetic_model=model, estimator="least-squares", m0_smoothing=0),
    )
    result = quantify(
        run, series_of(run, 60, 1.2, model), np.full(SHAPE, 1000.0), np.ones(SHAPE, bool),
        voxel_size=(3, 3, 3), science=science,
    )  # fmt: skip
    np.testing.assert_allclose(result.cbf, 60, atol=0.02)
    np.testing.assert_allclose(result.further["att"], 1.2, atol=1e-3)
    assert result.n_pairs == 4
    known = {parameter.name: parameter for parameter in result.parameters}
    assert known["KineticModel"].value == model
    assert ("T1Tissue" in known) == (model == "full")


@pytest.mark.parametrize(("model", "recorded"), [("consensus", False), ("full", True)])
def test_partition_coefficient_is_told_where_it_does_not_cancel(model, recorded):
    run = run_of(M0Type="Estimate", M0Estimate=1000 / 0.9)
    result = quantify(
        run, series_of(run, 60, 1.0, model), None, np.ones(SHAPE, bool), voxel_size=(3, 3, 5),
        science=Science(kinetic_model=model, estimator="least-squares"),
    )  # fmt: skip
    np.testing.assert_allclose(result.cbf, 60, rtol=1e-3)
    assert ("BloodBrainPartitionCoefficient" in {p.name for p in result.parameters}) == recorded


def test_early_arrival_of_a_pulsed_bolus_is_told_as_it_is():
    pulsed = {
        "ArterialSpinLabelingType": "PASL", "BolusCutOffFlag": True, "BolusCutOffDelayTime": 0.7,
        "MRAcquisitionType": "3D", "SliceTiming": None, "LabelingDuration": None,
    }  # fmt: skip
    run = run_of(("deltam",) * 3, [1.2, 1.8, 2.4], **pulsed, M0Type="Estimate", M0Estimate=1000.0)
    # All of the bolus has arrived at each delay, and a little more than that at the first.
    series = np.full((*SHAPE, 3), (10.2, 10, 10)) * np.exp(-np.array([1.2, 1.8, 2.4]) / 1.65)
    result = quantify(
        run, series, None, np.ones(SHAPE, bool), voxel_size=(3, 3, 5),
        science=Science(estimator="least-squares"),
    )  # fmt: skip
    np.testing.assert_allclose(result.further["att"], 0.5)
    assert any("less the duration of the bolus (0.5 s)" in note for note in result.notes)


@pytest.mark.parametrize(("model", "cbf", "told"), [("consensus", 60, False), ("full", 55, True)])
def test_cbf_depends_on_an_arrival_before_the_first_delay_only_in_the_full_model(model, cbf, told):
    delays = [1.5, 2.0, 2.5]
    run = run_of(("deltam",) * 3, delays, MRAcquisitionType="3D", SliceTiming=None,
                 M0Type="Estimate", M0Estimate=1000.0)  # fmt: skip
    scheme = LabelingScheme("PCASL", tuple(delays), (1.8,) * 3, 0.85, 1.65, model=model)
    course = 60 / 6000 * tissue_response(scheme, 1.0, cbf=60)[0]
    result = quantify(
        run, np.full((*SHAPE, 3), 1000 * course), None, np.ones(SHAPE, bool), voxel_size=(3, 3, 5),
        science=Science(estimator="least-squares", kinetic_model=model),
    )  # fmt: skip
    np.testing.assert_allclose(result.further["att"], 1.5, atol=1e-3)
    np.testing.assert_allclose(result.cbf, cbf, atol=0.3)
    notes = " ".join(result.notes)
    assert "ATT at or below the first delay (1.5 s)" in notes
    assert ("nor, in the full model, CBF" in notes) == told


def test_a_duration_per_delay_is_kept():
    run = run_of(LabelingDuration=[1.5, 1.5, 2, 2, 0, 1.5, 1.5, 1, 1])
    assert run.labeling.labeling_duration.value == (2.0, 1.5, 1.0)
    assert find_differences(run, series_of(run, 60, 1.0)).durations == (2.0, 1.5, 1.0)


def test_a_first_delay_of_zero_is_no_m0():
    run = run_of(delays=[1.5, 1.5, 0, 0, 0, 1.5, 1.5, 2.5, 2.5])
    assert find_differences(run, series_of(run, 60, 0.5)).delays == (0.0, 1.5, 2.5)


@pytest.mark.parametrize(
    ("delays", "told"),
    [
        ([1.5, 1.5, 0.5, 0.7, 0, 1.5, 1.5, 2.5, 2.5], "0.5 s has no control-label pair"),
        ([1500, 1500, 500, 500, 0, 1500, 1500, 2500, 2500], "milliseconds"),
    ],
)
def test_delays_that_cannot_be_are_named(delays, told):
    with pytest.raises(InputError, match=told):
        find_differences(run_of(delays=delays), np.zeros((*SHAPE, 9)))


def test_differences_and_pairs_of_one_delay_are_not_mixed():
    context = ("deltam", "control", "label", "deltam")
    run = run_of(context, [1.5, 1.5, 1.5, 2.0], M0Type="Absent")
    with pytest.raises(InputError, match="both deltam and control"):
        find_differences(run, np.zeros((*SHAPE, 4)))


def test_ge_product_equation_is_refused_for_several_delays():
    run = run_of()
    with pytest.raises(InputError, match="one delay"):
        quantify(
            run, series_of(run, 60, 1.0), None, np.ones(SHAPE, bool), voxel_size=(3, 3, 3),
            science=Science(quantification="ge-product"),
        )  # fmt: skip


def test_relative_perfusion_pairs_within_delays_too():
    """Control and label of different delays stand in different orders here."""
    context = ("control", "control", "label", "label")
    run = run_of(
        context, [0.8, 2.0, 2.0, 0.8], ArterialSpinLabelingType="PASL", M0Type="Absent",
        BolusCutOffFlag=False,
    )  # fmt: skip
    series = np.stack([np.full(SHAPE, v) for v in (500.0, 300.0, 297.0, 490.0)], axis=-1)
    result = quantify(
        run, series, None, np.ones(SHAPE, bool), voxel_size=(3, 3, 3), science=Science()
    )
    np.testing.assert_allclose(result.deltam, (10 + 3) / 2)
    assert result.cbf is None
    assert "all delays" in " ".join(result.notes)


@pytest.mark.parametrize(("choice", "named"), [("none", "none"), ("m0", "M0")])
def test_m0_guides_the_spatial_estimate_only_on_request(choice, named):
    run = run_of()
    m0 = np.broadcast_to(np.linspace(800.0, 1200, SHAPE[0])[:, None, None], SHAPE)
    result = quantify(
        run, series_of(run, 60, 1.2), m0, np.ones(SHAPE, bool), voxel_size=(3, 3, 3),
        science=Science(m0_smoothing=0, spatial_guide=choice),
    )  # fmt: skip
    known = {parameter.name: parameter.value for parameter in result.parameters}
    assert known["SpatialPriorGuide"] == named
    assert any("leans on its neighbours" in note for note in result.notes)


def test_simpler_estimates_agree_where_all_label_has_arrived():
    run = run_of(delays=[1.5, 1.5, 1.2, 1.2, 0, 1.5, 1.5, 2.5, 2.5])
    result = quantify(
        run, series_of(run, 60, 1.0), np.full(SHAPE, 1000.0), np.ones(SHAPE, bool),
        voxel_size=(3, 3, 3), science=Science(estimator="least-squares", m0_smoothing=0),
    )  # fmt: skip
    assert result.further["cbf_delays"].shape == (*SHAPE, 3)
    np.testing.assert_allclose(result.further["cbf_delays"], 60, rtol=1e-5)
    np.testing.assert_allclose(result.further["cbf_delay_mean"], 60, rtol=1e-5)
    late = series_of(run, 60, 1.8)
    checks = quantify(
        run, late, np.full(SHAPE, 1000.0), np.ones(SHAPE, bool),
        voxel_size=(3, 3, 3), science=Science(estimator="least-squares", m0_smoothing=0),
    ).further  # fmt: skip
    np.testing.assert_allclose(checks["att_weighted_delay"], 1.8, atol=2e-3)
    assert np.all(checks["cbf_delays"][..., 0] < 45)


@pytest.mark.parametrize(
    ("delays", "told", "origin"),
    [((0.5, 1.5, 2.5), "5 are needed", "derived"), ((0.5, 1, 1.5, 2, 2.5), "in 0.0 %", "default")],
)
def test_arteries_are_sought_with_five_delays_and_not_with_three(delays, told, origin):
    run = run_of(["m0scan", *["control", "label"] * len(delays)], [0, *np.repeat(delays, 2)])
    result = quantify(
        run, series_of(run, 60, 1.2), np.full(SHAPE, 1000.0), np.ones(SHAPE, bool),
        voxel_size=(3, 3, 3), science=Science(m0_smoothing=0),
    )  # fmt: skip
    (choice,) = (p for p in result.parameters if p.name == "ArterialComponent")
    assert choice.origin == origin
    assert told in " ".join(result.notes)
    assert ("abv" in result.further) == (len(delays) == 5)
