"""Pictures of a run: arrays and an affine in, PNG bytes out, the same bytes every time.

The colour map is *inferno*. Its lightness rises evenly, so that equal steps of CBF look equal,
it survives a grey print and colour-blind eyes, and its low end meets the black background; the
rainbow maps of scanner consoles draw edges where there are none. Negative values have a colour
of their own (blue), because on an even scale they would be taken for the background.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cereflow_bids.errors import InputError
from cereflow_bids.report.canvas import (
    DARK,
    LIGHT,
    Panel,
    dark_figure,
    edge_letters,
    light_axes,
    light_figure,
    png_bytes,
)
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
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Numbers = npt.NDArray[Any]

COLUMNS = 6
MOST_SLICES = 24
BELOW_ZERO = "#27588f"


def cbf_mosaic(
    cbf: Numbers,
    mask: Numbers,
    affine: npt.NDArray[np.floating],
    *,
    title: str,
    vmax: float = 100.0,
    units: str = "mL/100 g/min",
) -> bytes:
    """Draw axial slices from foot to head on a scale that is the same for everybody.

    Parameters
    ----------
    cbf
        Shape (i, j, k), in ``units``.
    mask
        Shape (i, j, k); voxels outside are black.
    affine
        Shape (4, 4), voxel to millimetre.
    title
        Printed above the slices.
    vmax
        Upper end of the scale, which starts at 0.
    units
        Printed at the colour bar.

    Returns
    -------
    bytes
        A PNG file.
    """
    shown = np.where(np.asarray(mask) > 0, np.asarray(cbf, dtype=np.float32), np.nan)
    brain, values = _cropped(mask, shown, affine)
    indices = brain_planes(brain.data, "axial", MOST_SLICES)
    tiles = [plane_of(values.data, "axial", index) for index in indices]
    labels = [f"z {values.position('axial', index):+.0f}" for index in indices]
    width, height = pixel_size(values, "axial")
    return _tiled(tiles, labels, height / width, title=title, vmax=vmax, units=units)


def registration_overview(
    aslref: Numbers,
    mask: Numbers,
    gm_probability: Numbers,
    affine: npt.NDArray[np.floating],
) -> bytes:
    """Draw the reference image with the outlines of the brain mask and of the template's GM.

    Parameters
    ----------
    aslref, mask, gm_probability
        Shape (i, j, k) each; reference intensity (arbitrary), brain mask, grey matter fraction.
    affine
        Shape (4, 4), voxel to millimetre.

    Returns
    -------
    bytes
        A PNG file.
    """
    brain, reference, grey = _cropped(mask, aslref, affine, gm_probability)
    inside = reference.data[brain.data > 0.5]
    limits = (0.0, float(np.percentile(inside, 99.0)) or 1.0)
    plan = [("axial", index) for index in brain_planes(brain.data, "axial", 12)]
    for plane in ("coronal", "sagittal"):
        # The outermost of five planes touch the edge of the brain and show nothing.
        plan += [(plane, index) for index in brain_planes(brain.data, plane, 5)[1:4]]
    panels = [Panel(plane, index, pixel_size(reference, plane)) for plane, index in plan]
    figure, axes = dark_figure(panels, reference, COLUMNS)
    for ax, (plane, index) in zip(axes, plan, strict=True):
        _outlined(ax, plane, index, volumes=(reference, brain, grey), limits=limits)
    _outline_key(figure)
    return png_bytes(figure)


def motion_plot(confounds: "pd.DataFrame") -> bytes:
    """Draw translations, rotations and framewise displacement over the volumes.

    Parameters
    ----------
    confounds
        Columns of ``confounds`` in derivatives_spec/columns.yaml; mm and rad.

    Returns
    -------
    bytes
        A PNG file.

    Raises
    ------
    InputError
        If no volume has a motion estimate.
    """
    names = ["trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"]
    table = confounds[[*names, "framewise_displacement"]].astype(float)
    if not np.isfinite(table[names].to_numpy()).any():
        raise InputError(
            "no volume has a motion estimate.",
            where="desc-confounds_timeseries.tsv",
            fix="show the note that motion correction was skipped instead of the plot.",
        )
    figure = light_figure(10.0, 3.9)
    grid = figure.subplots(3, 1, sharex=True)
    figure.subplots_adjust(left=0.08, right=0.84, top=0.97, bottom=0.12, hspace=0.28)
    words = ("x (right)", "y (front)", "z (up)")
    _curves(grid[0], table[names[:3]].to_numpy(), words, "Translation (mm)")
    words = ("about x (nod)", "about y (tilt)", "about z (turn)")
    _curves(grid[1], np.degrees(table[names[3:]].to_numpy()), words, "Rotation (°)")
    fd = table[["framewise_displacement"]].to_numpy()
    _curves(grid[2], fd, ("framewise\ndisplacement",), "FD (mm)")
    grid[2].set_ylim(bottom=0.0)
    grid[2].set_xlabel("Volume")
    grid[2].xaxis.get_major_locator().set_params(integer=True)
    return png_bytes(figure)


def _cropped(
    mask: Numbers, first: Numbers, affine: npt.NDArray[np.floating], *others: Numbers
) -> list[Volume]:
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


def _tiled(
    tiles: Sequence[Numbers],
    labels: Sequence[str],
    aspect: float,
    *,
    title: str,
    vmax: float,
    units: str,
) -> bytes:
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    rows, columns = tiles[0].shape
    n_columns = min(COLUMNS, len(tiles))
    n_rows = -(-len(tiles) // n_columns)
    sheet = np.full((n_rows * rows, n_columns * columns), np.nan, dtype=np.float32)
    for number, tile in enumerate(tiles):
        top, left = (number // n_columns) * rows, (number % n_columns) * columns
        sheet[top : top + rows, left : left + columns] = tile
    width = 8.6 * n_columns / COLUMNS
    height = width * n_rows * rows * aspect / (n_columns * columns)
    # The bar needs room for its label even where there is but one row of slices.
    full_width, full_height = max(width + 1.1, 4.5), max(height, 2.4) + 0.5
    figure = Figure(figsize=(full_width, full_height), facecolor=DARK)
    ax = figure.add_axes((0.0, 0.0, width / full_width, height / full_height))
    ax.set_axis_off()
    cmap = colormaps["inferno"].with_extremes(bad="black", under=BELOW_ZERO, over="white")
    picture = ax.imshow(
        sheet, cmap=cmap, vmin=0.0, vmax=vmax, aspect=aspect, interpolation="nearest"
    )
    for number, label in enumerate(labels):
        row, column = divmod(number, n_columns)
        if column:
            ax.axvline(column * columns - 0.5, color="#30363c", lw=0.6)
        edge_letters(ax, (column * columns, row * rows), (columns, rows), EDGES["axial"], label)
    figure.text(0.1 / full_width, 1 - 0.2 / full_height, title, color=LIGHT, size=11, va="center")
    _colour_bar(figure, picture, (width + 0.15) / full_width, units)
    return png_bytes(figure)


def _colour_bar(figure: "Figure", picture: Any, left: float, units: str) -> None:
    width, height = figure.get_size_inches()
    tall = min(height - 1.0, 4.5)
    cax = figure.add_axes((left, 0.5 - tall / height / 2, 0.16 / width, tall / height))
    bar = figure.colorbar(picture, cax=cax, extend="both", extendfrac=0.05)
    bar.set_label(units, color=LIGHT, size=10)
    bar.ax.tick_params(colors=LIGHT, labelsize=9)
    bar.outline.set_edgecolor(LIGHT)
    bar.ax.text(0.5, -0.065, "< 0", transform=bar.ax.transAxes, color="#8fb0d6", size=8,
                ha="center", va="top")  # fmt: skip


def _outlined(
    ax: "Axes",
    plane: str,
    index: int,
    *,
    volumes: tuple[Volume, Volume, Volume],
    limits: tuple[float, float],
) -> None:
    reference, brain, grey = volumes
    image = plane_of(reference.data, plane, index)
    rows, columns = image.shape
    width, height = pixel_size(reference, plane)
    ax.imshow(image, cmap="gray", vmin=limits[0], vmax=limits[1], aspect=height / width,
              interpolation="nearest")  # fmt: skip
    for volume, colour, thickness in ((grey, GM_COLOUR, 0.7), (brain, MASK_COLOUR, 1.1)):
        outline = plane_of(volume.data, plane, index)
        if outline.min() < 0.5 < outline.max():
            ax.contour(outline, levels=[0.5], colors=[colour], linewidths=[thickness])
    label = f"{'xyz'['sca'.index(plane[0])]} {reference.position(plane, index):+.0f}"
    edge_letters(ax, (0, 0), (columns, rows), EDGES[plane], label)


MASK_COLOUR = "#35d0ff"
GM_COLOUR = "#ffb000"


def _outline_key(figure: "Figure") -> None:
    from matplotlib.lines import Line2D

    lines = [
        Line2D([], [], color=MASK_COLOUR, lw=1.6, label="brain mask"),
        Line2D([], [], color=GM_COLOUR, lw=1.2, label="grey matter of the registered template"),
    ]
    figure.legend(handles=lines, loc="upper left", ncols=2, frameon=False, labelcolor=LIGHT,
                  fontsize=9, borderaxespad=0.2)  # fmt: skip


def _curves(
    ax: "Axes", values: npt.NDArray[np.floating], words: Sequence[str], label: str
) -> None:
    for column, (word, style) in enumerate(zip(words, ("-", "--", ":"), strict=False)):
        ax.plot(values[:, column], linestyle=style, marker=".", markersize=4, lw=1.2, label=word)
    ax.set_ylabel(label)
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.08), frameon=False, fontsize=8)
    light_axes(ax)
