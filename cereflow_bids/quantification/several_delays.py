"""CBF and arterial transit time of a run with several delays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cereflow_bids.bids.parameters import COMMAND_LINE, DEFAULT, DERIVED, Parameter
from cereflow_bids.bids.run import AslRun, Labeling
from cereflow_bids.perfusion.arterial import Arterial, with_arteries
from cereflow_bids.perfusion.estimate import Estimate, Flag
from cereflow_bids.perfusion.least_squares import fit_least_squares
from cereflow_bids.perfusion.scheme import LabelingScheme
from cereflow_bids.perfusion.single_delay import slice_delays
from cereflow_bids.perfusion.spatial import fit_spatial
from cereflow_bids.quantification.arteries import seek_arteries
from cereflow_bids.quantification.cross_checks import cross_checks
from cereflow_bids.quantification.equation import PARTITION
from cereflow_bids.quantification.science import Science
from cereflow_bids.quantification.selection import Averages

Float = NDArray[np.floating]


def scheme_of(labeling: Labeling, found: Averages, science: Science) -> LabelingScheme:
    """Return what the kinetic models need to know of a run."""
    flip = labeling.readout_flip_angle
    return LabelingScheme(
        kind=labeling.kind,
        delay=found.delays,
        duration=found.durations,
        efficiency=labeling.efficiency.value,
        t1_blood=labeling.t1_blood.value,
        repeats=found.repeats,
        model=science.kinetic_model,
        t1_tissue=science.t1_tissue,
        partition_coefficient=PARTITION.value,
        readout_flip_angle=None if flip is None else float(flip.value),
    )


def normalised(deltam: Float, m0: ArrayLike) -> Float:
    """Return λ·ΔM/M0 (x, y, z, n), NaN where M0 is not positive."""
    ratio = np.full(deltam.shape, np.nan)
    divisor = np.broadcast_to(np.asarray(m0, dtype=np.float64), deltam.shape[:3])[..., None]
    np.divide(PARTITION.value * deltam, divisor, out=ratio, where=divisor > 0)
    return ratio


@dataclass(frozen=True)
class Fit:
    """Maps (x, y, z) of a run with several delays, 0 outside the mask.

    Attributes
    ----------
    cbf, cbf_standard_error
        mL/100 g/min.
    further
        Other maps by their key in derivatives_spec/outputs.yaml.
    method, reference
        For sidecar and report.
    parameters
        Constants with their origin.
    notes
        Sentences for the report.
    arterial
        What arteries add to the mean differences (x, y, z, n), in the unit of the series; None
        where they are not modelled.
    """

    cbf: Float
    cbf_standard_error: Float | None
    further: dict[str, NDArray[Any]]
    method: str
    reference: str
    parameters: tuple[Parameter, ...]
    notes: tuple[str, ...]
    arterial: Float | None = None


def fit(
    run: AslRun,
    found: Averages,
    m0: ArrayLike,
    mask: NDArray[np.bool_],
    *,
    voxel_size: Sequence[float],
    science: Science,
    guide: Float | None = None,
) -> Fit:
    """Fit CBF and ATT.

    Parameters
    ----------
    run, mask, voxel_size, science
        As for `quantify`.
    found
        Mean differences per measurement.
    m0
        M0 of tissue (x, y, z), or one number.
    guide
        Image (x, y, z) whose contrast tells tissues apart, for the spatial prior; M0 as acquired.
    """
    scheme = scheme_of(run.labeling, found, science)
    ratio = normalised(found.deltam, m0)
    offset = slice_offsets(run.labeling, mask.shape)
    signal, shift = ratio[mask], offset[mask]
    estimate = fit_least_squares(signal, scheme, offset=shift)
    spread = None if found.spread is None else normalised(found.spread[..., None], m0)[mask, 0]
    arteries = seek_arteries(
        signal, scheme, estimate, mask, offset=shift, spread=spread, science=science
    )
    if arteries.found is not None:
        estimate = arteries.found.estimate
        ratio[mask] -= arteries.found.signal
    if science.estimator == "spatial":
        estimate = fit_spatial(
            ratio,
            mask,
            scheme,
            voxel_size=voxel_size,
            offset=offset,
            guide=None if guide is None else _logarithm(guide),
        )
        if arteries.found is not None:
            estimate = with_arteries(estimate, arteries.found)
    chosen = (*_choices(science, estimate, guide), *arteries.parameters)
    return Fit(
        cbf=_image(estimate.cbf, mask),
        cbf_standard_error=_image(estimate.cbf_standard_error, mask),
        further=_further(estimate, mask) | cross_checks(signal, mask, scheme, shift),
        method=_method(run, science),
        reference=_REFERENCES[science.kinetic_model],
        parameters=(*run.labeling.parameters(), _PARTITIONS[science.kinetic_model], *chosen),
        notes=(*_notes(found, estimate, scheme), *_WARNINGS[science.estimator], *arteries.notes),
        arterial=_arterial(arteries.found, m0, mask),
    )


def _arterial(found: Arterial | None, m0: ArrayLike, mask: NDArray[np.bool_]) -> Float | None:
    """Return what arteries add to the differences (x, y, z, n), in the unit of the series."""
    if found is None:
        return None
    image = np.zeros((*mask.shape, found.signal.shape[1]))
    image[mask] = found.signal / PARTITION.value
    return image * np.broadcast_to(np.asarray(m0, dtype=np.float64), mask.shape)[..., None]


_REFERENCES = {
    "consensus": "Buxton 1998, doi:10.1002/mrm.1910400308, with tissue T1 equal to blood T1 "
    "(Woods 2024, doi:10.1002/mrm.30091)",
    "full": "Buxton 1998, doi:10.1002/mrm.1910400308",
}


_PARTITIONS = {
    "consensus": PARTITION,
    # Unlike in the other equations it does not cancel where M0 is that of blood.
    "full": replace(PARTITION, note="T1' of tissue in the full model depends on it, too"),
}


_ESTIMATORS = {"spatial": "spatial Bayesian estimate", "least-squares": "least squares"}


def _method(run: AslRun, science: Science) -> str:
    form = {"consensus": "consensus", "full": "full Buxton"}
    kind = run.labeling.kind
    return (
        f"{form[science.kinetic_model]}, several delays, {kind}, {_ESTIMATORS[science.estimator]}"
    )


_SETTINGS = {
    "noise": ("NoiseStandardDeviation", "fraction of M0"),
    "cbf_smoothness": ("NeighbourDifferenceCBF", "mL/100 g/min"),
    "att_smoothness": ("NeighbourDifferenceATT", "s"),
}


_WARNINGS = {
    "spatial": (
        "The standard error of the arterial transit time is too small where the signal is weak, "
        "as in white matter: the estimate there leans on its neighbours.",
    ),
    "least-squares": (),
}


def _guide(science: Science, guide: Float | None) -> Parameter:
    """Return what tells the spatial prior of tissues, and why."""
    if science.spatial_guide == "none":
        note = "only CBF and ATT themselves tell where there are edges"
        return Parameter("SpatialPriorGuide", "none", "", DEFAULT, note)
    if guide is None:
        note = "there is no M0 image whose contrast could tell tissues apart"
        return Parameter("SpatialPriorGuide", "none", "", DERIVED, note)
    note = "edges are likelier where M0 differs; a small lesion that M0 does not show may be lost"
    return Parameter("SpatialPriorGuide", "M0", "", COMMAND_LINE, note)


def _logarithm(image: Float) -> Float:
    """Return an image whose contrasts are ratios: the same near a coil and far from it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(image > 0, np.log(image), np.nan)


