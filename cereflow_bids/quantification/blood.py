"""Which T1 of arterial blood a run is quantified with."""

from __future__ import annotations

from dataclasses import replace

from cereflow_bids.bids.parameters import COMMAND_LINE, DERIVED, Parameter
from cereflow_bids.bids.run import AslRun
from cereflow_bids.errors import InputError
from cereflow_bids.perfusion.constants import (
    ADULT_AGE,
    BLOOD_T1_ADULTS,
    BLOOD_T1_BY_SEX,
    blood_t1_from_haematocrit,
    mean_haematocrit,
    nominal_field,
)
from cereflow_bids.quantification.science import Science

_LI = "Li 2017, doi:10.1002/mrm.26325: six women and seven men, healthy adults, at 3 T"


def with_blood(run: AslRun, science: Science) -> AslRun:
    """Return the run with the T1 of blood that goes first, and a sentence where it needs one.

    First ``--t1-blood``, then ``--haematocrit``, then the haematocrit in the tables of the
    dataset, then sex, or age and sex, if that was asked for, then field strength, as read with
    the run.

    Parameters
    ----------
    run
        Validated metadata.
    science
        The user's choices.

    Raises
    ------
    InputError
        If T1 of blood cannot be had as asked, at this field strength.
    """
    own = run.person.haematocrit
    notes: tuple[str, ...] = ()
    if science.t1_blood is not None:
        t1 = Parameter("T1Blood", science.t1_blood, "s", COMMAND_LINE)
    elif science.haematocrit is not None:
        given = Parameter("Haematocrit", science.haematocrit, "", COMMAND_LINE)
        t1 = _of_haematocrit(run, given)
    elif own is not None:
        t1 = _of_haematocrit(run, own)
    elif science.t1_blood_from == "sex":
        t1, notes = _of_sex(run)
    elif science.t1_blood_from == "age-sex":
        t1, notes = _of_age_and_sex(run)
    else:
        t1 = run.labeling.t1_blood
        if run.person.haematocrit_missing:
            notes = (
                "The dataset has haematocrit, but not of this participant: T1 of blood is that "
                "of the field strength, which differs from what a usual haematocrit gives. Do "
                "not compare this CBF with that of the others.",
            )
    return replace(run, labeling=replace(run.labeling, t1_blood=t1), notes=(*run.notes, *notes))


def _field(run: AslRun) -> float:
    return nominal_field(float(run.acquisition.get("MagneticFieldStrength", 3.0)))


def _of_haematocrit(run: AslRun, haematocrit: Parameter) -> Parameter:
    try:
        value = blood_t1_from_haematocrit(haematocrit.value, _field(run))
    except ValueError as error:
        raise InputError(
            f"T1 of blood cannot be computed from haematocrit: {error}.",
            where=run.source,
            fix="give it with --t1-blood SECONDS.",
        ) from error
    note = (
        f"from a haematocrit of {haematocrit.value:g} ({haematocrit.origin}) at "
        f"{_field(run):g} T, Hales 2016, doi:10.1177/0271678X15605856"
    )
    return Parameter("T1Blood", round(value, 4), "s", DERIVED, note)


def _of_age_and_sex(run: AslRun) -> tuple[Parameter, tuple[str, ...]]:
    age, sex = run.person.age, run.person.sex
    try:
        mean = mean_haematocrit(float("nan") if age is None else age, sex)
    except ValueError:
        t1 = run.labeling.t1_blood
        missing = [] if sex else ["sex"]
        missing += [] if age is not None and age >= ADULT_AGE else ["age"]
        used = f"that of the field strength, {t1.value:g} s, not of age and sex"
        return t1, (_unknown(missing, used),)
    origin = f"mean of {_ADULTS[sex]} of that age, Devine 1967"
    return _of_haematocrit(run, Parameter("Haematocrit", mean, "", origin)), ()


_ADULTS = {"F": "women", "M": "men"}


def _unknown(missing: list[str], used: str) -> str:
    """Tell which columns of the tables say nothing of a participant, and what that leads to."""
    wanted = {"sex": "sex (F or M)", "age": "age (18 years or more)"}
    columns = " and ".join(wanted[name] for name in missing)
    return (
        f"Not known of this participant: {columns}. participants.tsv is missing, or says nothing "
        f"of it in its column {' and '.join(missing)}. T1 of blood is {used}. Do not compare this "
        "CBF with that of participants of whom it is known."
    )


def _of_sex(run: AslRun) -> tuple[Parameter, tuple[str, ...]]:
    if _field(run) != 3:
        raise InputError(
            f"--t1-blood-from sex knows T1 of blood at 3 T, this run is of {_field(run):g} T.",
            where=run.source,
            fix="use --t1-blood-from field, or give --t1-blood SECONDS.",
        )
    sex = run.person.sex
    value = BLOOD_T1_BY_SEX.get(sex, BLOOD_T1_ADULTS)
    who = _ADULTS.get(sex, "adults whose sex is not known")
    t1 = Parameter("T1Blood", value, "s", DERIVED, f"of {who}; {_LI}")
    used = f"the mean of women and men, {value:g} s (Li 2017)"
    return t1, () if sex else (_unknown(["sex"], used),)
