"""The T1w image: which one, what is made of it, and how ASL is registered to it."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from cereflow_bids.bids.anatomy import find_t1w
from cereflow_bids.bids.derivatives import DerivativeWriter
from cereflow_bids.imaging.coregistration import register_to_t1w
from cereflow_bids.imaging.point_map import PointMap, transform
from cereflow_bids.imaging.registration import write_displacement
from cereflow_bids.imaging.resampling import resample
from cereflow_bids.imaging.sides import SURE, compare_sides
from cereflow_bids.imaging.standard_space import downsample, template_mask
from cereflow_bids.quality.flags import raised_flags
from cereflow_bids.resources import template
from cereflow_bids.workflow.anatomy import NO_ANATOMY, prepare
from cereflow_bids.workflow.images import save
from cereflow_bids.workflow.space_maps import load_map, save_map
from cereflow_bids.workflow.spaces import deposit_anatomy


def file(name):
    entities = dict(part.split("-") for part in name.split("_")[:-1])
    long = {"sub": "subject", "ses": "session", "acq": "acquisition", "run": "run"}
    return SimpleNamespace(
        entities={long[key]: value for key, value in entities.items()},
        filename=f"{name}.nii.gz",
        path=f"/d/{name}.nii.gz",
    )


def files(*names):
    return SimpleNamespace(root="/d", images=lambda *_: [file(name) for name in names])


@pytest.mark.parametrize(
    ("names", "chosen", "told"),
    [
        ((), None, ""),
        (("sub-1_ses-2_T1w", "sub-1_ses-1_T1w"), "sub-1_ses-1_T1w", ""),
        (("sub-1_ses-2_T1w", "sub-1_T1w"), "sub-1_T1w", ""),
        (("sub-1_ses-2_T1w",), "sub-1_ses-2_T1w", "session 2"),
        (("sub-1_ses-1_acq-2D_T1w",), None, ""),
        (
            ("sub-1_ses-1_acq-a_T1w", "sub-1_ses-1_run-2_T1w", "sub-1_ses-1_run-1_T1w"),
            "sub-1_ses-1_run-1_T1w",
            "Of 3",
        ),
    ],
)
def test_the_t1w_of_the_same_session_is_preferred(names, chosen, told):
    path, note = find_t1w(files(*names), file("sub-1_ses-1_asl"))
    assert (path and path.name) == (chosen and f"{chosen}.nii.gz")
    assert told in note
    assert bool(note) == bool(told)


@pytest.mark.parametrize("kind", ["constant", "truncated", "series"])
def test_an_image_without_a_brain_is_left_out_with_the_reason(kind, tmp_path):
    path = tmp_path / "sub-1_T1w.nii.gz"
    shape = (20, 20, 20, 2) if kind == "series" else (20, 20, 20)
    nib.save(nib.Nifti1Image(np.full(shape, 7.0, np.float32), np.eye(4)), path)
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:200])
    found = prepare(path, tmp_path, seed=0, threads=1)
    assert found == NO_ANATOMY | {"notes": found["notes"]}
    assert "not used" in Path(found["notes"]).read_text()


@pytest.fixture(scope="module")
def head():
    """Return the template at 3 mm in a rim of scalp, its brain, and its matrix."""
    image = nib.load(template("T1w"))
    brain, affine = downsample(image.get_fdata(dtype=np.float32), image.affine, 3)
    inside = template_mask(brain)
    from scipy import ndimage

    near = ndimage.distance_transform_edt(~inside) * 3
    scalp = np.where((near > 6) & (near < 12), np.float32(0.8 * brain.max()), 0)
    # The template is symmetric, which nobody is.
    uneven = ndimage.gaussian_filter(np.random.default_rng(5).normal(size=brain.shape), 2)
    return brain * np.float32(1 + 0.15 * uneven / uneven.std()) + scalp, inside, affine


def test_asl_is_brought_to_the_t1w_from_far_away(head):
    image, inside, affine = head
    angle = np.deg2rad(7)
    moved = np.eye(4)
    moved[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    moved[:3, 3] = 14, -9, 11
    own = np.diag([4.0, 4, 5, 1])
    own[:3, 3] = -100, -120, -70
    shape = (52, 60, 36)
    # M0 has another contrast: fluid is bright.
    contrast = np.where(image > 0, image.max() * 1.3 - image, 0)
    back = np.linalg.inv(moved)
    asl = resample(contrast, affine, shape, own, world=back, order=1)
    mask = resample(inside, affine, shape, own, world=back, order=0) > 0.5
    found = register_to_t1w(asl, own, image, affine, inside, mask=mask, processes=2)
    assert found.sides > SURE
    assert "on the same side" in found.note
    assert "left_right" not in raised_flags(found.measures)
    points = transform(affine, np.argwhere(inside).T[:, ::50].astype(float))
    error = np.linalg.norm(transform(found.matrix, points) - transform(moved, points), axis=0)
    assert error.mean() < 1
    assert found.trusted
    assert found.overlap > 0.95
    assert not replace(found, overlap=0.6).trusted
    apart = replace(found, spread=9.0)
    assert not apart.trusted
    assert "not to be trusted" in apart.note


def test_exchanged_sides_show_against_the_t1w(head):
    image, inside, affine = head
    contrast = np.where(image > 0, image.max() * 1.3 - image, 0)
    swapped = np.ascontiguousarray(contrast[::-1])
    found = register_to_t1w(swapped, affine, image, affine, inside, mask=inside[::-1])
    assert found.sides < -SURE
    assert "left and right exchanged" in found.note
    assert "left_right" in raised_flags(found.measures)
    for doubtful in (-2.9, 2.9, np.nan):
        unknown = replace(found, sides=doubtful)
        assert "cannot be told" in unknown.note
        assert raised_flags(unknown.measures) == []


def test_sides_are_told_only_by_what_is_not_symmetric(head):
    image, inside, affine = head
    contrast = np.where(inside, image.max() * 1.3 - image, 0)
    other = np.random.default_rng(6).normal(size=image.shape)
    # Shading is no side, however strong.
    shaded = contrast * np.exp(np.linspace(-0.5, 0.5, image.shape[0]))[:, None, None]

    def sides(asl, t1w):
        # The template's grid is symmetric about its middle, so that a flip keeps its place.
        return compare_sides((asl, affine), (t1w, affine), (inside, affine), inside, np.eye(4))

    same, exchanged = sides(shaded, image), sides(shaded[::-1], image)
    assert same > SURE
    assert exchanged == pytest.approx(-same, rel=0.1)
    even = (image + image[::-1]) / 2
    assert np.isnan(sides(contrast, even))
    unrelated = (contrast + contrast[::-1]) / 2 * (1 + 0.1 * other)
    assert abs(sides(unrelated, image)) < SURE
    assert np.isnan(sides(np.zeros_like(contrast), image))


def test_what_is_written_of_the_t1w_counts_as_output_of_the_run(tmp_path):
    # So that a later call misses it when it was deleted.
    origin = {"stem": "sub-01_acq-a", "sources": ["bids:raw:sub-01/anat/sub-01_acq-a_T1w.nii.gz"]}
    path = tmp_path / "origin.json"
    path.write_text(json.dumps(origin | {"generated_by": "", "dataset": ""}))
    names = ("head", "brain", "gm", "wm", "csf")
    images = {
        name: save(np.ones((4, 4, 4)), np.eye(4), tmp_path / f"{name}.nii") for name in names
    }
    out = tmp_path / "out"
    found = deposit_anatomy(DerivativeWriter(out), NO_ANATOMY | images | {"origin": str(path)})
    assert sorted(found) == sorted(out.rglob("*.nii.gz"))
    assert len(found) == 5
    assert deposit_anatomy(DerivativeWriter(out), NO_ANATOMY) == []


def test_maps_survive_their_files_and_mean_the_same_to_ants(tmp_path):
    import ants

    rng = np.random.default_rng(1)
    from scipy import ndimage

    grid = np.diag([2.0, 2, 2, 1])
    field = ndimage.gaussian_filter(rng.normal(0, 60, (20, 20, 20, 3)), (3, 3, 3, 0))
    turn = np.array([[0.98, -0.199, 0, 2], [0.199, 0.98, 0, -3], [0, 0, 1, 1], [0, 0, 0, 1]])
    bent = PointMap(np.eye(4), field.astype(np.float32), grid, turn)
    again = load_map(save_map(bent, tmp_path / "bent.npz"))
    points = rng.uniform(5, 30, (3, 9))
    np.testing.assert_array_equal(again.apply(points), bent.apply(points))
    np.testing.assert_array_equal(load_map(save_map(turn, tmp_path / "turn.npz")), turn)

    image = ndimage.gaussian_filter(rng.normal(size=(20, 20, 20)), 2).astype(np.float32)
    write_displacement(bent, (20, 20, 20), grid, tmp_path / "xfm.nii.gz")
    nib.save(nib.Nifti1Image(image, grid), tmp_path / "image.nii.gz")
    source = ants.image_read(str(tmp_path / "image.nii.gz"))
    theirs = ants.apply_transforms(source, source, [str(tmp_path / "xfm.nii.gz")]).numpy()
    ours = resample(image, grid, image.shape, grid, world=bent, order=1)
    inner = (slice(5, -5),) * 3
    np.testing.assert_allclose(theirs[inner], ours[inner], atol=2e-3 * np.ptp(image))
