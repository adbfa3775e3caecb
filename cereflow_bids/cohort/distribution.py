"""Every run as a point, by scanner vendor and site."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cereflow_bids.report.canvas import light_axes, light_figure, png_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINT = "#1d4e89"
FLAGGED = "#c25700"


@dataclass(frozen=True)
class Point:
    """One run: the group it is drawn in, its measures by name, whether quality was flagged."""

    group: str
    measures: Mapping[str, float]
    flagged: bool


def distribution_plot(
    points: Sequence[Point], panels: Sequence[tuple[str, str, tuple[float, ...]]]
) -> bytes:
    """Draw one panel per measure with every run as a point and a bar at the group's median.

    Parameters
    ----------
    points
        The runs.
    panels
        (measure, label with unit, limits to draw as dashed lines) of each panel.

    Returns
    -------
    bytes
        A PNG file.
    """
    groups = sorted({point.group for point in points})
    figure = light_figure(10.0, 3.1 if len(groups) < 4 else 4.4)
    figure.subplots_adjust(left=0.07, right=0.985, top=0.88, wspace=0.28,
                           bottom=0.09 if len(groups) < 4 else 0.32)  # fmt: skip
    for ax, (measure, label, limits) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
    ):
        for limit in limits:
            ax.axhline(limit, color="#8796a5", linestyle="--", linewidth=0.9)
        for position, group in enumerate(groups):
            _column(ax, position, [p for p in points if p.group == group], measure)
        ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]), top=ax.get_ylim()[1] * 1.05)
        ax.set_title(label, fontsize=9, loc="left")
        ax.set_xticks(range(len(groups)), groups)
        ax.set_xlim(-0.6, len(groups) - 0.4)
        light_axes(ax)
        ax.grid(visible=False, axis="x")
        if len(groups) >= 4:
            ax.tick_params(axis="x", labelrotation=40)
    return png_bytes(figure)


def _column(ax: "Axes", position: int, members: Sequence[Point], measure: str) -> None:
    values = np.array([point.measures.get(measure, np.nan) for point in members])
    flagged = np.array([point.flagged for point in members])
    known = np.isfinite(values)
    if not known.any():
        ax.text(position, 0.5, "n/a", transform=ax.get_xaxis_transform(), ha="center", size=8)
        return
    places = position + spread(values)
    for chosen, marker, colour in ((~flagged, "o", POINT), (flagged, "^", FLAGGED)):
        pick = known & chosen
        ax.scatter(places[pick], values[pick], marker=marker, s=24, c=colour, alpha=0.85,
                   linewidths=0)  # fmt: skip
    if known.sum() > 1:
        ax.hlines(np.median(values[known]), position - 0.3, position + 0.3, color="black",
                  lw=1.6)  # fmt: skip


def spread(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return sideways shifts that keep neighbours apart, by rank and so always the same."""
    if len(values) == 1:
        return np.zeros(1)
    ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    width = min(0.22, 0.04 * len(values))
    return np.asarray(width * (((ranks * 0.618) % 1.0) - 0.5) * 2, dtype=np.float64)
