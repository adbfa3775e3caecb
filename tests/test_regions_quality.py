"""Regional statistics, quality measures and their flags."""

import math

import numpy as np
import pandas as pd
import pytest

from cereflow_bids.quality import measures as m
from cereflow_bids.quality.flags import ALARMS, limits, meaning, raised_flags
from cereflow_bids.regions.atlas import packaged_atlas
from cereflow_bids.regions.statistics import (
    imaged_fraction,
    regional_statistics,
    transit_statistics,
    without_numbers,
)

REGIONS = pd.DataFrame(
    {
        "index": [1, 2, 3, 4],
        "name": ["insula", "insula", "brainstem", "frontal pole"],
        "hemisphere": ["L", "R", "n/a", "L"],
        "group": ["insula", "insula", "brainstem", "frontal"],
    }
)


@pytest.fixture
def table():
    """Return statistics of four bands: left 60, right 40, midline 20, and one too small."""
    labels = np.repeat([1, 2, 3, 4], [20, 20, 20, 5])[:, None, None]
    values = np.repeat([60.0, 40.0, 20.0, 50.0], [20, 20, 20, 5])[:, None, None]
    values[:10] += 10
    values[10:20] -= 10
    coverage = {1: 1.0, 2: 0.9, 3: 0.3, 4: 1.0}
    mask = np.ones(labels.shape, bool)
    return regional_statistics(values, labels, mask, coverage, REGIONS).set_index("index")


def test_mean_median_and_asymmetry(table):
    assert table.loc[1, "mean"] == pytest.approx(60)
    assert table.loc[1, "sd"] == pytest.approx(10 * math.sqrt(20 / 19))
    assert table.loc[1, "asymmetry"] == table.loc[2, "asymmetry"] == pytest.approx(40)


def test_regions_that_were_not_imaged_have_no_numbers_but_a_reason(table):
    assert table["reason"].to_dict() == {1: "n/a", 2: "n/a", 3: "coverage", 4: "voxels"}
    assert table.loc[[3, 4], ["mean", "median", "sd", "asymmetry"]].isna().all(axis=None)


def test_what_is_withheld_leaves_no_number_of_the_map(table):
    labels = np.repeat([1, 2, 3, 4], 20)[:, None, None]
    about = {"labels": labels, "mask": labels > 0, "coverage": dict.fromkeys((1, 2, 3, 4), 1.0)}
    times = transit_statistics(labels / 4, np.zeros_like(labels), **about, regions=REGIONS)
    for found in (table.reset_index(), times):
        left = without_numbers(found)
        numbers = left.drop(columns=["index", "name", "hemisphere", "group", "reason"])
        known = numbers.columns[numbers.notna().any()]
        assert set(known) == {"n_voxels", "coverage"}
        assert set(left["reason"]) == {"registration"}
        assert list(left) == list(found)


@pytest.mark.parametrize("seen", [1, 2])
def test_half_a_brain_has_no_asymmetry(seen):
    labels = np.repeat([1, 2], 20)[:, None, None]
    mask, values = labels == seen, np.full(labels.shape, 50.0)
    table = regional_statistics(values, labels, mask, {seen: 1.0}, REGIONS)
    assert table["asymmetry"].isna().all()
    assert table["mean"].notna().sum() == 1


def test_imaged_fraction_counts_the_atlas_voxels_in_the_mask():
    atlas = np.array([[0, 1, 1, 1, 1, 5]])
    mask = np.array([[True, True, False, False, False, True]])
    assert imaged_fraction(atlas, mask) == {1: 0.25, 5: 1.0}


