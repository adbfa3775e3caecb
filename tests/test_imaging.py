"""Resampling, motion and registration against movements that are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import ndimage

from cereflow_bids.imaging.motion import estimate_motion, realign
from cereflow_bids.imaging.registration import register
from cereflow_bids.imaging.resampling import area_average, resample
from cereflow_bids.imaging.series_alignment import Reference
from cereflow_bids.quality.measures import framewise_displacement, rigid_parameters

AFFINE = np.array([[-3.0, 0, 0, 40], [0, 3, 0, -50], [0, 0, 4, -30], [0, 0, 0, 1]])
SHAPE = (28, 32, 18)
CENTRE = AFFINE[:3, :3] @ [13.5, 15.5, 8.5] + AFFINE[:3, 3]


def rigid(translation, degrees):
    """Rotation about z after a translation, mm."""
    angle = np.deg2rad(degrees)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = translation
    return matrix


@pytest.fixture(scope="module")
def head():
    """Return a lumpy, asymmetric object that has one best position."""
    rng = np.random.default_rng(3)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"))
    ellipse = (grid**2 * np.array([1.6, 1.3, 1.5])[:, None, None, None]).sum(0) < 1
    texture = ndimage.gaussian_filter(rng.normal(size=SHAPE), 2)
    return np.where(ellipse, 500 + 3000 * texture, 10).astype(np.float32)


def test_identity_changes_nothing(head):
    assert_allclose(resample(head, AFFINE, SHAPE, AFFINE, order=3), head, atol=0.05)


def test_there_is_no_value_where_nothing_was_imaged(head):
    away = rigid((1000, 0, 0), 0)
    assert np.isnan(resample(head, AFFINE, SHAPE, AFFINE, world=away, fill=np.nan)).all()


def test_a_shift_of_less_than_half_a_slice_loses_no_slice(head):
    moved = resample(head, AFFINE, SHAPE, AFFINE, world=rigid((0, 0, 1.9), 0), fill=np.nan)
    assert np.isfinite(moved).all()


def test_area_average_leaves_nothing_out():
    # What is dark around is not interpolated, and must be all that is not.
    rng = np.random.default_rng(2)
    fine = np.zeros((40, 44, 36), dtype=np.float32)
    fine[:9, 12:30, 20:] = rng.random((9, 18, 16))
    fine[30, 5, 5] = 1
    coarse, shape, factors = np.diag([2.5, 2.4, 3.7, 1]), (18, 20, 11), (3, 3, 4)
    world = rigid(1.3, 9)
    scale = np.diag([*(1 / np.array(factors)), 1.0])
    scale[:3, 3] = (1 / np.array(factors) - 1) / 2
    cells = resample(
        fine, np.eye(4), np.multiply(shape, factors), coarse @ scale, world=world, order=1
    )
    blocks = cells.reshape([n for pair in zip(shape, factors, strict=True) for n in pair])
    expected = blocks.mean(axis=(1, 3, 5), dtype=np.float64).astype(np.float32)
    assert np.array_equal(area_average(fine, np.eye(4), shape, coarse, world=world), expected)
    assert 0.05 < (expected > 0).mean() < 0.5


@given(st.tuples(*[st.floats(-2, 2)] * 3), st.sampled_from([1.0, 1.5, 2.0]))
def test_area_average_keeps_the_volume_of_tissue(shift, edge):
    fine = np.zeros((36, 36, 36), np.float32)
    fine[12:24, 10:26, 13:22] = 1
    coarse = np.diag([3 * edge, 3 * edge, 4 * edge, 1.0])
    coarse[:3, 3] = (-4 * edge, -4 * edge, -4 * edge)
    average = area_average(fine, np.eye(4), (17, 17, 13), coarse, world=rigid(shift, 0))
    assert average.sum() * np.linalg.det(coarse) == pytest.approx(fine.sum(), rel=0.05)
    assert 0 <= average.min() <= average.max() <= 1 + 1e-6


def test_register_recovers_a_known_movement_and_repeats_its_bits(head):
    truth = rigid((4.0, -3.0, 2.0), 4)
    moving = resample(head, AFFINE, SHAPE, AFFINE, world=np.linalg.inv(truth), fill=10)
    found = [register(head, AFFINE, moving, AFFINE, transform="Rigid", seed=5) for _ in range(2)]
    assert_allclose(found[0][:3, 3], truth[:3, 3], atol=0.5)
    assert_allclose(found[0][:3, :3], truth[:3, :3], atol=0.01)
    assert np.array_equal(found[0], found[1])


def test_motion_is_found_within_type_and_undone(head):
    types = ["m0scan", "control", "label", "control", "label", "control", "label"]
    moved = rigid((1.5, 0.0, -1.0), 2)
    shifted = resample(head, AFFINE, SHAPE, AFFINE, world=np.linalg.inv(moved), fill=10)
    gain = {"m0scan": 6.0, "control": 1.0, "label": 0.97}
    series = np.stack([gain[kind] * head for kind in types], axis=-1)
    series[..., 3] = shifted
    motion = estimate_motion(series, AFFINE, types)
    assert motion.estimated
    relative = motion.matrices[3] @ np.linalg.inv(motion.matrices[1])
    assert_allclose(relative[:3, 3], moved[:3, 3], atol=0.35)
    displacement = framewise_displacement(motion.matrices, types, CENTRE)
    assert np.isnan(displacement[[0, 1, 2]]).all()
    assert displacement[3] > 1.5
    assert np.nanmax(displacement[[4, 6]]) < 0.5
    inner = (slice(8, 20), slice(8, 24), slice(5, 13))
    undone = realign(series, AFFINE, motion)
    before = np.abs(series[inner][..., 3] - series[inner][..., 1]).mean()
    after = np.abs(undone[inner][..., 3] - undone[inner][..., 1]).mean()
    assert after < before / 4


@pytest.mark.parametrize("size", [0.3, 3.0, 9.0])
def test_volumes_of_one_contrast_are_aligned_to_a_tenth_of_a_voxel(head, size):
    """Noise, another gain and offset, and what moved out of view change nothing."""
    rng = np.random.default_rng(2)
    truth = rigid((0.6 * size, -0.5 * size, 0.6 * size), size)
    moving = resample(head, AFFINE, SHAPE, AFFINE, world=np.linalg.inv(truth), fill=10)
    noise = 0.02 * np.percentile(head, 98)
    found = Reference(head + rng.normal(0, noise, SHAPE), AFFINE).align(
        1.3 * moving + rng.normal(0, noise, SHAPE) + 5
    )
    brain = np.argwhere(head > np.percentile(head, 80)) @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    apart = (found - truth)[:3]
    assert np.linalg.norm(brain @ apart[:, :3].T + apart[:, 3], axis=1).mean() < 0.3


def test_least_squares_decline_another_contrast_and_what_has_none(head):
    reference = Reference(head, AFFINE)
    assert reference.align(head.max() - head) is None
    assert reference.align((head - 500) ** 2) is None
    assert reference.align(np.zeros(SHAPE)) is None
    assert Reference(np.zeros(SHAPE), AFFINE).align(head) is None
    assert Reference(head[..., :1], AFFINE).align(head[..., :1]) is None


@pytest.mark.parametrize("first", ["control", "label"])
def test_volumes_of_one_cycle_of_time_encoding_are_aligned(head, first):
    """One control, or none at all, and labels that differ a little from each other."""
    moved = rigid((1.5, -0.9, 0.6), 1.2)
    types = [first, "label", "label", "label"]
    series = np.stack([gain * head for gain in (1, 0.99, 0.985, 0.98)], axis=-1)
    series[..., 2] = resample(series[..., 2], AFFINE, SHAPE, AFFINE, world=np.linalg.inv(moved))
    motion = estimate_motion(series, AFFINE, types)
    assert np.isfinite(motion.matrices).all()
    relative = motion.matrices[2] @ np.linalg.inv(motion.matrices[1])
    assert_allclose(relative[:3, 3], moved[:3, 3], atol=0.35)


def test_one_average_data_is_left_alone_and_said_so(head):
    series = np.stack([head, head, head], axis=-1)
    motion = estimate_motion(series, AFFINE, ["m0scan", "control", "label"])
    assert not motion.estimated
    assert "skipped" in motion.note
    assert np.array_equal(realign(series, AFFINE, motion), series)


def pairs_of(volume, moved, pairs=3):
    """Return pairs of which the second was imaged after a movement, and their types."""
    other = resample(volume, AFFINE, SHAPE, AFFINE, world=np.linalg.inv(moved), fill=10)
    noise = np.random.default_rng(4).normal(0, 5, (*SHAPE, 2 * pairs))
    volumes = [other if k // 2 == 1 else volume for k in range(2 * pairs)]
    return np.stack(volumes, axis=-1) + noise, ["control", "label"] * pairs


@pytest.mark.parametrize("slices", [1, 2, 3])
@pytest.mark.parametrize("axis", [0, 2])
def test_motion_of_too_few_slices_is_unknown_and_not_none(head, slices, axis):
    series, types = pairs_of(head, rigid((7, 0, 0), 0))
    series = series.take(range(9, 9 + slices), axis=axis)
    motion = estimate_motion(series, AFFINE, types)
    assert motion.note.startswith("Motion correction skipped: too few slices")
    assert f" {slices} " in motion.note
    assert not motion.estimated
    assert np.isnan(motion.matrices).all()
    assert np.array_equal(realign(series, AFFINE, motion), series.astype(np.float32))


def test_motion_of_four_slices_is_found(head):
    series, types = pairs_of(head, rigid((7, 0, 0), 0))
    motion = estimate_motion(series[:, :, 7:11], AFFINE, types)
    found = motion.matrices[[2, 3]] @ np.linalg.inv(motion.matrices[[0, 1]])
    assert_allclose(found[:, :3, 3], [(7, 0, 0)] * 2, atol=0.35)


@pytest.mark.parametrize("empty", [0.0, 400.0])
def test_a_volume_that_cannot_be_aligned_has_no_motion_rather_than_none(head, empty):
    """ANTs hands back where it started when it finds nothing to follow."""
    series, types = pairs_of(head, rigid((7, 0, 0), 0))
    series[..., 4] = empty
    motion = estimate_motion(series, AFFINE, types)
    assert np.isnan(motion.matrices[4]).all()
    assert np.isfinite(np.delete(motion.matrices, 4, axis=0)).all()
    assert "1 volume could not be aligned" in motion.note
    assert np.array_equal(realign(series, AFFINE, motion)[..., 4], series[..., 4])


POINTS = st.tuples(*[st.floats(-20, 20)] * 3)


@given(POINTS, st.floats(-80, 80), POINTS)
def test_rigid_parameters_are_read_back(translation, degrees, centre):
    to_centre = rigid(centre, 0)
    about = to_centre @ rigid(translation, degrees) @ np.linalg.inv(to_centre)
    values = rigid_parameters(about[None], centre)[0]
    assert_allclose(values[:3], translation, atol=1e-9)
    assert_allclose(values[3:], (0, 0, np.deg2rad(degrees)), atol=1e-9)
