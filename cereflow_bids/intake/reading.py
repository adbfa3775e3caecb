"""From a series' headers to all that is needed of them later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cereflow_bids.errors import CereflowError, InputError
from cereflow_bids.intake import heuristic
from cereflow_bids.intake.headers.series import Series
from cereflow_bids.intake.parameters.labeling import Known, Labeling
from cereflow_bids.intake.privacy import anonymous, without_persons
from cereflow_bids.intake.vendors import READERS


@dataclass(frozen=True)
class LeftOut:
    """A series without a role; `related` if it belongs to a perfusion examination all the same."""

    number: int
    why: str
    rule: str
    related: bool


def read(series: Series) -> Known | LeftOut:
    """Decide what a series is for, and read its labelling if it is ASL."""
    role = heuristic.role(series)
    if role.kind is None:
        related = role.why != heuristic.rules().UNRELATED
        return LeftOut(series.number, role.why, role.rule, related)
    maker = heuristic.vendor(series) or ""
    is_perfusion = role.kind in (heuristic.rules().ASL, heuristic.rules().M0SCAN)
    labeling = _labeling(series, maker) if is_perfusion and maker in READERS else Labeling({})
    return Known(
        uid=anonymous(series.uid),
        number=series.number,
        kind=role.kind,
        rule=role.rule,
        why=role.why,
        vendor=maker,
        model=without_persons(series.model, series.header),
        software=without_persons(series.software, series.header),
        description=without_persons(series.description, series.header),
        acquisition_type=series.acquisition_type.upper(),
        repetition_time=series.repetition_time,
        labeling=_digested(labeling),
    )


def _digested(labeling: Labeling) -> Labeling:
    """Replace what serves comparison alone by digests: it can hold names, and may be kept."""
    part, prepared = labeling.part, labeling.preparation
    return replace(
        labeling,
        part=None if part is None else part._replace(group=anonymous(part.group)),
        preparation=anonymous(prepared) if prepared else "",
    )


def _labeling(series: Series, maker: str) -> Labeling:
    try:
        return READERS[maker](series)
    except CereflowError:
        raise
    except Exception as error:
        # What it says can quote a header.
        raise InputError(
            f"The header holds a value that cannot be read ({type(error).__name__}).",
            where=f"series {series.number}",
            fix="export the series again from the scanner; whatever has altered it damaged it.",
        ) from error


def choose(found: Sequence[Series], where: str) -> tuple[list[Series], list[Known], list[str]]:
    """Return the series of one study that have a role, what they are, and notes about others.

    Parameters
    ----------
    found
        All series of the study.
    where
        What messages call the study by.

    Raises
    ------
    InputError
        If none of them is ASL, or one that has a role is incomplete.
    """
    chosen, known, notes = [], [], []
    for series in found:
        what = read(series)
        if isinstance(what, Known):
            chosen.append(series)
            known.append(what)
            if series.copies:
                notes.append(
                    f"series {series.number}: {series.copies} files are copies of images that "
                    "are there already, and were not used."
                )
        elif what.related:
            notes.append(f"series {what.number} was left out: {what.why}.")
    if not any(one.kind == heuristic.rules().ASL for one in known):
        raise InputError(
            f"None of {len(found)} series is an ASL scan of GE, Philips or Siemens.",
            where=where,
            fix="export the ASL source images (control and label; GE: perfusion and density).",
        )
    for series in chosen:
        if (flaw := series.flaw) is not None:
            raise flaw
    return chosen, known, notes
