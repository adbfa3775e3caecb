"""Mistakes made on purpose are named in the record, and raise a flag and a red banner."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from asl_run import halves, run_of

from cereflow_bids.imaging.masks import LEAST_INNER_CONTRAST
from cereflow_bids.quality.flags import ALARMS, FOUND, WITHHELD, limits, meaning, raised_flags
from cereflow_bids.quantification.quantify import quantify
from cereflow_bids.quantification.science import Science
from cereflow_bids.quantification.tissues import Tissues
from cereflow_bids.report.banner import ADVICE, RED, banner
from cereflow_bids.report.runs import RunRecord
from cereflow_bids.workflow.images import save
from cereflow_bids.workflow.tables import quality_table

SHAPE = (12, 10, 8)
MASK = np.ones(SHAPE, bool)
TISSUES = Tissues(*halves(SHAPE))
PAIRS = ("control", "label")
ONE_DELAY = ("m0scan", *PAIRS * 4)


def series_of(context, flow=60.0, noise=1.0, seed=0):
    """Return volumes with M0 1000, suppressed controls of 200 and this flow in grey matter."""
    rng = np.random.default_rng(seed)
    difference = flow / 8.63 * (TISSUES.gm + TISSUES.wm / 3)
    volumes = {"m0scan": 1000.0, "control": 200.0, "label": 200.0 - difference}
    volumes["deltam"] = difference
    stack = [np.broadcast_to(volumes[kind], SHAPE) for kind in context]
    return np.stack(stack, axis=-1) + rng.normal(0, noise, (*SHAPE, len(context)))


def judged(context, series, delays=1.8, told=None, **sidecar):
    run = replace(run_of(context, delays, SHAPE, **sidecar), acquisition=told or {})
    m0 = series[..., 0]
    science = Science(m0_smoothing=0, estimator="least-squares")
    return quantify(run, series, m0, MASK, voxel_size=(3, 3, 5), science=science, tissues=TISSUES)


def names(result):
    assert all("To fix: " in note for note in result.notes[: len(result.findings)])
    return [one.name for one in result.findings]


@pytest.mark.parametrize("flow", [12, 20, 60, 140])
@pytest.mark.parametrize("noise", [0.1, 2.0])
def test_a_run_without_a_mistake_raises_nothing(flow, noise):
    for vendor in ("GE", "Philips", "Siemens"):
        result = judged(
            ONE_DELAY, series_of(ONE_DELAY, flow, noise), told={"Manufacturer": vendor}
        )
        assert names(result) == []


def test_noise_alone_raises_nothing():
    for seed in range(20):
        assert names(judged(ONE_DELAY, series_of(ONE_DELAY, 0, 5, seed))) == []


def test_a_swapped_pair_is_named_by_its_volumes():
    series = series_of(ONE_DELAY)
    series[..., [3, 4]] = series[..., [4, 3]]
    result = judged(ONE_DELAY, series)
    assert names(result) == ["swapped_pairs"]
    assert "volumes 3 and 4, counted from 0" in result.notes[0]


def test_swapped_order_is_named():
    context = ("m0scan", *("label", "control") * 4)
    series = series_of(ONE_DELAY)
    assert names(judged(context, series)) == ["swapped_order"]
    assert names(judged(context[:3], series[..., :3])) == ["swapped_order"]


def test_one_delay_of_opposite_sign_is_named():
    context = ("m0scan", *PAIRS * 3)
    delays = [0, 1.2, 1.2, 1.8, 1.8, 2.4, 2.4]
    series = series_of(context)
    assert names(judged(context, series, delays)) == []
    series[..., [3, 4]] = series[..., [4, 3]]
    result = judged(context, series, delays)
    assert names(result) == ["swapped_pairs"]
    assert "delay of 1.8 s" in result.notes[0]


@pytest.mark.parametrize(
    ("told", "factor", "expected"),
    [
        ({"Manufacturer": "GE", "TotalAcquiredPairs": 3}, 32, "scale_32"),
        ({"Manufacturer": "GE", "TotalAcquiredPairs": 3}, 96, "scale_32_nex"),
        ({"Manufacturer": "GE", "TotalAcquiredPairs": 3}, 3, "nex"),
        ({"Manufacturer": "Philips"}, 40, "scale_slope"),
        ({"Manufacturer": "Siemens"}, 1000, "scale_1000"),
    ],
)
def test_a_mistake_of_scale_is_named_and_nothing_is_rescaled(told, factor, expected):
    context = ("m0scan", "deltam")
    series = series_of(context)
    series[..., 1] *= factor
    result = judged(context, series, told=told)
    assert names(result)[0] == expected
    right = judged(context, series_of(context), told=told)
    np.testing.assert_allclose(result.cbf, factor * right.cbf)


def test_a_duration_divided_by_1000_twice_is_named():
    result = judged(ONE_DELAY, series_of(ONE_DELAY), LabelingDuration=0.0018)
    assert names(result)[0] == "time_too_short"


def test_findings_are_flags_with_a_meaning_and_make_the_banner_red():
    fine = {"gm_mean_cbf": 60.0, "mask_dice": 0.95}
    for name in FOUND:
        flags = raised_flags(fine, [name, "scale_slope"])
        assert flags == [name]
        assert meaning(name) == FOUND[name]
        shown = banner(RunRecord("sub-01", "done", flags=tuple(flags)))
        assert (shown.level, shown.reasons) == (RED, ((FOUND[name], ADVICE[name]),))
    assert not set(FOUND) & {alarm.name for alarm in ALARMS}


def table_of(folder, result, series, *, mask=MASK, voxel=1.0):
    """Return the quality table of a result; the M0 volume is the reference image, too."""
    images = {"cbf": result.cbf, "deltam": result.deltam, "series": series, "m0": series[..., 0]}
    images |= {"aslref": series[..., 0], "mask": mask, "brain": mask}
    images |= {"gm": TISSUES.gm, "wm": TISSUES.wm}
    grid = np.diag([voxel, voxel, voxel, 1.0])
    paths = {
        name: save(np.asarray(image, np.float32), grid, folder / f"{name}.nii")
        for name, image in images.items()
    }
    paths["registration"] = str(folder / "registration.json")
    registration = {"measures": {"t1w_spread": 1.5}, "withheld": "starts ended 9 mm apart"}
    Path(paths["registration"]).write_text(json.dumps(registration), encoding="utf-8")
    record = {
        "Findings": [one.name for one in result.findings],
        "RejectedVolumes": [],
        "Acquisition": {"NumberOfPairs": result.n_pairs},
    }
    run = run_of(ONE_DELAY, 1.8, SHAPE)
    table = quality_table(run, paths, np.full(9, np.nan), record)
    return table, set(table["flags"].item().split(";"))


def test_a_finding_reaches_the_quality_table(tmp_path):
    series = series_of(ONE_DELAY)
    series[..., [3, 4]] = series[..., [4, 3]]
    table, flags = table_of(tmp_path, judged(ONE_DELAY, series), series)
    assert {"swapped_pairs", WITHHELD} <= flags
    assert table["t1w_spread"].item() == 1.5
    assert np.isnan(table["t1w_overlap"].item())
    assert np.isfinite(table["temporal_snr"].item())


def test_a_uniform_inside_is_flagged_and_a_small_one_is_unknown(tmp_path):
    series = series_of(ONE_DELAY)
    result = judged(ONE_DELAY, series)
    mask = np.pad(np.ones((10, 8, 8), bool), ((1, 1), (1, 1), (0, 0)))
    table, flags = table_of(tmp_path, result, series, mask=mask, voxel=5.0)
    assert 0 < table["inner_contrast"].item() < LEAST_INNER_CONTRAST
    assert "possible_phantom" in flags
    blocks = (np.indices(SHAPE) // 2 % 2).sum(axis=0) % 2  # of 1 cm
    tissue = series * (1 + 0.4 * blocks)[..., None]
    table, flags = table_of(tmp_path, result, tissue, mask=mask, voxel=5.0)
    assert table["inner_contrast"].item() > LEAST_INNER_CONTRAST
    assert "possible_phantom" not in flags
    table, flags = table_of(tmp_path, result, series, mask=mask)
    assert np.isnan(table["inner_contrast"].item())
    assert not any("phantom" in flag or "inner" in flag for flag in flags)


def test_note_and_flag_of_a_phantom_have_one_limit():
    assert limits("inner_contrast")[0] == LEAST_INNER_CONTRAST
