"""Parts of a series that were scaled differently are each divided by their own M0."""

import json
from dataclasses import replace

import numpy as np
import pytest
from asl_run import run_of

from cereflow_bids.quantification.m0_series import mean_m0
from cereflow_bids.quantification.quantify import quantify
from cereflow_bids.quantification.science import Science

SHAPE = (6, 5, 4)
MASK = np.ones(SHAPE, bool)
BLOCK = ("control", "label", "m0scan")


def scene(context, delays, gains, parts=None):
    """Return a run and its volumes, each times the gain of its part."""
    run = run_of(context, delays, SHAPE)
    recorded = {} if parts is None else {"CereflowSeries": [{"Volumes": v} for v in parts]}
    values = {"m0scan": 1000.0, "control": 200.0, "label": 193.0, "deltam": 7.0}
    volumes = [
        np.full(SHAPE, values[kind] * gain) for kind, gain in zip(context, gains, strict=True)
    ]
    tissue = np.linspace(0.8, 1.2, SHAPE[0])[:, None, None, None]
    return replace(run, metadata=json.dumps(recorded)), np.stack(volumes, axis=-1) * tissue


def quantified(run, series):
    m0 = series[..., run.volumes("m0scan")].mean(axis=-1)
    science = Science(m0_smoothing=0, estimator="least-squares")
    return quantify(run, series, m0, MASK, voxel_size=(3, 3, 3), science=science)


def parameters(result):
    return {p.name: p.value for p in result.parameters}


DELAYS = [1.2, 1.2, 0, 1.8, 1.8, 0, 2.4, 2.4, 0]


def test_each_delay_is_divided_by_the_m0_of_its_own_series():
    context = BLOCK * 3
    same = quantified(*scene(context, DELAYS, [1.0] * 9))
    changed = quantified(*scene(context, DELAYS, np.repeat([1.0, 2.0, 4.0], 3)))
    np.testing.assert_allclose(changed.cbf, same.cbf, rtol=1e-5)
    assert "M0OwnScale" not in parameters(same)
    assert parameters(changed)["M0OwnScale"] == pytest.approx((3 / 7, 6 / 7, 12 / 7), rel=1e-3)
    assert any("factor of 4.00" in note for note in changed.notes)


def test_relative_perfusion_is_brought_to_one_scale_too():
    """And the record of the differences says so, not that of M0."""
    context = BLOCK * 2
    pulsed = {"ArterialSpinLabelingType": "PASL", "BolusCutOffFlag": False}
    times = [1.2, 1.2, 0, 1.2, 1.2, 0]
    _, series = scene(context, times, [1, 1, 1, 2, 2, 2])
    run = run_of(context, times, SHAPE, **pulsed, LabelingDuration=None)
    result = quantified(run, series)
    assert result.cbf is None
    assert "M0OwnScale" in {p.name for p in result.selection}
    # Without it the second pair would weigh twice as much; both have the mean M0 now.
    tissue = np.linspace(0.8, 1.2, SHAPE[0])[:, None, None]
    np.testing.assert_allclose(result.deltam, 10.5 * tissue * np.ones(SHAPE), rtol=1e-6)


def test_series_that_conversion_joined_need_not_be_equally_long():
    context = ("m0scan", *BLOCK[:2], "m0scan", *BLOCK[:2] * 2)
    gains = [1, 1, 1, 3, 3, 3, 3, 3]
    delays = [0, 1.2, 1.2, 0, 1.8, 1.8, 1.8, 1.8]
    parts = [[0, 1, 2], [3, 4, 5, 6, 7]]
    same = quantified(*scene(context, delays, [1.0] * 8, parts))
    changed = quantified(*scene(context, delays, gains, parts))
    np.testing.assert_allclose(changed.cbf, same.cbf, rtol=1e-5)
    refused = quantified(*scene(context, delays, gains))
    assert "by a factor of 3.00" in refused.refusal
    assert refused.cbf is None
    assert refused.relative is not None


def test_differences_of_a_scanner_have_their_own_density_image():
    context = ("deltam", "m0scan") * 2
    same = quantified(*scene(context, [1.5, 0, 2.5, 0], [1.0] * 4))
    changed = quantified(*scene(context, [1.5, 0, 2.5, 0], [1.0, 1.0, 0.5, 0.5]))
    np.testing.assert_allclose(changed.cbf, same.cbf, rtol=1e-5)


def test_a_suppressed_volume_among_the_m0_volumes_is_not_averaged_with_them():
    """As where the first two volumes of a series are both called M0, and one is suppressed."""
    context = ("m0scan", "m0scan", *BLOCK[:2] * 2)
    run, series = scene(context, 1.8, [1.0, 0.2, 1, 1, 1, 1], parts=[list(range(6))])
    assert "by a factor of 5.00" in quantified(run, series).refusal


def test_a_pair_of_m0_volumes_of_one_series_is_averaged():
    context = ("m0scan", "m0scan", *BLOCK[:2] * 2)
    result = quantified(*scene(context, 1.8, [1.0, 0.9, 1, 1, 1, 1]))
    assert result.refusal == ""
    assert "M0OwnScale" not in parameters(result)


def test_an_m0_of_another_echo_time_is_brought_to_that_of_the_series():
    context = ("m0scan", "control", "label")
    run = run_of(context, 1.8, SHAPE, EchoTime=[0.03, 0.01, 0.01])
    plain, series = scene(context, 1.8, [1, 1, 1])
    ours, theirs = quantified(run, series), quantified(plain, series)
    np.testing.assert_allclose(ours.cbf, theirs.cbf * np.exp(-0.02 / 0.05), rtol=1e-6)
    known = parameters(ours)
    assert (known["M0EchoTime"], known["EchoTime"], known["T2StarTissue"]) == (0.03, 0.01, 0.05)


def test_volumes_of_a_separate_m0_are_averaged_unless_one_is_none():
    head = np.zeros((8, 8, 4))
    head[2:6, 2:6] = 1000
    np.testing.assert_allclose(mean_m0(np.stack([head, 0.9 * head], axis=-1)), 0.95 * head)
    np.testing.assert_array_equal(mean_m0(head), head)
    np.testing.assert_array_equal(mean_m0(np.stack([head, head * np.nan], axis=-1)), head)
    assert not mean_m0(np.zeros((4, 4, 2, 2))).any()
    with pytest.raises(ValueError, match=r"differ in brightness \(1.00, 0.20\)"):
        mean_m0(np.stack([head, 0.2 * head], axis=-1))