def _choices(science: Science, estimate: Estimate, guide: Float | None) -> list[Parameter]:
    default = Science()
    chosen: list[Parameter] = []
    for name, key in (("KineticModel", "kinetic_model"), ("Estimator", "estimator")):
        value = getattr(science, key)
        origin = DEFAULT if value == getattr(default, key) else COMMAND_LINE
        chosen.append(Parameter(name, value, "", origin))
    if science.kinetic_model == "full":
        origin = DEFAULT if science.t1_tissue == default.t1_tissue else COMMAND_LINE
        chosen.append(Parameter("T1Tissue", science.t1_tissue, "s", origin))
    if science.estimator == "spatial":
        chosen.append(_guide(science, guide))
    note = "estimated from the data"
    chosen += [
        Parameter(name, float(f"{estimate.settings[key]:.4g}"), unit, DERIVED, note)
        for key, (name, unit) in _SETTINGS.items()
        if key in estimate.settings
    ]
    return chosen


def slice_offsets(labeling: Labeling, shape: Sequence[int]) -> Float:
    """Return what each slice of a 2D readout adds to the delays (x, y, z), s."""
    if labeling.slice_timing is None:
        return np.zeros(tuple(shape))
    offsets = slice_delays(0.0, labeling.slice_timing, labeling.slice_axis)
    return np.broadcast_to(offsets, tuple(shape))


