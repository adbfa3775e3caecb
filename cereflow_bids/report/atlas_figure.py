"""Where the atlases lie on a scan: outlines of gyral regions, colours of arterial territories."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cereflow_bids.report.canvas import LIGHT, Panel, dark_figure, edge_letters, png_bytes
from cereflow_bids.report.mosaic import cropped
from cereflow_bids.report.planes import EDGES, Volume, brain_planes, pixel_size, plane_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Numbers = npt.NDArray[Any]

GYRAL_COLOUR = "#ffd54a"
# They stay apart over grey tissue in the eyes of the colour-blind, which a test measures.
TERRITORY_COLOURS = ("#56b4e9", "#e0670f", "#f0e442", "#00785a", "#7a3fb0")
_TINT = 0.55  # how much of a territory's colour covers the image
_DIMMED = 1.5  # the outlines are many and thin: bright tissue would drown them
_AXIAL = 4


@dataclass(frozen=True, eq=False)
class AtlasLabels:
    """Labels of both atlases on the grid of a run.

    Attributes
    ----------
    gyral, territories
        Shape (i, j, k) each; 0 outside all regions.
    names
        Table of the territories: index and name, the same name left and right.
    """

    gyral: Numbers
    territories: Numbers
    names: "pd.DataFrame"

    def colours(self) -> dict[str, tuple[str, list[int]]]:
        """Return colour and labels of each territory, by its name."""
        groups = self.names.groupby("name", sort=False)["index"]
        return {
            str(name): (colour, [int(label) for label in labels])
            for (name, labels), colour in zip(groups, TERRITORY_COLOURS, strict=True)
        }


def atlas_overview(
    aslref: Numbers, mask: Numbers, labels: AtlasLabels, affine: npt.NDArray[np.floating]
) -> bytes:
    """Draw the reference image with gyral outlines, and below with the territories in colours.

    Parameters
    ----------
    aslref, mask
        Shape (i, j, k) each; reference intensity (arbitrary) and brain mask.
    labels
        On the same grid.
    affine
        Shape (4, 4), voxel to millimetre.

    Returns
    -------
    bytes
        A PNG file.
    """
    brain, reference, gyral, fed = cropped(mask, aslref, affine, labels.gyral, labels.territories)
    plan = _planes(brain)
    panels = [Panel(plane, index, pixel_size(reference, plane)) for plane, index in plan]
    figure, axes = dark_figure([*panels, *panels], reference, len(panels))
    high = float(np.percentile(reference.data[brain.data > 0.5], 99.0)) or 1.0
    colours = labels.colours()
    table = _lookup(colours)
    for ax, panel in zip(axes[: len(panels)], panels, strict=True):
        _reference(ax, panel, reference, _DIMMED * high)
        edges = label_edges(plane_of(gyral.data, panel.plane, panel.index))
        _draw_edges(ax, edges, GYRAL_COLOUR, 0.6)
    for ax, panel in zip(axes[len(panels) :], panels, strict=True):
        _reference(ax, panel, reference, high)
        tile = plane_of(fed.data, panel.plane, panel.index)
        ax.imshow(table[tile.astype(int)], aspect=panel.pixel[1] / panel.pixel[0],
                  interpolation="nearest")  # fmt: skip
        _draw_edges(ax, label_edges(tile), "black", 0.5)
    _key(figure, colours)
    return png_bytes(figure)


def label_edges(tile: Numbers) -> npt.NDArray[np.float64]:
    """Return the sides of pixels at which a label ends, as lines in pixel coordinates.

    Parameters
    ----------
    tile
        Labels (rows, columns).

    Returns
    -------
    ndarray
        (n, 2, 2): both ends, each as (column, row).

    Examples
    --------
    >>> label_edges(np.array([[1, 2]]))
    array([[[ 0.5, -0.5],
            [ 0.5,  0.5]]])
    """
    down = np.argwhere(tile[:-1] != tile[1:])[:, ::-1].astype(float)
    along = np.argwhere(tile[:, :-1] != tile[:, 1:])[:, ::-1].astype(float)
    right, left, up = np.array([0.5, 0.5]), np.array([-0.5, 0.5]), np.array([0.5, -0.5])
    level = np.stack([down + left, down + right], axis=1)
    upright = np.stack([along + up, along + right], axis=1)
    return np.concatenate([level, upright])


def _planes(brain: Volume) -> list[tuple[str, int]]:
    """Return axial planes without the outermost, one coronal plane and a left sagittal one.

    Of a single slice there is nothing to see from the side.
    """
    axial = brain_planes(brain.data, "axial", _AXIAL + 2)
    coronal = brain_planes(brain.data, "coronal", 5)
    sagittal = brain_planes(brain.data, "sagittal", 7)
    plan = [
        *(("axial", index) for index in (axial[1:-1] if len(axial) > _AXIAL else axial)),
        ("coronal", coronal[len(coronal) // 2]),
        ("sagittal", sagittal[len(sagittal) // 3]),
    ]
    return [(p, index) for p, index in plan if min(plane_of(brain.data, p, index).shape) > 1]


def _reference(ax: "Axes", panel: Panel, reference: Volume, high: float) -> None:
    image = plane_of(reference.data, panel.plane, panel.index)
    rows, columns = image.shape
    ax.imshow(image, cmap="gray", vmin=0.0, vmax=high, aspect=panel.pixel[1] / panel.pixel[0],
              interpolation="nearest")  # fmt: skip
    axis = "xyz"["sca".index(panel.plane[0])]
    label = f"{axis} {reference.position(panel.plane, panel.index):+.0f}"
    edge_letters(ax, (0, 0), (columns, rows), EDGES[panel.plane], label)


def _draw_edges(ax: "Axes", edges: Numbers, colour: str, thickness: float) -> None:
    from matplotlib.collections import LineCollection

    ax.add_collection(
        LineCollection(list(edges), colors=colour, linewidths=thickness), autolim=False
    )


def _lookup(colours: Mapping[str, tuple[str, Sequence[int]]]) -> npt.NDArray[np.float64]:
    """Return red, green, blue and opacity by label."""
    from matplotlib.colors import to_rgba

    table = np.zeros((1 + max(label for _, labels in colours.values() for label in labels), 4))
    for colour, labels in colours.values():
        table[list(labels)] = to_rgba(colour, _TINT)
    return table


def _key(figure: "Figure", colours: Mapping[str, tuple[str, Sequence[int]]]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    entries = [
        Line2D([], [], color=GYRAL_COLOUR, lw=1.2, label="gyral regions (upper row)"),
        *(Patch(color=colour, label=name) for name, (colour, _) in colours.items()),
    ]
    figure.legend(handles=entries, loc="upper left", ncols=len(entries), frameon=False,
                  labelcolor=LIGHT, fontsize=8.5, borderaxespad=0.2, columnspacing=1.3,
                  handlelength=1.2)  # fmt: skip