def test_the_packaged_atlas_is_paired_and_left_is_left():
    import nibabel as nib

    atlas = packaged_atlas()
    regions = atlas.regions()
    image = nib.load(atlas.labels)
    labels = np.asarray(image.dataobj)
    assert set(np.unique(labels)) == {0, *regions["index"]}
    for side, sign in (("L", -1), ("R", 1)):
        names = regions[regions["hemisphere"] == side]
        inside = np.argwhere(np.isin(labels, names["index"]))
        x = nib.affines.apply_affine(image.affine, inside)[:, 0]
        assert (sign * x > -3).mean() > 0.99
    sides = regions.groupby("name")["hemisphere"].agg(set)
    assert all(pair in ({"L", "R"}, {"n/a"}) for pair in sides)


def test_measures_of_a_plain_map():
    cbf = np.array([60.0, 40.0, -10.0, 20.0])
    gm = np.array([True, True, True, False])
    assert m.mean_in(cbf, gm) == pytest.approx(30)
    assert m.negative_fraction(cbf, gm) == pytest.approx(1 / 3)
    assert m.spatial_cov(cbf, gm) == pytest.approx(np.std([60, 40, -10]) / 30)
    assert m.deltam_percent(np.full(4, 2.0), np.full(4, 100.0), gm) == pytest.approx(2)
    assert m.dice(gm, ~gm) == 0
    assert m.coverage(gm, np.ones(4, bool)) == 0.75


def test_what_cannot_be_computed_is_unknown():
    nothing = np.zeros(3, bool)
    values = [
        m.mean_in(np.ones(3), nothing),
        m.spatial_cov(-np.ones(3), ~nothing),
        m.tissue_ratio(50, 0),
        m.dice(nothing, nothing),
        m.deltam_percent(np.ones(3), np.zeros(3), ~nothing),
    ]
    assert np.isnan(values).all()


@pytest.mark.parametrize(
    ("measures", "flags"),
    [
        ({"gm_mean_cbf": 50.0, "spatial_cov": 0.4, "mean_deltam_percent": 1.0}, []),
        ({"mean_deltam_percent": -0.8}, ["swapped_order"]),
        ({"gm_mean_cbf": 2.0}, ["scale_low"]),
        ({"gm_mean_cbf": 700.0}, ["scale_high"]),
        ({"gm_mean_cbf": 30.0}, ["unusually_low"]),
        ({"gm_mean_cbf": 120.0}, ["unusually_high"]),
        ({"gm_mean_cbf": float("nan"), "spatial_cov": 0.4}, ["unknown_gm_mean_cbf"]),
        ({"mean_framewise_displacement": float("nan")}, []),
        ({"gm_wm_ratio": float("nan")}, ["unknown_gm_wm_ratio"]),
        ({"mask_dice": float("nan")}, ["unknown_mask_dice"]),
        (
            {"mean_deltam_percent": float("nan"), "negative_fraction": float("nan")},
            ["unknown_mean_deltam_percent", "unknown_negative_fraction"],
        ),
        ({"wm_mean_cbf": float("nan"), "mask_coverage": float("nan")}, []),
        ({"mask_dice": 0.8}, ["mask_overlap"]),
        ({"inner_contrast": 0.02}, ["possible_phantom"]),
        ({"inner_contrast": 0.04}, []),
        ({"inner_contrast": float("nan")}, []),
    ],
)
def test_flags(measures, flags):
    assert raised_flags(measures) == flags
    assert all(len(meaning(flag)) > 20 for flag in flags)


def test_every_alarm_is_about_a_measure_that_is_written():
    from cereflow_bids.bids.spec import column_dictionary

    assert {alarm.measure for alarm in ALARMS} <= set(column_dictionary("quality"))


def test_limits_are_those_of_the_alarms_and_stand_in_their_words():
    assert limits("gm_mean_cbf") == (40, 100)
    assert limits("spatial_cov") == (-math.inf, 0.67)
    assert limits("wm_mean_cbf") == (-math.inf, math.inf)
    assert "above 0.67" in meaning("spatial_cov")
    assert "More than 10 %" in meaning("negative_cbf")
    assert not any("{" in alarm.meaning for alarm in ALARMS)
