"""Constants of ASL quantification, with the source of each. Times in seconds, field in tesla."""

from __future__ import annotations

PARTITION_COEFFICIENT = 0.9
"""Blood-brain partition coefficient λ, mL/g (Alsop 2015, doi:10.1002/mrm.25197)."""

LABELING_EFFICIENCY = {"PCASL": 0.85, "PASL": 0.98, "CASL": 0.68}
"""Labelling efficiency α without background suppression (Alsop 2015; CASL: Wang 2005)."""

SUPPRESSION_EFFICIENCY = 0.95
"""Factor on α for each background suppression pulse (Garcia 2005, doi:10.1002/mrm.20556)."""

T1_TISSUE = 1.3
"""T1 of tissue at 3 T, s, for the recovery of M0 between excitations."""

T2_STAR_TISSUE = 0.05
"""T2* of tissue at 3 T, s, used only where M0 and ASL images differ in echo time (our choice)."""

FULL_RECOVERY_TR = 5.0
"""M0 with a TR of at least this, s, is taken as fully relaxed (Alsop 2015)."""

CBF_UNIT = 6000.0
"""mL/g/s to mL/100 g/min."""

LEAST_M0 = 0.1
"""Fraction of the brain's median M0 below which a voxel has none: air, or a lost signal, by which
noise would be divided (our choice)."""

M0_SMOOTHING_FWHM = 5.0
"""FWHM of the Gaussian that smooths M0 inside the mask, mm (Alsop 2015 asks for smoothing)."""

HAEMATOCRIT_RANGE = (0.1, 0.7)
"""A fraction of volume; beyond it nobody lives, or it is a percentage."""

BLOOD_T1_BY_SEX = {"F": 1.908, "M": 1.785}
"""T1 of arterial blood of healthy adults at 3 T, s (Li 2017, doi:10.1002/mrm.26325)."""

BLOOD_T1_ADULTS = 1.841
"""The same, where sex is not known (Li 2017)."""

_BLOOD_T1 = {1.5: 1.35, 3.0: 1.65, 7.0: 2.087}


def blood_t1(field_strength: float) -> float:
    """Return T1 of arterial blood, s.

    1.35 s at 1.5 T and 1.65 s at 3 T (Alsop 2015), 2.087 s at 7 T (Zhang 2013); between and beyond
    them the line T1 = (110·B0 + 1316)/1000 of Zhang 2013, doi:10.1002/mrm.24550.

    Parameters
    ----------
    field_strength
        B0 in tesla, positive. Scanners write 2.89 or 2.9 for 3 T: within 0.2 T the nominal
        field is meant.

    Examples
    --------
    >>> blood_t1(3), blood_t1(2.89)
    (1.65, 1.65)
    >>> round(blood_t1(5), 3)
    1.866
    """
    if not field_strength > 0:
        raise ValueError(f"field strength must be positive, got {field_strength}")
    field = nominal_field(field_strength)
    return _BLOOD_T1.get(field, (110 * field + 1316) / 1000)


def nominal_field(field_strength: float) -> float:
    """Return 1.5, 3 or 7 T for what lies within 0.2 T of it, else the field strength itself.

    Examples
    --------
    >>> nominal_field(2.89), nominal_field(5)
    (3.0, 5.0)
    """
    near = [nominal for nominal in _BLOOD_T1 if abs(field_strength - nominal) <= 0.2]
    return near[0] if near else float(field_strength)


def blood_t1_from_haematocrit(
    haematocrit: float, field_strength: float = 3.0, oxygenation: float = 0.97
) -> float:
    """Return T1 of blood, s, from haematocrit: Hales 2016, doi:10.1177/0271678X15605856.

    Parameters
    ----------
    haematocrit
        Fraction, 0.1 to 0.7; a percentage is refused, not rescaled.
    field_strength
        B0 in tesla, 1.5 to 7.
    oxygenation
        Fraction of saturation Y; arterial by default.

    Notes
    -----
    With fₑ = 0.7H/(0.7H + 0.95(1 − H)), the water in erythrocytes, 1/T1 is
    fₑ(1.099 − 0.057·B0 + 0.033·5.15(1 − Y)) + (1 − fₑ)(0.496 − 0.023·B0); 0.108 s is added for
    blood in the body. It is longer than `blood_t1` at a usual haematocrit, so CBF is lower.

    Examples
    --------
    >>> round(blood_t1_from_haematocrit(0.43), 2)
    1.75
    """
    limits = {
        "haematocrit": (haematocrit, *HAEMATOCRIT_RANGE),
        "field strength": (field_strength, 1.5, 7.0),
        "oxygenation": (oxygenation, 0.0, 1.0),
    }
    for name, (value, low, high) in limits.items():
        if not low <= value <= high:
            raise ValueError(f"{name} must be from {low} to {high}, got {value}")
    cells = 0.7 * haematocrit / (0.7 * haematocrit + 0.95 * (1 - haematocrit))
    rate_cells = 1.099 - 0.057 * field_strength + 0.033 * 5.15 * (1 - oxygenation)
    rate_plasma = 0.496 - 0.023 * field_strength
    return 1 / (cells * rate_cells + (1 - cells) * rate_plasma) + 0.108


ADULT_AGE = 18
_ADULT_AGES = (ADULT_AGE, 25, 35, 45, 55, 65, 75)
_ADULT_HAEMATOCRIT = {
    "F": (0.414, 0.418, 0.420, 0.425, 0.437, 0.432, 0.431),
    "M": (0.467, 0.470, 0.466, 0.465, 0.461, 0.458, 0.451),
}


def mean_haematocrit(age: float, sex: str) -> float:
    """Return the mean haematocrit of adults of an age and sex, a fraction.

    Of the survey of the United States 1960–62 (Devine 1967, NCHS series 11 no. 24), as Hales 2016
    and public code use it; the survey itself was not read.

    Parameters
    ----------
    age
        Years, at least 18.
    sex
        F or M.

    Examples
    --------
    >>> mean_haematocrit(30, "F"), mean_haematocrit(80, "M")
    (0.418, 0.451)
    """
    if not age >= _ADULT_AGES[0] or sex not in _ADULT_HAEMATOCRIT:
        raise ValueError(f"haematocrit is tabulated for adults, F or M; got {age} years, {sex!r}")
    return _ADULT_HAEMATOCRIT[sex][sum(age >= first for first in _ADULT_AGES) - 1]


def suppressed_efficiency(efficiency: float, pulses: int) -> float:
    """Return α·0.95^N, the labelling efficiency after N background suppression pulses.

    Examples
    --------
    >>> round(suppressed_efficiency(0.85, 4), 4)
    0.6923
    """
    if pulses < 0:
        raise ValueError(
            f"number of background suppression pulses must be 0 or more, got {pulses}"
        )
    return float(efficiency * SUPPRESSION_EFFICIENCY**pulses)
