"""Blank figures, letters on pictures and the way to PNG bytes; no pyplot, no global state."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cereflow_bids.report.planes import Volume, plane_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DARK = "black"
LIGHT = "#e8e8e8"
INK = "#1f2933"
DPI = 130


@dataclass(frozen=True)
class Panel:
    """One plane in a picture: which, where along its axis, and its pixel size (w, h) in mm."""

    plane: str
    index: int
    pixel: tuple[float, float]


def dark_figure(
    panels: Sequence[Panel], volume: Volume, columns: int
) -> tuple["Figure", list["Axes"]]:
    """Return a black figure with one axes per panel, row by row, each row as tall as it needs.

    Parameters
    ----------
    panels
        What will be drawn; a change of the kind of plane after a full row starts a new height.
    volume
        The volume that the planes are cut from.
    columns
        Panels in a row.
    """
    from matplotlib.figure import Figure

    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    cell = 10.0 / columns
    heights = [max(_height_ratio(panel, volume) for panel in row) * cell for row in rows]
    total = sum(heights) + 0.35
    figure = Figure(figsize=(10.0, total), facecolor=DARK)
    axes, top = [], total - 0.35
    for row, height in zip(rows, heights, strict=True):
        for column in range(len(row)):
            box = (column / columns, (top - height) / total, 1 / columns, height / total)
            axes.append(figure.add_axes(box))
            axes[-1].set_axis_off()
        top -= height
    return figure, axes


def _height_ratio(panel: Panel, volume: Volume) -> float:
    rows, columns = plane_of(volume.data, panel.plane, panel.index).shape
    return rows * panel.pixel[1] / (columns * panel.pixel[0])


def light_figure(width: float, height: float) -> "Figure":
    """Return a white figure (inches) for charts."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), facecolor="white")


def light_axes(ax: "Axes") -> None:
    """Give a chart a quiet frame and a light grid."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.grid(visible=True, color="#d9dee3", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=8, colors=INK)
    ax.yaxis.label.set_fontsize(9)
    ax.xaxis.label.set_fontsize(9)


def edge_letters(
    ax: "Axes",
    corner: tuple[int, int],
    size: tuple[int, int],
    letters: tuple[str, str],
    label: str,
) -> None:
    """Write the side letters and the slice position into a tile of an image.

    Parameters
    ----------
    ax
        Axes with the image in pixel coordinates.
    corner
        (column, row) of the upper left pixel of the tile.
    size
        (columns, rows) of the tile.
    letters
        Sides of the body at the left and at the right edge.
    label
        Position in mm, written in the lower left corner.
    """
    from matplotlib.patheffects import withStroke

    column, row = corner
    columns, rows = size
    # The brain is round: letters in the corners do not cover it. The dark rim is for bright scalp.
    left, right = column + 0.02 * columns - 0.5, column + 0.98 * columns - 0.5
    top, bottom = row + 0.02 * rows - 0.5, row + 0.98 * rows - 0.5
    rim = [withStroke(linewidth=2, foreground="black")]
    style: dict[str, Any] = {
        "color": LIGHT,
        "va": "top",
        "size": 8,
        "weight": "bold",
        "path_effects": rim,
    }
    ax.text(left, top, letters[0], ha="left", **style)
    ax.text(right, top, letters[1], ha="right", **style)
    ax.text(left, bottom, label, color="#b9c3cc", size=6.5, ha="left", va="bottom",
            path_effects=rim)  # fmt: skip


def png_bytes(figure: "Figure") -> bytes:
    """Return the figure as PNG, free of dates and software names, and opaque."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(DPI)
    # A matplotlibrc of the user's must not change a report.
    with mpl.rc_context({"font.family": ["DejaVu Sans"]}):
        canvas.draw()
    buffer = io.BytesIO()
    # Transparency would be packed, and unpacked for the PDF, beside the colours.
    picture = Image.fromarray(np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3]))
    picture.save(buffer, format="png", dpi=(DPI, DPI))
    return buffer.getvalue()
