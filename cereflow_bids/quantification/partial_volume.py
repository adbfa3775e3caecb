"""CBF of pure grey and pure white matter, beside the map that is not corrected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from cereflow_bids.bids.parameters import COMMAND_LINE, DEFAULT, Parameter
from cereflow_bids.bids.run import AslRun
from cereflow_bids.perfusion.least_squares import fit_least_squares
from cereflow_bids.perfusion.partial_volume import KERNEL, linear_regression
from cereflow_bids.quantification.science import Science
from cereflow_bids.quantification.selection import Averages
from cereflow_bids.quantification.several_delays import normalised, scheme_of, slice_offsets
from cereflow_bids.quantification.tissues import Tissues

Float = NDArray[np.floating]
_FWHM_OVER_SD = 2.3548


@dataclass(frozen=True)
class Corrected:
    """Maps (x, y, z) by their key in derivatives_spec/outputs.yaml, and what made them."""

    maps: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    parameters: tuple[Parameter, ...] = ()
    notes: tuple[str, ...] = ()


def correct(
    run: AslRun,
    means: Averages,
    scale: ArrayLike,
    mask: NDArray[np.bool_],
    *,
    cbf: Float,
    tissues: Tissues | None,
    voxel_size: Sequence[float],
    science: Science,
) -> Corrected:
    """Correct for partial volume if the user asked for it.

    CBF of one delay is regressed on the tissue fractions; of several delays, the signal of each
    is, and CBF and ATT of each tissue are fitted to the result by least squares.

    Parameters
    ----------
    run, mask, voxel_size, science
        As for `quantify`.
    means
        Mean differences.
    scale
        M0 of tissue (x, y, z) or one number.
    cbf
        The map that is not corrected (x, y, z), mL/100 g/min.
    tissues
        Tissue fractions.
    """
    if science.partial_volume == "none":
        return Corrected()
    if tissues is None:
        raise ValueError(f"{run.stem}: tissue fractions were not handed over")
    sigma = science.point_spread / _FWHM_OVER_SD / np.asarray(voxel_size, dtype=np.float64)
    gm, wm = (ndimage.gaussian_filter(t, sigma) for t in (tissues.gm, tissues.wm))
    readout: Literal["2D", "3D"] = "3D" if run.labeling.slice_timing is None else "2D"
    axis = run.labeling.slice_axis

    def regressed(image: Float) -> list[Float]:
        # The flat kernel of a 2D readout lies in the plane of its slices.
        turned = [np.moveaxis(a, axis, -1) for a in (image, gm, wm, mask)]
        pure = linear_regression(*turned[:3], readout=readout, mask=turned[3])
        return [np.moveaxis(a, -1, axis) for a in pure]

    if run.labeling.several_delays:
        maps = _several(run, means, scale, mask, regressed, science)
    else:
        maps = dict(zip(("cbf_gm", "cbf_wm"), regressed(cbf), strict=True))
    fitted = (_FITTED,) if run.labeling.several_delays else ()
    return Corrected(
        {key: np.where(mask, image, 0) for key, image in maps.items()},
        _choices(science, readout),
        (_BESIDE, *fitted),
    )


_BESIDE = (
    "Partial volume correction: the maps of pure grey and white matter rest on the tissue "
    "fractions, and so on the registration; the map that is not corrected stands beside them."
)
_FITTED = (
    "CBF and ATT of pure tissue are fitted by least squares, whatever the estimator of the maps "
    "that are not corrected."
)


def why_not_corrected(science: Science) -> tuple[str, ...]:
    """Return what the report of a run without absolute CBF says of the correction."""
    if science.partial_volume == "none":
        return ()
    return ("Partial volume correction needs absolute CBF, so that it was not applied.",)


def _several(  # noqa: PLR0917
    run: AslRun,
    means: Averages,
    scale: ArrayLike,
    mask: NDArray[np.bool_],
    regressed: Any,
    science: Science,
) -> dict[str, Float]:
    ratio = normalised(means.deltam, scale)
    pure = [regressed(ratio[..., k]) for k in range(ratio.shape[-1])]
    scheme = scheme_of(run.labeling, means, science)
    offset = slice_offsets(run.labeling, mask.shape)
    maps: dict[str, Float] = {}
    for number, name in enumerate(("gm", "wm")):
        signal = np.stack([both[number] for both in pure], axis=-1)
        estimate = fit_least_squares(signal[mask], scheme, offset=offset[mask])
        for key, values in (("cbf", estimate.cbf), ("att", estimate.att)):
            image = np.zeros(mask.shape)
            image[mask] = values
            maps[f"{key}_{name}"] = image
    return maps


def _choices(science: Science, readout: Literal["2D", "3D"]) -> tuple[Parameter, ...]:
    kernel = "x".join(str(n) for n in KERNEL[readout])
    origin = DEFAULT if science.point_spread == Science().point_spread else COMMAND_LINE
    return (
        Parameter(
            "PartialVolumeCorrection",
            science.partial_volume,
            "",
            COMMAND_LINE,
            "Asllani 2008, doi:10.1002/mrm.21670",
        ),
        Parameter("PartialVolumeKernel", kernel, "voxels", DEFAULT, f"{readout} readout"),
        Parameter(
            "PointSpreadFWHM",
            science.point_spread,
            "mm",
            origin,
            "smoothing of the tissue fractions",
        ),
    )
