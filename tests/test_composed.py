"""Maps in another space: interpolated once from where each volume was acquired."""

import json
from dataclasses import replace

import numpy as np
import pytest
from asl_run import run_of
from scipy import ndimage

from cereflow_bids.imaging.composed import Place, bring_map, bring_sum
from cereflow_bids.imaging.motion import Motion, realign
from cereflow_bids.imaging.point_map import PointMap
from cereflow_bids.imaging.resampling import resample
from cereflow_bids.workflow.images import load, save
from cereflow_bids.workflow.moved_maps import moved_maps

AFFINE = np.array([[3.0, 0, 0, -60], [0, 3.0, 0, -55], [0, 0, 4.0, -50], [0, 0, 0, 1]])
SHAPE = (40, 38, 26)
FINE = np.diag([1.0, 1, 1, 1])
FINE[:3, 3] = -60, -55, -50
FINE_SHAPE = (118, 112, 101)
GRID = np.diag([2.0, 2, 2, 1])
GRID[:3, 3] = -58, -54, -48
GRID_SHAPE = (58, 55, 49)


def rigid(shift, degrees):
    angle = np.deg2rad(degrees)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = shift
    return matrix


WORLD = rigid((2, -1, 1.5), 4)


def ball(shape, affine, radius=38):
    grid = np.indices(shape).reshape(3, -1)
    points = affine[:3, :3] @ grid + affine[:3, 3:]
    return (np.linalg.norm(points, axis=0) < radius).reshape(shape)


def moved_series():
    """Return the truth on the target grid, volumes acquired in different poses, and the poses."""
    rng = np.random.default_rng(5)
    fine = ndimage.gaussian_filter(rng.normal(size=FINE_SHAPE), 3) * 100
    poses = [np.eye(4), *(rigid(rng.normal(0, 2, 3), rng.normal(0, 3)) for _ in range(7))]
    run = np.linalg.inv(WORLD)
    volumes = [
        resample(fine, FINE, SHAPE, AFFINE, world=run @ np.linalg.inv(pose)) for pose in poses
    ]
    return resample(fine, FINE, GRID_SHAPE, GRID), np.stack(volumes, -1), np.stack(poses)


def test_one_interpolation_is_nearer_to_the_truth_than_two():
    truth, series, poses = moved_series()
    weights = [1 / 8] * 8
    place = Place(ball(SHAPE, AFFINE), AFFINE, GRID_SHAPE, GRID, WORLD)
    once = bring_sum(series, AFFINE, weights, poses, place)
    still = realign(series, AFFINE, Motion(poses, "")).mean(axis=-1)
    twice = bring_map(still, AFFINE, np.isfinite(still), place, order=3)
    error, other = ((one - truth)[place.inside].std() for one in (once, twice))
    assert place.inside.sum() > 20_000
    assert error < 0.85 * other
    assert error < 0.1 * truth[place.inside].std()


def test_volumes_that_did_not_move_are_one_image():
    _, series, poses = moved_series()
    place = Place(ball(SHAPE, AFFINE), AFFINE, GRID_SHAPE, GRID, WORLD)
    nowhere = np.full_like(poses, np.nan)
    weights = np.array([0.5, -0.5, 0, 0, 0, 0, 0, 0])
    series[..., 7] = np.nan
    moved = bring_sum(series, AFFINE, weights, nowhere, place)
    mean = np.nan_to_num(series) @ weights
    expected = resample(mean, AFFINE, GRID_SHAPE, GRID, world=WORLD)
    np.testing.assert_allclose(moved, np.where(place.inside, expected, 0), atol=1e-4)


def test_the_rim_is_not_mixed_with_the_background():
    mask = ball(SHAPE, AFFINE, 30)
    values = np.where(mask, 50.0, 0)
    values[20, 19, 12] = np.nan
    place = Place(mask, AFFINE, GRID_SHAPE, GRID, WORLD)
    moved = bring_map(values, AFFINE, mask, place, order=3)
    np.testing.assert_allclose(moved[place.inside], 50, rtol=1e-5)
    assert not moved[~place.inside].any()


