"""Which differences enter the mean of each measurement, and why the others do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cereflow_bids.bids.parameters import COMMAND_LINE, DEFAULT, Parameter
from cereflow_bids.bids.run import AslRun
from cereflow_bids.errors import InputError
from cereflow_bids.perfusion.differences import mean_and_standard_error
from cereflow_bids.perfusion.enable import enable
from cereflow_bids.perfusion.outliers import OutlierResult, score
from cereflow_bids.perfusion.scrub import scrub
from cereflow_bids.quantification.differences import Differences
from cereflow_bids.quantification.science import Science
from cereflow_bids.quantification.tissues import Tissues

Float = NDArray[np.floating]
Bool = NDArray[np.bool_]
Method = Callable[[Float], OutlierResult]

FEWEST_FOR_SCORE = 10
"""Differences of one delay; by simulation 2.5·MAD/0.675 is exceeded by 9 % of 5 normal values, and
by 2.5 % of 30."""

LONGEST_LIST = 8
"""Rejected differences that the notes name one by one; the table of confounds has them all."""


@dataclass(frozen=True)
class Rejection:
    """Volumes (counted from 0) that are not in CBF, and why."""

    volumes: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class Averages:
    """The mean difference of each measurement.

    Attributes
    ----------
    deltam
        (x, y, z, n).
    repeats
        (n,) how many differences each mean is made of.
    standard_error
        (x, y, z) of a single measurement, SD/√N over what was kept; None where it is one
        difference, or several measurements.
    spread
        Root of the sum, over all differences kept, of their squared distance to the mean of
        their measurement (x, y, z); None without repeats.
    delays, durations
        (n,), s.
    rejected
        What was left out, with the reason.
    parameters, notes
        For the record.
    weights
        (v,) by which the volumes of the series are added up to the mean of a single measurement;
        None with several measurements, or where the mean is no such sum.
    """

    deltam: Float
    repeats: tuple[int, ...]
    standard_error: Float | None
    spread: Float | None
    delays: tuple[float, ...]
    durations: tuple[float, ...]
    rejected: tuple[Rejection, ...]
    parameters: tuple[Parameter, ...]
    notes: tuple[str, ...]
    weights: tuple[float, ...] | None = None


def average(
    run: AslRun,
    found: Differences,
    mask: Bool,
    *,
    science: Science,
    scale: ArrayLike | None = None,
    tissues: Tissues | None = None,
) -> Averages:
    """Average the differences of each measurement, without outliers if they are to be rejected.

    Parameters
    ----------
    run
        Validated metadata.
    found
        All differences.
    mask
        Brain mask (x, y, z).
    science
        Its `outliers` chooses the method.
    scale
        M0 (x, y, z) or one number, by which differences are divided before they are judged, so
        that coil sensitivity is not taken for tissue; None without M0.
    tissues
        Needed by every method but ``none``.

    Raises
    ------
    InputError
        If no difference of a measurement has data, or the method cannot be applied.
    """
    means, errors, repeats, rejected = [], [], [], []
    kept = np.empty(0, dtype=int)
    for number, delay in enumerate(found.delays):
        members = np.asarray(found.members(number))
        # They stand together: no copy of what may be all of the series.
        values = found.values[..., members[0] : members[-1] + 1]
        result = _judge(run, values, mask, delay, science, scale, tissues)
        kept = members[result.kept]
        if not kept.size:
            raise InputError(
                f"no difference of the delay of {delay:g} s has data.",
                where=run.source,
                fix="look at the volumes of the series.",
            )
        values = values if result.kept.all() else values[..., result.kept]
        mean, error = _mean(values, result, scale, science)
        means.append(mean)
        errors.append(error)
        repeats.append(int(kept.size))
        # The volumes of a cycle of time encoding are in the differences of the other blocks too.
        only = "" if run.labeling.encoding is None else f", for the block of {delay:g} s"
        rejected += [Rejection(found.volumes[members[k]], why + only) for k, why in result.reasons]
    rejected.sort(key=lambda one: one.volumes)
    return Averages(
        np.stack(means, axis=-1),
        tuple(repeats),
        errors[0] if len(errors) == 1 else None,
        _spread(errors, repeats),
        found.delays,
        found.durations,
        (*(Rejection((k,), "no partner of its own delay") for k in found.unpaired), *rejected),
        (*found.parameters, *_choice(science)),
        (*found.notes, *_notes(found, rejected, science)),
        _weights(run, found, kept, science),
    )


def _weights(
    run: AslRun, found: Differences, kept: NDArray[np.intp], science: Science
) -> tuple[float, ...] | None:
    """Return what each volume counts in the mean of the differences kept."""
    several = len(found.delays) > 1 or run.labeling.encoding is not None
    if several or science.outliers == "scrub":
        return None
    weights = np.zeros(len(run.context))
    for k in kept:
        share = 1 / (kept.size * (found.divisors[k] if found.divisors else 1.0))
        for volume, sign in zip(found.volumes[k], (1, -1), strict=False):
            weights[volume] += sign * share
    return tuple(float(weight) for weight in weights)


def _spread(errors: Sequence[Float | None], repeats: Sequence[int]) -> Float | None:
    squares = [
        error**2 * n * (n - 1)
        for error, n in zip(errors, repeats, strict=True)
        if error is not None
    ]
    return np.sqrt(sum(squares)) if squares else None


def _judge(  # noqa: PLR0917
    run: AslRun,
    values: Float,
    mask: Bool,
    delay: float,
    science: Science,
    scale: ArrayLike | None,
    tissues: Tissues | None,
) -> OutlierResult:
    """Apply the method to the differences of one measurement."""
    empty = _without_data(values, mask)
    if science.outliers == "none":
        kept = np.array([k not in empty for k in range(values.shape[-1])])
        return OutlierResult(np.empty(0), kept, tuple(empty.items()))
    if tissues is None:
        raise ValueError(f"{run.stem}: tissue fractions were not handed over")
    fractions = (tissues.gm, tissues.wm, tissues.csf, mask)
    methods: dict[str, Callable[..., OutlierResult]] = {
        "score": score,
        "scrub": scrub,
        "enable": partial(
            enable,
            delay=delay,
            field_strength=run.acquisition.get("MagneticFieldStrength", 3.0),
        ),
    }
    # ENABLE measures noise outside the brain, where M0 is extrapolated.
    judged = values if scale is None or science.outliers == "enable" else _over(values, scale)
    try:
        return methods[science.outliers](judged, *fractions)
    except ValueError as error:
        raise InputError(
            f"--outliers {science.outliers} cannot be applied: {error}.",
            where=run.source,
            fix="use --outliers none for this run.",
        ) from error


def _without_data(values: Float, mask: Bool) -> dict[int, str]:
    """Differences of which most of the brain is not finite: they would take all others along."""
    if not mask.any():
        return {}
    share = np.isfinite(values[mask]).mean(axis=0)
    return {
        int(k): f"only {100 * share[k]:.0f} % of its voxels in the brain have a value"
        for k in np.flatnonzero(share < 0.5)
    }


def _over(values: Float, scale: ArrayLike) -> Float:
    # All differences at once: in their own precision, as memory is short.
    divisor = np.broadcast_to(np.asarray(scale, values.dtype), values.shape[:3])[..., None]
    ratio = np.full(values.shape, np.nan, values.dtype)
    np.divide(values, divisor, out=ratio, where=divisor > 0)
    return ratio


def _mean(
    kept: Float, result: OutlierResult, scale: ArrayLike | None, science: Science
) -> tuple[Float, Float | None]:
    """Return the mean of one measurement and its standard error."""
    mean, error = mean_and_standard_error(kept)
    if science.outliers == "scrub":
        # SCRUB's mean is no plain mean; outside the brain there is none.
        robust = result.mean if scale is None else result.mean * np.asarray(scale)
        mean = np.where(np.isfinite(robust), robust, mean)
    return mean, None if kept.shape[-1] == 1 else error


def _choice(science: Science) -> tuple[Parameter, ...]:
    origin = DEFAULT if science.outliers == Science().outliers else COMMAND_LINE
    note = {
        "none": "all differences with data were averaged",
        "score": "Dolui 2017, doi:10.1002/jmri.25436",
        "scrub": "Dolui 2016, ISMRM 24, 2880, after SCORE",
        "enable": "Shirzadi 2018, doi:10.1002/jmri.25807",
    }[science.outliers]
    return (Parameter("OutlierRejection", science.outliers, "", origin, note),)


def _notes(found: Differences, rejected: list[Rejection], science: Science) -> tuple[str, ...]:
    notes = []
    if found.unpaired:
        which = ", ".join(str(k) for k in found.unpaired)
        notes.append(f"Volumes without a partner were left out (counted from 0): {which}.")
    if rejected:
        how = "" if science.outliers == "none" else f" ({science.outliers.upper()})"
        notes.append(
            f"{len(rejected)} of {len(found.volumes)} differences were left out{how}; the table "
            "of confounds names each with its reason."
        )
    for one in rejected[:LONGEST_LIST]:
        which = " and ".join(str(k) for k in one.volumes)
        word = "Volumes" if len(one.volumes) > 1 else "Volume"
        notes.append(f"{word} {which} (counted from 0): {one.reason}.")
    fewest = min(len(found.members(k)) for k in range(len(found.delays)))
    if science.outliers in ("score", "scrub") and 1 < fewest < FEWEST_FOR_SCORE:
        notes.append(
            f"SCORE judged {fewest} differences of one delay: of fewer than {FEWEST_FOR_SCORE} "
            "its first step also leaves out 5 to 10 % of good ones."
        )
    if science.outliers != "none" and fewest == 1:
        notes.append("A measurement of one difference has nothing to compare it with.")
    return tuple(notes)
