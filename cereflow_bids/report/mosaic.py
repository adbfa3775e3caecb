"""Axial slices side by side on a fixed scale with its colour bar: arrays in, PNG bytes out.

Perfusion is shown in *inferno*. Its lightness rises evenly, so that equal steps of CBF look equal,
it survives a grey print and colour-blind eyes, and its low end meets the black background; the
rainbow maps of scanner consoles draw edges where there are none. Negative values have a colour
of their own (blue), because on an even scale they would be taken for the background.

A change is shown in *coolwarm*: no change is light grey, which cannot be taken for the black
background, loss is blue and gain is red.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cereflow_bids.errors import InputError
from cereflow_bids.report.canvas import DARK, LIGHT, edge_letters, png_bytes
from cereflow_bids.report.planes import (
    EDGES,
    Volume,
    brain_planes,
    crop_to,
    pixel_size,
    plane_of,
    to_ras,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

Numbers = npt.NDArray[Any]

COLUMNS = 6
MOST_SLICES = 24
BELOW_ZERO = "#27588f"
UNDEFINED = "#4d555c"


@dataclass(frozen=True)
class Scale:
    """What colours mean.

    Attributes
    ----------
    units
        Printed at the colour bar.
    low, high
        Ends of the scale.
    middle
        Value of the middle colour, where it is not halfway.
    colours
        Name of matplotlib's colour map.
    below, above
        Colours beyond the ends.
    below_label
        Printed at the lower end of the bar.
    undefined
        Colour of voxels of the brain without a value; black where it is empty.
    """

    units: str
    low: float
    high: float
    middle: float | None = None
    colours: str = "inferno"
    below: str = BELOW_ZERO
    above: str = "white"
    below_label: str = "< 0"
    undefined: str = ""

    def norm(self) -> "Normalize":
        """Return matplotlib's mapping of values to colours."""
        from matplotlib.colors import Normalize, TwoSlopeNorm

        if self.middle is None:
            return Normalize(self.low, self.high)
        return TwoSlopeNorm(self.middle, self.low, self.high)


def axial_mosaic(
    values: Numbers,
    mask: Numbers,
    affine: npt.NDArray[np.floating],
    *,
    title: str,
    scale: Scale,
) -> bytes:
    """Draw axial slices from foot to head.

    Parameters
    ----------
    values
        Shape (i, j, k), in the unit of the scale.
    mask
        Shape (i, j, k); voxels outside are black.
    affine
        Shape (4, 4), voxel to millimetre.
    title
        Printed above the slices, with their number where not all are shown.
    scale
        The same for everybody.

    Returns
    -------
    bytes
        A PNG file.
    """
    shown = np.where(np.asarray(mask) > 0, np.asarray(values, dtype=np.float32), np.nan)
    brain, volume = cropped(mask, shown, affine)
    indices = brain_planes(brain.data, "axial", MOST_SLICES)
    there = int((brain.data > 0.5).any(axis=(0, 1)).sum())
    if len(indices) < there:
        title += f"  ·  {len(indices)} of {there} slices"
    tiles = [plane_of(volume.data, "axial", index) for index in indices]
    labels = [f"z {volume.position('axial', index):+.0f}" for index in indices]
    masks = [plane_of(brain.data, "axial", index) for index in indices]
    width, height = pixel_size(volume, "axial")
    return _picture((tiles, masks), labels, height / width, title=title, scale=scale)


def cropped(
    mask: Numbers, first: Numbers, affine: npt.NDArray[np.floating], *others: Numbers
) -> list[Volume]:
    """Return mask and arrays upright and cut to the brain.

    Parameters
    ----------
    mask, first, others
        Shape (i, j, k) each.
    affine
        Shape (4, 4), voxel to millimetre.

    Raises
    ------
    InputError
        If the mask is empty.
    """
    shapes = {np.shape(array) for array in (mask, first, *others)}
    if len(shapes) != 1:
        raise ValueError(f"the arrays of one picture differ in shape: {sorted(shapes)}")
    brain = to_ras(np.asarray(mask) > 0, affine)
    if not (brain.data > 0.5).any():
        raise InputError(
            "the brain mask is empty.",
            where="desc-brain_mask.nii.gz",
            fix="look at the reference image of the run; its contrast or coverage is unusual.",
        )
    volumes = [to_ras(array, affine).data for array in (first, *others)]
    return crop_to(brain.data, *volumes, affine=brain.affine)