def test_deformations_and_matrices_lead_to_the_same_place():
    mask = ball(SHAPE, AFFINE)
    shift = np.broadcast_to(np.float32([1, -2, 3]), (*GRID_SHAPE, 3))
    first = PointMap(np.eye(4), shift, GRID)
    second = PointMap(rigid((0, 1, 0), 5), shift, GRID, rigid((1, 0, 0), -3))
    matrix = np.eye(4)
    matrix[:3, 3] = 1, -2, 3
    both = second.after @ matrix @ second.before @ matrix
    chained = first.followed_by(second).followed_by(WORLD)
    points = np.random.default_rng(1).uniform(-15, 15, (3, 9))
    expected = (WORLD @ both)[:3, :3] @ points + (WORLD @ both)[:3, 3:]
    np.testing.assert_allclose(chained.apply(points), expected, atol=1e-5)
    moved = Place(mask, AFFINE, GRID_SHAPE, GRID, chained)
    plain = Place(mask, AFFINE, GRID_SHAPE, GRID, WORLD @ both)
    # The deformations are known within their grids only.
    inner = (slice(10, -10),) * 3
    np.testing.assert_array_equal(moved.inside[inner], plain.inside[inner])


@pytest.fixture
def maps(tmp_path):
    """Return a run in which every volume moved, its maps, and the place where they go."""
    truth, series, poses = moved_series()
    signs = np.array([1, -1] * 4)
    # Control and label differ by 40 plus the pattern, on a background without contrast.
    series = 500 + signs * (20 + series / 2)
    weights = (signs / 4).tolist()
    mask = ball(SHAPE, AFFINE)
    native = realign(series, AFFINE, Motion(poses, "")) @ weights
    gain = np.full(SHAPE, 1.5, np.float32)
    run = run_of(["control", "label"] * 4, 1.8, SHAPE, M0Type="Estimate", M0Estimate=1000.0)
    np.save(tmp_path / "matrices.npy", poses)
    (tmp_path / "weights.json").write_text(json.dumps(weights))
    images = {"asl": series, "mask": mask, "cbf": 1.5 * np.nan_to_num(native) * mask, "gain": gain}
    paths = {name: save(data, AFFINE, tmp_path / f"{name}.nii") for name, data in images.items()}
    paths |= {name: str(tmp_path / name) for name in ("matrices.npy", "weights.json")}
    paths |= {"matrices": paths.pop("matrices.npy"), "weights": paths.pop("weights.json")}
    place = Place(mask, AFFINE, GRID_SHAPE, GRID, WORLD)
    return replace(run, asl=tmp_path / "asl.nii"), paths | {"att": ""}, place, 1.5 * (40 + truth)


def test_cbf_of_one_delay_is_made_from_the_volumes(maps):
    run, paths, place, truth = maps
    ((_, once),) = moved_maps(run, paths, place)
    assert once.sidecar["Interpolations"] == 1
    # Several delays: there is no gain. Transit times go the same way.
    several = paths | {"gain": "", "weights": "", "att": paths["cbf"]}
    twice = dict(moved_maps(run, several, place))
    assert {name: one.sidecar["Interpolations"] for name, one in twice.items()} == {
        "cbf": 2,
        "att": 2,
    }
    errors = [(one.data - truth)[place.inside].std() for one in (once, *twice.values())]
    assert errors[0] < 0.85 * errors[1] < 0.85 * errors[2]


def test_where_nothing_moved_the_map_itself_is_interpolated(maps):
    run, paths, place, _ = maps
    np.save(paths["matrices"], np.full((8, 4, 4), np.nan))
    ((name, moved),) = moved_maps(run, paths, place)
    expected = bring_map(*load(paths["cbf"]), ball(SHAPE, AFFINE), place, order=3)
    assert (name, moved.sidecar["Interpolations"]) == ("cbf", 1)
    np.testing.assert_array_equal(moved.data, expected)
