"""From a run's metadata and images to CBF, with a record of every constant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cereflow_bids.bids.parameters import Parameter
from cereflow_bids.bids.run import AslRun
from cereflow_bids.errors import InputError
from cereflow_bids.perfusion.plausibility import Finding
from cereflow_bids.quantification.blood import with_blood
from cereflow_bids.quantification.bolus import bolus_refusal, with_bolus
from cereflow_bids.quantification.calibration import Calibrated, calibrate
from cereflow_bids.quantification.differences import (
    Differences,
    check_contrast,
    check_decoding,
    find_differences,
)
from cereflow_bids.quantification.equation import PARTITION, choose_equation, notes_of_one_delay
from cereflow_bids.quantification.findings import (
    judge_m0,
    judge_order,
    judge_scale,
    m0_refusal,
    sentences,
)
from cereflow_bids.quantification.linear import Linear, linear_form
from cereflow_bids.quantification.m0_series import on_one_scale
from cereflow_bids.quantification.partial_volume import correct, why_not_corrected
from cereflow_bids.quantification.science import Science
from cereflow_bids.quantification.selection import Averages, Rejection, average
from cereflow_bids.quantification.several_delays import Fit, fit
from cereflow_bids.quantification.tissues import Tissues

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
    rejected
        Volumes that are in no mean, with the reason.
    findings
        What the images say against the metadata; the notes have it in words.
    calibration, selection
        Those of the constants that made M0 and the mean difference.
    linear
        CBF as a sum over volumes; None where it is none.
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
    rejected: tuple[Rejection, ...] = ()
    findings: tuple[Finding, ...] = ()
    calibration: tuple[Parameter, ...] = ()
    selection: tuple[Parameter, ...] = ()
    linear: Linear | None = None


def quantify(
    run: AslRun,
    series: Float,
    m0: Float | None,
    mask: NDArray[np.bool_],
    *,
    voxel_size: Sequence[float],
    science: Science,
    tissues: Tissues | None = None,
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
    tissues
        Tissue fractions, for what needs them: rejection of outliers, partial volume correction,
        judgement of scale.

    Raises
    ------
    InputError
        If the run cannot be quantified as asked.
    """
    _check(run, mask, science)
    run = with_bolus(with_blood(run, science), science)
    found = find_differences(run, series)
    check_decoding(run, found, mask if tissues is None else mask & (tissues.gm > 0.5))
    check_contrast(run, found, mask)
    findings = judge_order(run, found, mask, tissues)
    false_m0 = judge_m0(run, series, m0, found, mask)
    scaled = on_one_scale(run, series, found, mask)
    refusal = run.calibration.refusal or bolus_refusal(run) or scaled.refusal
    refusal = refusal or m0_refusal(run, false_m0)
    if refusal:
        means = average(run, scaled.found, mask, science=science, tissues=tissues)
        return _relative(run, means, mask, refusal, findings, science=science)
    calibrated = calibrate(run, m0, mask, voxel_size=voxel_size, science=science, tissues=tissues)
    return _absolute(
        run,
        scaled.found,
        replace(calibrated, acquired=m0),
        mask,
        findings,
        voxel_size=voxel_size,
        science=science,
        tissues=tissues,
    )