def _sheet(tiles: Sequence[Numbers]) -> npt.NDArray[np.float32]:
    """Return the tiles row by row in one image, NaN where there is none."""
    rows, columns = tiles[0].shape
    n_columns = min(COLUMNS, len(tiles))
    n_rows = -(-len(tiles) // n_columns)
    sheet = np.full((n_rows * rows, n_columns * columns), np.nan, dtype=np.float32)
    for number, tile in enumerate(tiles):
        top, left = (number // n_columns) * rows, (number % n_columns) * columns
        sheet[top : top + rows, left : left + columns] = tile
    return sheet


def _picture(
    stacks: tuple[Sequence[Numbers], Sequence[Numbers]],
    labels: Sequence[str],
    aspect: float,
    *,
    title: str,
    scale: Scale,
) -> bytes:
    from matplotlib.figure import Figure

    tiles, masks = stacks
    sheet, brain = _sheet(tiles), _sheet(masks)
    n_columns = min(COLUMNS, len(tiles))
    width = 8.6 * n_columns / COLUMNS
    height = width * sheet.shape[0] * aspect / sheet.shape[1]
    # The bar needs room for its label even where there is but one row of slices.
    full_width, full_height = max(width + 1.1, 4.5), max(height, 2.4) + 0.5
    figure = Figure(figsize=(full_width, full_height), facecolor=DARK)
    ax = figure.add_axes((0.0, 0.0, width / full_width, height / full_height))
    ax.set_axis_off()
    picture = _paint(ax, sheet, brain, aspect, scale)
    rows, columns = tiles[0].shape
    for number, label in enumerate(labels):
        row, column = divmod(number, n_columns)
        if column:
            ax.axvline(column * columns - 0.5, color="#30363c", lw=0.6)
        edge_letters(ax, (column * columns, row * rows), (columns, rows), EDGES["axial"], label)
    figure.text(0.1 / full_width, 1 - 0.2 / full_height, title, color=LIGHT, size=11, va="center")
    _colour_bar(figure, picture, (width + 0.15) / full_width, scale)
    return png_bytes(figure)


def _paint(ax: "Axes", sheet: Numbers, brain: Numbers, aspect: float, scale: Scale) -> Any:
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    colours = colormaps[scale.colours]
    cmap = colours.with_extremes(bad="black", under=scale.below, over=scale.above)
    picture = ax.imshow(
        sheet, cmap=cmap, norm=scale.norm(), aspect=aspect, interpolation="nearest"
    )
    if scale.undefined:
        unknown = np.where((brain > 0.5) & ~np.isfinite(sheet), 1.0, np.nan)
        ax.imshow(
            unknown,
            cmap=ListedColormap([scale.undefined]),
            aspect=aspect,
            interpolation="nearest",
        )
    return picture


def _colour_bar(figure: "Figure", picture: Any, left: float, scale: Scale) -> None:
    width, height = figure.get_size_inches()
    tall = min(height - 1.0, 4.5)
    cax = figure.add_axes((left, 0.5 - tall / height / 2, 0.16 / width, tall / height))
    bar = figure.colorbar(picture, cax=cax, extend="both", extendfrac=0.05)
    bar.set_label(scale.units, color=LIGHT, size=10)
    bar.ax.tick_params(colors=LIGHT, labelsize=9)
    bar.outline.set_edgecolor(LIGHT)
    bar.ax.text(0.5, -0.065, scale.below_label, transform=bar.ax.transAxes, color="#8fb0d6",
                size=8, ha="center", va="top")  # fmt: skip
