"""From a run's metadata and images to CBF, with a record of every constant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.bids.parameters import Parameter
from cereflow_bids.bids.run import AslRun
from cereflow_bids.errors import InputError
from cereflow_bids.perfusion.differences import mean_and_standard_error, pair_volumes, subtract
from cereflow_bids.quantification.calibration import calibrate
from cereflow_bids.quantification.equation import PARTITION, choose_equation
from cereflow_bids.quantification.science import Science
from cereflow_bids.quantification.several_delays import fit, measure, pairing_notes

Float = NDArray[np.floating]


@dataclass(frozen=True)
class Perfusion:
    """Maps of one run, (x, y, z), 0 outside the mask.

    Attributes
    ----------
    deltam
        Mean control minus label.
    cbf, standard_error
        mL/100 g/min; None where absolute CBF is refused, or for the error of a single pair.
    relative
        ΔM over its mean in the mask, where absolute CBF is refused.
    m0
        M0 that CBF was divided by.
    n_pairs
        Pairs, or difference volumes, averaged.
    method, reference
        The equation and its source.
    parameters
        Every constant with its origin.
    notes
        Sentences for the report.
    refusal
        Why absolute CBF is refused.
    further
        Other maps by their key in derivatives_spec/outputs.yaml.
    """

    deltam: Float
    n_pairs: int
    method: str
    reference: str
    parameters: tuple[Parameter, ...]
    notes: tuple[str, ...]
    cbf: Float | None = None
    standard_error: Float | None = None
    relative: Float | None = None
    m0: Float | None = None
    refusal: str = ""
    further: Mapping[str, NDArray[Any]] = field(default_factory=dict)


def quantify(
    run: AslRun,
    series: Float,
    m0: Float | None,
    mask: NDArray[np.bool_],
    *,
    voxel_size: Sequence[float],
    science: Science,
) -> Perfusion:
    """Quantify one run.

    Parameters
    ----------
    run
        Validated metadata.
    series
        Volumes (x, y, z, n), realigned.
    m0
        Mean of the M0 images as acquired, on the same grid; the mean control where they stand in
        for M0; None for a number or where CBF is refused.
    mask
        Brain mask (x, y, z).
    voxel_size
        mm.
    science
        Choices that change numbers.
    """
    if run.labeling.several_delays:
        return _several_delays(run, series, m0, mask, voxel_size=voxel_size, science=science)
    repeats, notes = difference_volumes(run, series)
    deltam, deltam_error = mean_and_standard_error(repeats)
    if run.calibration.source == "refused":
        return _relative(run, deltam, mask, repeats.shape[-1], notes)
    scale, calibration, m0_map = calibrate(run, m0, mask, voxel_size, science)
    equation = choose_equation(run, science)
    single = repeats.shape[-1] < 2
    error = None if single else np.where(mask, equation.cbf(deltam_error, scale), 0)
    if single:
        notes += ("One difference only: the standard error of CBF is unknown.",)
    return Perfusion(
        deltam=deltam * mask,
        n_pairs=repeats.shape[-1],
        method=equation.method,
        reference=equation.reference,
        parameters=(*_applied(equation.parameters, run), *calibration),
        notes=(*run.notes, *notes),
        cbf=np.where(mask, equation.cbf(deltam, scale), 0),
        standard_error=error,
        m0=m0_map,
    )


def _several_delays(
    run: AslRun,
    series: Float,
    m0: Float | None,
    mask: NDArray[np.bool_],
    *,
    voxel_size: Sequence[float],
    science: Science,
) -> Perfusion:
    """Quantify a run with several delays; parameters as for `quantify`."""
    if science.quantification == "ge-product":
        raise InputError(
            "--quantification ge-product knows one delay, this run has several.",
            where=run.source,
            fix="use --quantification consensus.",
        )
    found = measure(run, series)
    deltam = np.average(found.deltam, axis=-1, weights=found.repeats)
    if run.calibration.source == "refused":
        mean = "The relative map is of the mean difference over all delays."
        return _relative(run, deltam, mask, sum(found.repeats), (mean, *pairing_notes(found)))
    scale, calibration, m0_map = calibrate(run, m0, mask, voxel_size, science)
    result = fit(run, found, scale, mask, voxel_size=voxel_size, science=science)
    return Perfusion(
        deltam=deltam * mask,
        n_pairs=sum(found.repeats),
        method=result.method,
        reference=result.reference,
        # T1 of tissue may enter both the model and the recovery of M0.
        parameters=tuple(dict.fromkeys((*_applied(result.parameters, run), *calibration))),
        notes=(*run.notes, *result.notes),
        cbf=result.cbf,
        standard_error=result.cbf_standard_error,
        m0=m0_map,
        further=result.further,
    )


def _applied(parameters: Sequence[Parameter], run: AslRun) -> list[Parameter]:
    """Leave out λ where M0 is that of blood: it cancels."""
    blood = run.calibration.source == "estimate"
    return [p for p in parameters if not (blood and p == PARTITION)]


def difference_volumes(run: AslRun, series: Float) -> tuple[Float, tuple[str, ...]]:
    """Return the differences (x, y, z, p) of a run and the notes on what was left out."""
    volumes = series if series.ndim == 4 else series[..., None]
    deltam = run.volumes("deltam")
    if deltam:
        return volumes[..., deltam].astype(np.float64), ()
    control, label, unpaired = pair_volumes(run.context)
    if not control.size:
        raise InputError(
            "there is no control-label pair.", where=run.source, fix="correct aslcontext.tsv."
        )
    notes: tuple[str, ...] = ()
    if unpaired.size:
        which = ", ".join(str(k) for k in unpaired)
        notes = (f"Volumes without a partner were left out (counted from 0): {which}.",)
    return subtract(volumes, control, label), notes


def _relative(
    run: AslRun,
    deltam: Float,
    mask: NDArray[np.bool_],
    n_pairs: int,
    notes: tuple[str, ...],
) -> Perfusion:
    mean = float(np.nanmean(deltam[mask]))
    if mean <= 0:
        notes += (
            "The mean difference is not positive (control and label may be swapped): the relative "
            "map is scaled by its absolute mean.",
        )
    return Perfusion(
        deltam=deltam * mask,
        n_pairs=n_pairs,
        method="relative perfusion (difference over its mean in the brain)",
        reference="",
        parameters=tuple(run.labeling.parameters()),
        notes=(*run.notes, *notes),
        relative=np.where(mask, deltam / abs(mean), 0) if mean else np.full(deltam.shape, np.nan),
        refusal=run.calibration.refusal,
    )
