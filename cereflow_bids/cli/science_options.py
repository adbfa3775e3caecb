"""The options of ``cereflow`` that change numbers, and what becomes of them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from cereflow_bids.cli.numbers import Number
from cereflow_bids.errors import UsageError
from cereflow_bids.perfusion.constants import HAEMATOCRIT_RANGE, M0_SMOOTHING_FWHM, T1_TISSUE

if TYPE_CHECKING:
    from cereflow_bids.quantification.science import Science

_not_negative = Number()
_positive = Number(above=True)
_seed = Number(whole=True)
_bolus = Number(0.1, 5, what="a number of seconds")
_blood_t1 = Number(0.5, 5, what="a number of seconds")
_haematocrit = Number(*HAEMATOCRIT_RANGE, what="a fraction")


def add_science(group: Any) -> None:
    """Add the choices that change numbers to a parser's group."""
    group.add_argument(
        "--quantification",
        choices=("consensus", "ge-product"),
        default="consensus",
        help="equation for CBF (default: %(default)s, Alsop 2015)",
    )
    group.add_argument(
        "--m0-smoothing",
        type=_not_negative,
        default=M0_SMOOTHING_FWHM,
        metavar="MM",
        help="FWHM of the smoothing of M0 (default: %(default)s mm)",
    )
    group.add_argument(
        "--m0-reference",
        choices=("voxelwise", "csf", "wm"),
        default="voxelwise",
        help="divide each voxel by its own M0, or all by one M0 of blood, from cerebrospinal "
        "fluid or white matter (default: %(default)s)",
    )
    group.add_argument(
        "--t1-tissue",
        type=_positive,
        default=T1_TISSUE,
        metavar="S",
        help="T1 of tissue for the TR correction of M0 and the full kinetic model "
        "(default: %(default)s s)",
    )
    _add_blood(group)
    _add_models(group)
    _add_differences(group)
    group.add_argument(
        "--random-seed",
        type=_seed,
        default=0,
        metavar="N",
        help="seed of registration; the same seed gives the same bits (default: %(default)s)",
    )


def _add_blood(group: Any) -> None:
    one = group.add_mutually_exclusive_group()
    one.add_argument(
        "--t1-blood",
        type=_blood_t1,
        metavar="S",
        help="T1 of arterial blood for all runs, instead of that of field strength or haematocrit",
    )
    one.add_argument(
        "--haematocrit",
        "--hematocrit",
        type=_haematocrit,
        metavar="FRACTION",
        help="haematocrit of all participants, from which T1 of blood is computed (Hales 2016); "
        "without it, a column haematocrit of participants.tsv is used for those it tells of",
    )
    group.add_argument(
        "--t1-blood-from",
        choices=("field", "sex", "age-sex"),
        default="field",
        help="where no haematocrit is known: T1 of blood by field strength; by sex at 3 T "
        "(Li 2017); or from the mean haematocrit of adults of that age and sex "
        "(default: %(default)s)",
    )


def _add_models(group: Any) -> None:
    group.add_argument(
        "--bolus-duration",
        type=_bolus,
        metavar="S",
        help="PASL that is not cut off (neither QUIPSS II nor Q2TIPS): duration of the bolus; "
        "without it such runs get relative perfusion only",
    )
    group.add_argument(
        "--kinetic-model",
        choices=("consensus", "full"),
        default="consensus",
        help="several delays: T1 of tissue as of blood, or the full Buxton model "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--estimator",
        choices=("spatial", "least-squares"),
        default="spatial",
        help="several delays: Bayesian with a spatial prior that the data tune, or each voxel "
        "on its own (default: %(default)s)",
    )
    group.add_argument(
        "--spatial-guide",
        choices=("none", "m0"),
        default="none",
        help="let the contrast of M0 tell the spatial estimate where tissues meet: less noise, "
        "but a small lesion that M0 does not show may be lost (default: %(default)s)",
    )
    group.add_argument(
        "--arterial",
        choices=("auto", "none"),
        default="auto",
        help="several delays: label in arteries, voxel by voxel where the data favour it, if "
        "there are five measurements or more; or none (default: %(default)s)",
    )


def _add_differences(group: Any) -> None:
    group.add_argument(
        "--outliers",
        choices=("none", "score", "scrub", "enable"),
        default="none",
        help="leave out differences that spoil the mean, by this method; each is listed with its "
        "reason (default: %(default)s)",
    )
    group.add_argument(
        "--partial-volume-correction",
        choices=("none", "linear-regression"),
        default="none",
        help="also write CBF of pure grey and pure white matter (Asllani 2008); the map that is "
        "not corrected is always written (default: %(default)s)",
    )
    group.add_argument(
        "--point-spread",
        type=_not_negative,
        default=0.0,
        metavar="MM",
        help="FWHM of the acquisition's blurring, by which the tissue fractions of the partial "
        "volume correction are smoothed (default: %(default)s mm)",
    )


def science_of(arguments: argparse.Namespace) -> Science:
    """Return the choices of a command line.

    Raises
    ------
    UsageError
        If two of them contradict each other.
    """
    from cereflow_bids.quantification.science import Science

    product = arguments.quantification == "ge-product"
    blood = arguments.t1_blood is not None or arguments.haematocrit is not None
    if product and (blood or arguments.t1_blood_from != "field"):
        raise UsageError(
            "--quantification ge-product has a T1 of blood of its own.",
            fix="leave out --t1-blood, --haematocrit and --t1-blood-from, or use consensus.",
        )
    _refuse_without_effect(arguments)
    return Science(
        quantification=arguments.quantification,
        m0_smoothing=arguments.m0_smoothing,
        m0_reference=arguments.m0_reference,
        t1_tissue=arguments.t1_tissue,
        t1_blood=arguments.t1_blood,
        haematocrit=arguments.haematocrit,
        t1_blood_from=arguments.t1_blood_from,
        bolus_duration=arguments.bolus_duration,
        kinetic_model=arguments.kinetic_model,
        estimator=arguments.estimator,
        spatial_guide=arguments.spatial_guide,
        arterial=arguments.arterial,
        outliers=arguments.outliers,
        partial_volume=arguments.partial_volume_correction,
        point_spread=arguments.point_spread,
        seed=arguments.random_seed,
    )


def _refuse_without_effect(arguments: argparse.Namespace) -> None:
    """Refuse what another choice makes useless for all runs."""
    if arguments.quantification == "ge-product" and arguments.t1_tissue != T1_TISSUE:
        raise UsageError(
            "--quantification ge-product has a T1 of tissue of its own.",
            fix="leave out --t1-tissue, or use consensus.",
        )
    given = arguments.t1_blood is not None or arguments.haematocrit is not None
    if given and arguments.t1_blood_from != "field":
        raise UsageError(
            "--t1-blood-from is for participants of whom nothing is known, and --t1-blood or "
            "--haematocrit says what counts for all.",
            fix="leave one of the two out.",
        )
    if arguments.point_spread and arguments.partial_volume_correction == "none":
        raise UsageError(
            "--point-spread is for the partial volume correction, which is not asked for.",
            fix="leave it out, or add --partial-volume-correction linear-regression.",
        )
    if arguments.m0_reference != "voxelwise" and arguments.m0_smoothing != M0_SMOOTHING_FWHM:
        raise UsageError(
            "--m0-smoothing is for an M0 of each voxel, and --m0-reference asks for one M0 of "
            "blood.",
            fix="leave one of the two out.",
        )
