"""Pictures: the right way up, left and right where they belong, the same bytes every time."""

import doctest
import io

import matplotlib.image
import nibabel as nib
import numpy as np
import pytest
from report_derivatives import AFFINE, SHAPE, confounds_table, ellipsoid

from cereflow_bids.errors import InputError
from cereflow_bids.report import mosaic, parameters, planes
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


def test_empty_mask_and_absent_motion_are_told() -> None:
    with pytest.raises(InputError, match="mask is empty"):
        cbf_mosaic(np.zeros(SHAPE), np.zeros(SHAPE), AFFINE, title="")
    with pytest.raises(InputError, match="motion"):
        motion_plot(confounds_table(moved=False))


@pytest.mark.parametrize("module", [planes, parameters])
def test_examples_in_docstrings(module: object) -> None:
    result = doctest.testmod(module, extraglobs={"np": np})
    assert result.attempted
    assert not result.failed
