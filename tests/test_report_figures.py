"""Pictures: the right way up, left and right where they belong, the same bytes every time."""

import doctest
import io

import matplotlib.colors
import matplotlib.image
import nibabel as nib
import numpy as np
import pytest
from report_derivatives import AFFINE, SHAPE, atlas_labels, confounds_table, ellipsoid

from cereflow_bids.errors import InputError
from cereflow_bids.regions.atlas import GYRAL, TERRITORIES, packaged_atlas
from cereflow_bids.report import atlas_figure, mosaic, parameters, planes
from cereflow_bids.report.atlas_figure import AtlasLabels, atlas_overview
from cereflow_bids.report.figures import cbf_mosaic, motion_plot, registration_overview
from cereflow_bids.report.planes import brain_planes, to_ras


def decoded(png: bytes) -> np.ndarray:
    return matplotlib.image.imread(io.BytesIO(png))[..., :3]


def one_slice(side: str) -> tuple[np.ndarray, np.ndarray]:
    """Return CBF of 90 in one half of the brain (R, L, A or P of the patient), and the mask."""
    mask = np.zeros((20, 24, 1), dtype=bool)
    mask[2:18, 2:22] = True
    half = {"R": np.s_[10:], "L": np.s_[:10], "A": np.s_[:, 12:], "P": np.s_[:, :12]}[side]
    cbf = np.zeros(mask.shape)
    cbf[half] = 90.0
    return cbf * mask, mask


@pytest.mark.parametrize(
    ("side", "where"), [("R", "left"), ("L", "right"), ("A", "top"), ("P", "bottom")]
)
def test_mosaic_is_radiological_and_upright(side: str, where: str) -> None:
    """The patient's right is on the left of the image, the front at the top."""
    cbf, mask = one_slice(side)
    image = decoded(cbf_mosaic(cbf, mask, np.eye(4), title=""))
    # inferno at 90 % is a saturated orange, which nothing else in the picture has
    orange = (image[..., 0] > 0.9) & (image[..., 2] < 0.3)
    tile = orange[:, : int(image.shape[1] * 0.3)]
    rows, columns = np.nonzero(tile)
    brain_rows, brain_columns = _tile_of(mask, image)
    middle = {
        "left": columns.mean() < brain_columns,
        "right": columns.mean() > brain_columns,
        "top": rows.mean() < brain_rows,
        "bottom": rows.mean() > brain_rows,
    }
    assert tile.sum() > 1000
    assert middle[where]


def _tile_of(mask: np.ndarray, image: np.ndarray) -> tuple[float, float]:
    full = decoded(cbf_mosaic(90.0 * mask, mask, np.eye(4), title=""))
    orange = (full[..., 0] > 0.9) & (full[..., 2] < 0.3)
    rows, columns = np.nonzero(orange[:, : int(image.shape[1] * 0.3)])
    return rows.mean(), columns.mean()


@pytest.mark.parametrize("axes", ["LAS", "PSR", "SPL", "RPI"])
def test_storage_order_does_not_matter(axes: str) -> None:
    """The same brain stored along other axes gives the same picture, byte for byte."""
    rng = np.random.default_rng(1)
    mask = ellipsoid()
    cbf = rng.uniform(0, 100, SHAPE).astype(np.float32)
    turned = [_stored(array, axes) for array in (cbf, mask)]
    plain = cbf_mosaic(cbf, mask, AFFINE, title="t")
    assert cbf_mosaic(turned[0][0], turned[1][0], turned[0][1], title="t") == plain


def _stored(array: np.ndarray, axes: str) -> tuple[np.ndarray, np.ndarray]:
    image = nib.Nifti1Image(array.astype(np.float32), AFFINE)
    start = nib.io_orientation(AFFINE)
    end = nib.orientations.axcodes2ornt(axes)
    other = image.as_reoriented(nib.orientations.ornt_transform(start, end))
    return np.asarray(other.dataobj), other.affine


def test_outside_the_mask_is_black_and_negative_is_blue() -> None:
    cbf, mask = one_slice("R")
    cbf = np.where(mask, -5.0, 80.0)
    image = decoded(cbf_mosaic(cbf, mask, np.eye(4), title=""))
    tile = image[:, : int(image.shape[1] * 0.3)]
    orange = (tile[..., 0] > 0.9) & (tile[..., 2] < 0.3)
    blue = (tile[..., 2] > tile[..., 0] + 0.2) & (tile[..., 2] > 0.4)
    assert not orange.any()
    assert blue.sum() > 1000


