"""The pictures of a run, drawn from its derivatives and kept beside the report."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cereflow_bids.bids.derivatives import DerivativeWriter
from cereflow_bids.errors import InputError
from cereflow_bids.regions.atlas import GYRAL, TERRITORIES, packaged_atlas
from cereflow_bids.report.atlas_figure import AtlasLabels, atlas_overview
from cereflow_bids.report.figures import cbf_mosaic, motion_plot, registration_overview
from cereflow_bids.report.mosaic import UNDEFINED, Scale, axial_mosaic
from cereflow_bids.report.runs import REDO, RunRecord

if TYPE_CHECKING:
    import pandas as pd

RELATIVE_MAXIMUM = 2.0
ATT_MAXIMUM = 3.0
ABV_MAXIMUM = 3.0


def draw_run_figures(writer: DerivativeWriter, record: RunRecord) -> dict[str, bytes]:
    """Draw the pictures of a finished run and write them to its figures folder.

    They are drawn anew each time: a picture that is older than its map is worse than none.

    Parameters
    ----------
    writer
        Knows where the images lie and where the pictures go.
    record
        A run whose state is ``done``.

    Returns
    -------
    dict
        PNG bytes by ``cbf`` (absolute or relative map), ``registration``, ``att`` of several
        delays, ``abv`` where arteries were sought, ``atlas`` and, where motion was estimated,
        ``motion``.
    """
    run = record.run
    mask, affine = load_image(writer, "brain_mask", run)
    key = "cbf_relative" if record.refused else "cbf"
    values, _ = load_image(writer, key, run)
    if record.refused:
        title, vmax, units = "Relative perfusion", RELATIVE_MAXIMUM, "× mean of the brain"
    else:
        title, vmax, units = "Cerebral blood flow", 100.0, "mL/100 g/min"
    title = f"{title}  ·  {run}"
    figures = {"cbf": cbf_mosaic(values, mask, affine, title=title, vmax=vmax, units=units)}
    writer.write_bytes(f"figure_{key}", figures["cbf"], run=run)
    if record.has_att:
        att, _ = load_image(writer, "att", run)
        figures["att"] = cbf_mosaic(
            att,
            mask,
            affine,
            title=f"Arterial transit time  ·  {run}",
            vmax=ATT_MAXIMUM,
            units="s",
        )
        writer.write_bytes("figure_att", figures["att"], run=run)
    if record.has_abv:
        figures["abv"] = _arteries(writer, run, mask, affine)
    reference, _ = load_image(writer, "aslref", run)
    grey, _ = load_image(writer, "gm_probability", run)
    figures["registration"] = registration_overview(reference, mask, grey, affine)
    writer.write_bytes("figure_registration", figures["registration"], run=run)
    figures["atlas"] = atlas_overview(reference, mask, _atlas_labels(writer, run), affine)
    writer.write_bytes("figure_atlas", figures["atlas"], run=run)
    if record.confounds is not None and motion_estimated(record.confounds):
        figures["motion"] = motion_plot(record.confounds)
        writer.write_bytes("figure_motion", figures["motion"], run=run)
    return figures


def _arteries(
    writer: DerivativeWriter, run: str, mask: npt.NDArray[Any], affine: npt.NDArray[Any]
) -> bytes:
    """Draw arterial blood volume in percent; where none is included it is not 0 but unknown."""
    volume = np.asarray(load_image(writer, "abv", run)[0], dtype=np.float64)
    scale = Scale("%", 0.0, ABV_MAXIMUM, below=UNDEFINED, below_label="none", undefined=UNDEFINED)
    picture = axial_mosaic(
        np.where(volume > 0, 100 * volume, np.nan),
        mask,
        affine,
        title=f"Arterial blood volume  ·  {run}",
        scale=scale,
    )
    writer.write_bytes("figure_abv", picture, run=run)
    return picture


def _atlas_labels(writer: DerivativeWriter, run: str) -> AtlasLabels:
    gyral, territories = (
        load_image(writer, "atlas_labels", run, atlas=atlas)[0] for atlas in (GYRAL, TERRITORIES)
    )
    return AtlasLabels(gyral, territories, packaged_atlas(TERRITORIES).regions())


def motion_estimated(confounds: "pd.DataFrame") -> bool:
    """Tell whether any volume has a motion estimate."""
    return any(math.isfinite(value) for value in confounds["trans_x"])


def load_image(
    writer: DerivativeWriter, key: str, run: str, *, atlas: str = ""
) -> tuple[npt.NDArray[np.generic], npt.NDArray[Any]]:
    """Return data and affine of an image of a run; of one atlas where there are several.

    Raises
    ------
    InputError
        If it is missing.
    """
    import nibabel as nib

    path = writer.path(key, run=run, atlas=atlas)
    if not path.is_file():
        raise InputError("the image is missing.", where=path.name, fix=REDO)
    image = nib.load(path)
    return np.asarray(image.dataobj), image.affine  # type: ignore[attr-defined]
