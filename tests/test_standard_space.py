"""Registration to the template without a T1w image: images with a known place, and doubts."""

import nibabel as nib
import numpy as np
import pytest

from cereflow_bids.imaging.point_map import transform
from cereflow_bids.imaging.resampling import area_average
from cereflow_bids.imaging.standard_space import register_to_template, template_tissues
from cereflow_bids.imaging.template_registration import TemplateRegistration
from cereflow_bids.resources import template

SHAPE = (60, 70, 36)
AFFINE = np.diag([-3.4, 3.4, 5.0, 1.0])
AFFINE[:3, 3] = (102, -136, -80)


def load(name):
    image = nib.load(template(name))
    return image.get_fdata(dtype=np.float32), image.affine


@pytest.fixture(scope="module")
def tissues():
    brain, affine = load("T1w")
    return template_tissues(brain, *(load(name)[0] / 255 for name in ("GM", "WM")), affine)


def moved(degrees, millimetres, zoom):
    """Return a matrix from points of the template to points of a scan."""
    a, b = np.deg2rad(degrees)
    nod = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    turn = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = nod @ turn * zoom
    matrix[:3, 3] = millimetres
    return matrix


def scan(tissues, truth, noise=0.0):
    """Return M0 with a bias, noisy perfusion and the brain of a scan."""
    rng = np.random.default_rng(1)
    fractions, own = tissues
    back = np.linalg.inv(truth)
    gm, wm, rest = (area_average(one, own, SHAPE, AFFINE, world=back) for one in fractions)
    bias = 1 + 0.3 * np.linspace(-1, 1, SHAPE[1])[None, :, None]
    m0 = 1000 * bias * (gm + 0.85 * wm + 1.3 * rest)
    perfusion = 6 * gm + 2 * wm + rng.normal(0, 1 + noise, SHAPE)
    return m0 + rng.normal(0, 20, SHAPE), perfusion, gm + wm + rest > 0.5


TRUTH = moved((12, -6), (5, -18, 9), 0.95)
HEADER = moved((0, 15), (40, 250, -300), 1)


@pytest.mark.parametrize(("sign", "header"), [(1, np.eye(4)), (-1, HEADER)])
def test_a_brain_is_found_where_it_is_whatever_header_and_sign_say(tissues, sign, header):
    m0, perfusion, mask = scan(tissues, TRUTH)
    affine = header @ AFFINE
    found = register_to_template((m0, sign * perfusion), mask, affine, *tissues)
    fractions, own = tissues
    points = transform(own, np.argwhere(fractions.sum(axis=0) > 0.5)[::500].T.astype(float))
    error = transform(found.matrix, points) - transform(header @ TRUTH, points)
    assert np.linalg.norm(error, axis=0).mean() < 0.5
    assert found.doubts == ()
    assert found.coverage > 0.9


@pytest.mark.parametrize("constant", [False, True])
def test_perfusion_that_shows_no_brain_is_doubted(tissues, constant):
    m0, _, mask = scan(tissues, TRUTH)
    noise = np.random.default_rng(2).normal(size=SHAPE)
    found = register_to_template((m0, noise * (not constant)), mask, AFFINE, *tissues)
    assert "hardly follows the grey matter" in " ".join(found.doubts)


def test_a_thin_slab_is_doubted(tissues):
    m0, perfusion, mask = scan(tissues, TRUTH)
    thin = np.s_[:, :, 14:21]
    affine = AFFINE.copy()
    affine[2, 3] += 14 * AFFINE[2, 2]
    found = register_to_template((m0[thin], perfusion[thin]), mask[thin], affine, *tissues)
    assert "of the brain only" in " ".join(found.doubts)


GOOD = {"spread": 0.5, "disagreement": 1.5, "outline": 0.96, "contrast": 0.4, "coverage": 0.9}


@pytest.mark.parametrize(
    ("measure", "value"),
    [
        ("spread", 3.5),
        ("disagreement", 4.5),
        ("outline", 0.8),
        ("contrast", 0.05),
        ("coverage", 0.4),
        *((name, float("nan")) for name in GOOD),
    ],
)
def test_each_measure_alone_raises_one_doubt(measure, value):
    assert TemplateRegistration(np.eye(4), **GOOD).doubts == ()
    found = TemplateRegistration(np.eye(4), **(GOOD | {measure: value}))
    assert len(found.doubts) == 1
    assert found.doubts[0] in found.warning
