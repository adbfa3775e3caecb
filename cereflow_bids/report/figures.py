"""Pictures of a run: arrays and an affine in, PNG bytes out, the same bytes every time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cereflow_bids.errors import InputError
from cereflow_bids.report.canvas import (
    LIGHT,
    Panel,
    dark_figure,
    edge_letters,
    light_axes,
    light_figure,
    png_bytes,
)
from cereflow_bids.report.mosaic import COLUMNS, Scale, axial_mosaic, cropped
from cereflow_bids.report.planes import EDGES, Volume, brain_planes, pixel_size, plane_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Numbers = npt.NDArray[Any]


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
    scale = Scale(units, 0.0, vmax)
    return axial_mosaic(cbf, mask, affine, title=title, scale=scale)


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
    brain, reference, grey = cropped(mask, aslref, affine, gm_probability)
    inside = reference.data[brain.data > 0.5]
    limits = (0.0, float(np.percentile(inside, 99.0)) or 1.0)
    plan = _planned(brain.data)
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


def _planned(brain: Numbers) -> list[tuple[str, int]]:
    """Return the planes to show; of a single slice there is nothing to see from the side."""
    plan = []
    for plane in ("axial", "coronal", "sagittal"):
        if min(plane_of(brain, plane, 0).shape) < 2:
            continue
        indices = brain_planes(brain, plane, 12 if plane == "axial" else 5)
        if plane != "axial" and len(indices) > 2:
            # The outermost of five planes touch the edge of the brain and show nothing.
            indices = indices[1:4]
        plan += [(plane, index) for index in indices]
    return plan


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
        Line2D([], [], color=GM_COLOUR, lw=1.2, label="grey matter after registration"),
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