def _absolute(
    run: AslRun,
    found: Differences,
    calibrated: Calibrated,
    mask: NDArray[np.bool_],
    findings: tuple[Finding, ...],
    *,
    voxel_size: Sequence[float],
    science: Science,
    tissues: Tissues | None,
) -> Perfusion:
    scale = calibrated.scale
    means = average(run, found, mask, science=science, scale=scale, tissues=tissues)
    if run.labeling.several_delays:
        guide = calibrated.acquired if science.spatial_guide == "m0" else None
        result = fit(run, means, scale, mask, voxel_size=voxel_size, science=science, guide=guide)
    else:
        result = _one_delay(run, means, scale, mask, science)
    pure = correct(
        run,
        _of_tissue(means, result),
        scale,
        mask,
        cbf=result.cbf,
        tissues=tissues,
        voxel_size=voxel_size,
        science=science,
    )
    # What was found already explains a CBF out of range.
    findings = findings or judge_scale(run, result.cbf, mask, tissues)
    # λ cancels where M0 is that of blood.
    applied = [p for p in result.parameters if not (calibrated.of_blood and p == PARTITION)]
    used = (*applied, *calibrated.parameters, *means.parameters, *pure.parameters)
    told = (*calibrated.notes, *means.notes, *result.notes, *pure.notes)
    return Perfusion(
        deltam=np.where(mask, _overall(means), 0),
        n_pairs=sum(means.repeats),
        method=result.method,
        reference=result.reference,
        # T1 of tissue may enter both the model and the recovery of M0.
        parameters=tuple(dict.fromkeys(used)),
        notes=(*sentences(findings), *run.notes, *told),
        cbf=result.cbf,
        standard_error=result.cbf_standard_error,
        m0=calibrated.image,
        further={**result.further, **pure.maps},
        rejected=means.rejected,
        findings=findings,
        calibration=calibrated.parameters,
        selection=means.parameters,
        linear=linear_form(run, means, scale, science),
    )


def _check(run: AslRun, mask: NDArray[np.bool_], science: Science) -> None:
    """Refuse what no equation can be applied to."""
    if run.labeling.several_delays and science.quantification == "ge-product":
        raise InputError(
            "--quantification ge-product knows one delay, this run has several.",
            where=run.source,
            fix="use --quantification consensus.",
        )
    if not mask.any():
        raise InputError(
            "no voxel of the brain has a value in every volume.",
            where=run.source,
            fix="look at the series and at M0: is there a brain in all of them?",
        )


def _one_delay(
    run: AslRun,
    means: Averages,
    scale: ArrayLike,
    mask: NDArray[np.bool_],
    science: Science,
) -> Fit:
    """Quantify a run with one delay; `scale` is M0, other parameters as for `quantify`."""
    equation = choose_equation(run, science)
    error = means.standard_error
    return Fit(
        cbf=np.where(mask, equation.cbf(means.deltam[..., 0], scale), 0),
        cbf_standard_error=None
        if error is None
        else np.where(mask, equation.cbf(error, scale), 0),
        further={},
        method=equation.method,
        reference=equation.reference,
        parameters=equation.parameters,
        notes=notes_of_one_delay(science, alone=error is None),
    )


def _of_tissue(means: Averages, result: Fit) -> Averages:
    """Return the mean differences without what arteries add to them."""
    if result.arterial is None:
        return means
    return replace(means, deltam=means.deltam - result.arterial)


def _overall(means: Averages) -> Float:
    """Return the mean difference over all measurements (x, y, z)."""
    return np.asarray(np.average(means.deltam, axis=-1, weights=means.repeats))


def _relative(
    run: AslRun,
    means: Averages,
    mask: NDArray[np.bool_],
    refusal: str,
    findings: tuple[Finding, ...],
    *,
    science: Science,
) -> Perfusion:
    deltam, notes = _overall(means), (*means.notes, *why_not_corrected(science))
    mean = float(np.nanmean(deltam[mask]))
    if len(means.repeats) > 1:
        notes = ("The relative map is of the mean difference over all delays.", *notes)
    if mean <= 0:
        notes += (
            "The mean difference is not positive (control and label may be swapped): the relative "
            "map is scaled by its absolute mean.",
        )
    return Perfusion(
        deltam=np.where(mask, deltam, 0),
        n_pairs=sum(means.repeats),
        method="relative perfusion (difference over its mean in the brain)",
        reference="",
        parameters=(*run.labeling.parameters(), *means.parameters),
        notes=(*sentences(findings), *run.notes, *notes),
        relative=np.where(mask, deltam / abs(mean), 0) if mean else np.full(deltam.shape, np.nan),
        refusal=refusal,
        rejected=means.rejected,
        selection=means.parameters,
        findings=findings,
    )
