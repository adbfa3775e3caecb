"""Deformations: composed with matrices, inverted, and used to move images and labels."""

import numpy as np
import pytest
from scipy import ndimage

from cereflow_bids.imaging.point_map import PointMap, transform
from cereflow_bids.imaging.registration import deform
from cereflow_bids.imaging.resampling import area_average, label_cells, resample

AFFINE = np.array([[2.0, 0, 0, -30], [0, -2.5, 0, 40], [0, 0, 3.0, -25], [0, 0, 0, 1]])
SHAPE = (30, 28, 24)
TURN = np.array([[0.96, -0.28, 0, 4], [0.28, 0.96, 0, -3], [0, 0, 1, 2], [0, 0, 0, 1]])


def constant(shift, before=None, after=None):
    field = np.broadcast_to(np.asarray(shift, np.float32), (*SHAPE, 3))
    eye = np.eye(4)
    return PointMap(
        eye if before is None else before, field, AFFINE, eye if after is None else after
    )


def blobs(seed, shape=SHAPE):
    return ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)


def test_composition_applies_matrices_in_their_order():
    points = np.random.default_rng(1).uniform(-8, 8, (3, 5))
    moved = constant((1, 2, 3)).preceded_by(TURN).followed_by(AFFINE).apply(points)
    expected = transform(AFFINE, transform(TURN, points) + np.array([[1.0], [2], [3]]))
    np.testing.assert_allclose(moved, expected, atol=1e-5)


def test_beyond_its_grid_nothing_is_displaced():
    far = np.full((3, 1), 500.0)
    np.testing.assert_allclose(constant((1, 2, 3)).apply(far), far)


@pytest.mark.parametrize("order", [0, 1, 3])
def test_an_even_displacement_is_a_shift(order):
    shift = np.eye(4)
    shift[:3, 3] = 2.0, -2.5, 3.0
    image = blobs(2)
    by_matrix = resample(image, AFFINE, SHAPE, AFFINE, world=shift @ TURN, order=order)
    by_field = resample(
        image, AFFINE, SHAPE, AFFINE, world=constant(shift[:3, 3]).preceded_by(TURN), order=order
    )
    inner = (slice(6, -6),) * 3
    np.testing.assert_allclose(by_field[inner], by_matrix[inner], atol=1e-5)


def test_labels_and_fractions_are_moved_too():
    labels = (blobs(3) > 0).astype(np.int32) * 7
    # Cells of this grid have their centres at those of voxels: no ties between labels.
    even = np.diag([2.0, 2, 2, 1])
    coarse = np.diag([4.0, 4, 4, 1])
    coarse[:3, 3] = 1
    shape = tuple(n // 2 for n in SHAPE)
    field = constant((0, 0, 0))
    np.testing.assert_array_equal(
        label_cells(labels, even, shape, coarse, world=field),
        label_cells(labels, even, shape, coarse),
    )
    np.testing.assert_allclose(
        area_average(labels / 7, even, shape, coarse, world=field),
        area_average(labels / 7, even, shape, coarse),
        atol=1e-5,
    )


def test_a_deformation_and_its_inverse_bring_images_onto_each_other():
    x, y, z = np.indices((40, 40, 40)) - 19.5
    fixed = np.where(x**2 + (y / 1.2) ** 2 + z**2 < 196, 1.0, 0) + (x**2 + y**2 + z**2 < 49)
    bent = np.where((x - y**2 / 80) ** 2 + (y / 1.1) ** 2 + (z / 0.9) ** 2 < 196, 1.0, 0)
    moving = bent + ((x - y**2 / 80) ** 2 + y**2 + z**2 < 49)
    affine = np.diag([2.0, 2, 2, 1])
    there, back = deform(fixed, affine, moving, affine)
    points = np.random.default_rng(4).uniform(30, 50, (3, 50))
    assert np.abs(back.apply(there.apply(points)) - points).max() < 0.5
    moved = resample(moving, affine, fixed.shape, affine, world=there, order=1)
    plain = np.corrcoef(fixed.ravel(), moving.ravel())[0, 1]
    assert np.corrcoef(fixed.ravel(), moved.ravel())[0, 1] > max(0.95, plain)
    again = deform(fixed, affine, moving, affine)[0]
    np.testing.assert_array_equal(again.displacement, there.displacement)