def test_fixed_scale_does_not_follow_the_data() -> None:
    """Half the CBF is another colour, not the same picture with another bar."""
    cbf, mask = one_slice("R")
    high, low = (decoded(cbf_mosaic(k * cbf, mask, np.eye(4), title="")) for k in (1.0, 0.5))
    assert high.shape == low.shape
    assert np.abs(high - low).max() > 0.3


def test_pixels_keep_the_voxel_size() -> None:
    """A voxel twice as long to the front makes the picture taller, not the brain rounder."""
    cbf, mask = one_slice("R")
    square = decoded(cbf_mosaic(cbf, mask, np.eye(4), title=""))
    long = decoded(cbf_mosaic(cbf, mask, np.diag([1.0, 2.0, 1.0, 1.0]), title=""))
    heights = [
        np.ptp(np.nonzero((p[..., 0] > 0.9) & (p[..., 2] < 0.3))[0]) for p in (square, long)
    ]
    assert long.shape[0] > square.shape[0]
    assert heights[1] > heights[0]


def test_planes_hold_brain_from_foot_to_head() -> None:
    mask = np.zeros((10, 10, 60))
    mask[2:8, 2:8, 10:50] = 1
    indices = brain_planes(mask, "axial", 24)
    assert len(indices) == 24
    assert indices == sorted(set(indices))
    assert (indices[0], indices[-1]) == (10, 49)


def test_the_title_tells_how_many_slices_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    titles: list[str] = []
    monkeypatch.setattr(mosaic, "_picture", lambda *_, title, scale: titles.append(title) or b"")
    for slices in (24, 40):
        mask = np.zeros((10, 10, 44))
        mask[2:8, 2:8, :slices] = 1
        cbf_mosaic(mask, mask, np.eye(4), title="CBF")
    assert titles == ["CBF", "CBF  ·  24 of 40 slices"]


def test_position_is_in_scanner_millimetres() -> None:
    affine = AFFINE.copy()
    affine[0] *= -1  # stored from right to left
    volume = to_ras(np.zeros(SHAPE), affine)
    assert volume.position("axial", 3) == pytest.approx(-36 + 3 * 6)


def test_png_has_no_text_and_repeats() -> None:
    mask = ellipsoid()
    pictures = [registration_overview(mask * 9.0, mask, mask * 0.8, AFFINE) for _ in range(2)]
    assert pictures[0] == pictures[1]
    for picture in (pictures[0], motion_plot(confounds_table(moved=True))):
        assert b"tEXt" not in picture
        assert b"tIME" not in picture


def test_outlines_are_drawn() -> None:
    """Mask and grey matter outlines have their colours, and only where they are."""
    mask = ellipsoid()
    image = decoded(registration_overview(mask * 9.0, mask, np.zeros(SHAPE), AFFINE))[60:]
    cyan = (image[..., 2] > 0.9) & (image[..., 0] < 0.4)
    amber = (image[..., 0] > 0.9) & (image[..., 2] < 0.2)
    assert cyan.sum() > 500
    assert not amber.any()


NAMES = packaged_atlas(TERRITORIES).regions()


def atlas_picture(**changes: np.ndarray) -> np.ndarray:
    made = atlas_labels()
    labels = {"gyral": made[GYRAL], "territories": made[TERRITORIES], **changes}
    mask = ellipsoid()
    return decoded(atlas_overview(mask * 9.0, mask, AtlasLabels(names=NAMES, **labels), AFFINE))


def seen(picture: np.ndarray, colour: str) -> np.ndarray:
    """Tell where the picture has the colour, as it is or laid over a bright brain."""
    wanted = np.array(matplotlib.colors.to_rgb(colour))
    tint = 0.55 * wanted + 0.45
    return np.any([np.abs(picture - c).max(axis=-1) < 0.06 for c in (wanted, tint)], axis=0)


