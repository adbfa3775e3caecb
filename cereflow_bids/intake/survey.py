"""Whose studies the inputs hold: one small record per patient and examination."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from cereflow_bids.intake import heuristic
from cereflow_bids.intake.headers.series import Patient, Series
from cereflow_bids.intake.privacy import anonymous


@dataclass(eq=False)
class Examination:
    """One study of one patient, over however many inputs.

    Attributes
    ----------
    inputs
        Positions of the inputs that hold parts of it.
    series
        Digest of each series' UID → digests of what each input has of it.
    has_asl
        Whether one of its series is ASL.
    """

    patient: Patient
    study_uid: str
    date: str
    inputs: list[int] = field(default_factory=list)
    series: dict[str, set[str]] = field(default_factory=dict)
    has_asl: bool = False

    @property
    def where(self) -> str:
        """What messages call the study by."""
        listed = ", ".join(str(position) for position in self.inputs)
        return f"input{'s' if len(self.inputs) > 1 else ''} {listed}"

    @property
    def digest(self) -> str:
        """What the study consists of: equal if and only if the same images are given again."""
        parts = sorted(part for parts in self.series.values() for part in parts)
        return sha256("".join(parts).encode()).hexdigest()[:24]

    def __repr__(self) -> str:
        return f"Examination({self.where})"


def add(found: dict[str, Examination], series: Sequence[Series], position: int) -> None:
    """Add what input `position` holds to `found`, patient and study → examination."""
    for one in series:
        key = f"{one.patient.key}\0{one.study_uid}"
        study = found.setdefault(key, Examination(one.patient, one.study_uid, one.study_date))
        if position not in study.inputs:
            study.inputs.append(position)
        study.series.setdefault(anonymous(one.uid), set()).add(_content(one))
        study.has_asl = study.has_asl or heuristic.role(one).kind == heuristic.rules().ASL


def _content(series: Series) -> str:
    return anonymous("".join(sorted(image.uid for image in series.images)))


def by_patient(found: dict[str, Examination]) -> dict[str, list[Examination]]:
    """Return the examinations of each patient in the order of their dates."""
    patients: dict[str, list[Examination]] = {}
    for study in found.values():
        patients.setdefault(study.patient.key, []).append(study)
    for studies in patients.values():
        studies.sort(key=lambda one: (one.date, one.study_uid))
    return patients