def _image(values: Float, mask: NDArray[np.bool_]) -> Float:
    image = np.zeros(mask.shape)
    image[mask] = values
    return image


def _further(estimate: Estimate, mask: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    maps = {
        "att": estimate.att,
        "att_standard_error": estimate.att_standard_error,
        "fit_residual": estimate.residual,
    }
    if estimate.abv is not None and estimate.abv_standard_error is not None:
        maps |= {"abv": estimate.abv, "abv_standard_error": estimate.abv_standard_error}
    images: dict[str, NDArray[Any]] = {key: _image(values, mask) for key, values in maps.items()}
    flags = np.zeros(mask.shape, dtype=np.int32)
    flags[mask] = estimate.flag
    return images | {"fit_flags": flags}


def _before_first(scheme: LabelingScheme) -> str:
    """Tell what an ATT is that the measurements cannot tell from an earlier one."""
    if not scheme.pulsed:
        return f"ATT at or below the first delay ({min(scheme.delay):g} s)"
    gaps = (t - bolus for t, bolus in zip(scheme.delay, scheme.duration, strict=True))
    arrived = max(min(gaps), 0)
    return f"ATT at or below the first delay less the duration of the bolus ({arrived:g} s)"


def _notes(found: Averages, estimate: Estimate, scheme: LabelingScheme) -> tuple[str, ...]:
    notes = []
    if len(set(found.repeats)) > 1:
        repeats = ", ".join(str(n) for n in found.repeats)
        notes.append(f"Differences per measurement: {repeats}; each mean is weighted by them.")
    size = max(estimate.flag.size, 1)
    # In the consensus form CBF is the same whatever such an ATT is.
    uncertain = ", nor, in the full model, CBF that goes with it" if scheme.model == "full" else ""
    sentences = (
        (
            Flag.BEFORE_FIRST_DELAY,
            f"{_before_first(scheme)}, where it cannot be told more precisely" + uncertain,
        ),
        (Flag.AT_UPPER_BOUND, "ATT at the upper end of what was searched"),
        (Flag.NO_PERFUSION, "no positive perfusion signal, so that ATT says nothing"),
        (Flag.NOT_CONVERGED, "an estimate that did not converge"),
        (Flag.NO_DATA, "no finite signal or no M0"),
    )
    for flag, what in sentences:
        share = float(np.count_nonzero(estimate.flag & flag)) / size
        if share > 0:
            percent = f"{100 * share:.1f} %" if share >= 0.0005 else "Less than 0.1 %"
            notes.append(f"{percent} of the voxels in the mask have {what}.")
    return tuple(notes)