def test_atlas_rows_are_outlines_and_territories() -> None:
    """A territory that is in front on the right is there in the lower row, left in the image."""
    shape = np.array(SHAPE)
    right_front = np.zeros(SHAPE, dtype=int)
    right_front[shape[0] // 2 :, shape[1] // 2 :] = 4  # middle cerebral artery, R
    picture = atlas_picture(territories=right_front * ellipsoid())[60:]
    lines = seen(picture, atlas_figure.GYRAL_COLOUR)
    fed = seen(picture, atlas_figure.TERRITORY_COLOURS[1])
    middle = picture.shape[0] // 2
    assert lines[:middle].sum() > 500
    assert not lines[middle:].any()
    assert not fed[:middle].any()
    tile = fed[middle:, : picture.shape[1] // 6]  # the first axial plane
    rows, columns = np.nonzero(tile)
    assert len(rows) > 500
    assert columns.max() <= tile.shape[1] // 2
    assert rows.max() <= tile.shape[0] * 0.6
    none = atlas_picture(gyral=np.zeros(SHAPE, int), territories=np.zeros(SHAPE, int))[60:]
    assert not seen(none, atlas_figure.GYRAL_COLOUR).any()
    assert not seen(none, atlas_figure.TERRITORY_COLOURS[1]).any()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_single_slice_has_an_atlas_picture(axis: int) -> None:
    middle = [SHAPE[axis] // 2 + 2]
    made = {name: array.take(middle, axis=axis) for name, array in atlas_labels().items()}
    mask = ellipsoid().take(middle, axis=axis)
    labels = AtlasLabels(made[GYRAL], made[TERRITORIES], NAMES)
    picture = decoded(atlas_overview(mask * 9.0, mask, labels, AFFINE))[60:]
    assert seen(picture, atlas_figure.GYRAL_COLOUR).sum() > 100
    assert seen(picture, atlas_figure.TERRITORY_COLOURS[0]).sum() > 100


def test_outlines_lie_on_the_sides_of_voxels() -> None:
    tile = np.zeros((4, 5), dtype=int)
    tile[1:3, 2:4] = 7
    edges = atlas_figure.label_edges(tile)
    assert len(edges) == 8
    assert edges.min(axis=(0, 1)).tolist() == [1.5, 0.5]
    assert edges.max(axis=(0, 1)).tolist() == [3.5, 2.5]
    assert np.allclose(np.abs(np.diff(edges, axis=1)).sum(axis=-1), 1)


# Machado 2009, doi:10.1109/TVCG.2009.113: complete loss of one kind of cone, on linear RGB.
BLINDNESS = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
               [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
               [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
               [0.004733, 0.691367, 0.303900]],
}  # fmt: skip


@pytest.mark.parametrize("kind", ["none", *BLINDNESS])
def test_territories_stay_apart_without_one_kind_of_cone(kind: str) -> None:
    """Laid over grey tissue, any two differ by more than 12 in CIE Lab (2 is just noticeable)."""
    colours = np.array([matplotlib.colors.to_rgb(c) for c in atlas_figure.TERRITORY_COLOURS])
    over_grey = 0.55 * colours + 0.45 * 0.6
    linear = over_grey**2.2 @ np.array(BLINDNESS.get(kind, np.eye(3))).T
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722],
                       [0.0193, 0.1192, 0.9505]])  # fmt: skip
    x, y, z = np.cbrt(linear.clip(0, 1) @ to_xyz.T / to_xyz.sum(axis=1)).T
    lab = np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
    apart = np.linalg.norm(lab[:, None] - lab, axis=-1)[np.triu_indices(len(lab), 1)]
    assert apart.min() > 12, (kind, apart.round(1))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("slices", [1, 2, 3])
def test_thin_slabs_have_their_pictures(slices: int, axis: int) -> None:
    """Whichever way they lie; of a single slice there is nothing to see from the side."""
    half = ellipsoid() & (np.indices(SHAPE).sum(axis=0) > sum(SHAPE) / 2)
    mask, grey = (array.take(range(6, 6 + slices), axis=axis) for array in (ellipsoid(), half))
    scale = mosaic.Scale("%", 0.0, 3.0, below=mosaic.UNDEFINED, undefined=mosaic.UNDEFINED)
    change = mosaic.Scale("%", -50.0, 50.0, middle=0.0, colours="coolwarm")
    for shown in (scale, change):
        decoded(mosaic.axial_mosaic(mask * 1.0, mask, AFFINE, title="t", scale=shown))
    decoded(cbf_mosaic(mask * 60.0, mask, AFFINE, title="CBF"))
    image = decoded(registration_overview(mask * 9.0 + 1, mask, grey, AFFINE))[60:]
    cyan = (image[..., 2] > 0.9) & (image[..., 0] < 0.4)
    amber = (image[..., 0] > 0.9) & (image[..., 2] < 0.2)
    assert cyan.sum() > 100
    assert amber.sum() > 20


def test_empty_mask_and_absent_motion_are_told() -> None:
    with pytest.raises(InputError, match="mask is empty"):
        cbf_mosaic(np.zeros(SHAPE), np.zeros(SHAPE), AFFINE, title="")
    with pytest.raises(InputError, match="motion"):
        motion_plot(confounds_table(moved=False))


@pytest.mark.parametrize("module", [planes, parameters, atlas_figure])
def test_examples_in_docstrings(module: object) -> None:
    result = doctest.testmod(module, extraglobs={"np": np})
    assert result.attempted
    assert not result.failed
