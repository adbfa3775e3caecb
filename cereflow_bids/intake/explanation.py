"""``--explain``: what every series is, by which rule, and where each parameter comes from."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cereflow_bids.errors import CereflowError
from cereflow_bids.intake import heuristic, reading
from cereflow_bids.intake.archives.unpacking import Limits, check_inputs, expanded
from cereflow_bids.intake.headers.series import Series
from cereflow_bids.intake.nifti import merging
from cereflow_bids.intake.parameters import acquisitions
from cereflow_bids.intake.parameters.answers import Answers
from cereflow_bids.intake.parameters.labeling import Known
from cereflow_bids.intake.parameters.protocol import Completed, complete, shown
from cereflow_bids.intake.preparation import told
from cereflow_bids.intake.reading import LeftOut
from cereflow_bids.intake.sources import Sources

# What only the images tell, or what is needed only for some.
_FROM_IMAGES = "volume order, M0 and number of pairs: from the images, at conversion"
_INFERRED = {
    "BackgroundSuppression": "from the brightness of M0 against control, if the run holds an M0"
}


@dataclass(frozen=True)
class Report:
    """How to explain.

    Attributes
    ----------
    answers
        What the user says of the labelling.
    say
        Called with every line; no line holds a name, unless descriptions are asked for.
    descriptions
        Whether the scanner's descriptions of series are said: they can hold names.
    """

    answers: Answers
    say: Callable[[str], object]
    descriptions: bool = False


def explain(inputs: Sequence[Path], limits: Limits, report: Report) -> int:
    """Say what conversion would do, and convert nothing.

    Parameters
    ----------
    inputs
        Archives or folders.
    limits
        How large an unpacked archive may be.
    report
        What was said so far, and how to say the rest.

    Returns
    -------
    int
        Exit code: 0, 1 if an input cannot be converted, 3 if a parameter is missing.
    """
    check_inputs(inputs)
    every = expanded(inputs, lambda note: report.say(f"note: {note}"))
    codes = {0}
    studies: dict[tuple[str, str], list[Series]] = {}
    places: dict[tuple[str, str], list[int]] = {}
    with tempfile.TemporaryDirectory(prefix="cereflow-") as folder:
        sources = Sources(every, Path(folder), limits)
        for position in range(1, len(every) + 1):
            try:
                found = sources.look(position)
            except Exception as error:  # noqa: BLE001 - told without what it may quote
                report.say(f"FAILED {told(error, f'input {position}')}")
                codes.add(1)
                continue
            for series in found:
                key = (series.patient.key, series.study_uid)
                studies.setdefault(key, []).append(series)
                places.setdefault(key, []).append(position)
        for key, members in studies.items():
            codes.add(_explain_study(members, sorted(set(places[key])), report))
    return next(code for code in (1, 3, 0) if code in codes)


def _explain_study(found: Sequence[Series], inputs: Sequence[int], report: Report) -> int:
    listed = ", ".join(str(position) for position in inputs)
    report.say(f"study in input{'s' * (len(inputs) > 1)} {listed}:")
    unique: dict[str, Series] = {}
    for series in found:
        unique[series.uid] = unique[series.uid].joined(series) if series.uid in unique else series
    code = 0
    known = []
    for series in sorted(unique.values(), key=lambda one: one.place):
        try:
            what = reading.read(series)
        except CereflowError as error:
            report.say(f"  series {series.number}: FLAW {error}")
            code = 1
            continue
        _explain_series(series, what, report)
        if isinstance(what, Known):
            known.append(what)
            code = code or int(series.flaw is not None)
    kinds = heuristic.rules()
    asl = [one for one in known if one.kind == kinds.ASL]
    if not asl:
        report.say("  no ASL: conversion refuses a study without any.")
        return 1
    for remark in acquisitions.remarks(asl, report.answers):
        report.say(f"  note: {remark}.")
    _explain_false_m0(asl, [one for one in known if one.kind == kinds.M0SCAN], report)
    groups = acquisitions.group(asl, report.answers)
    missing = [_explain_acquisition(group, report.answers, report.say) for group in groups]
    return code or (3 if any(missing) else 0)


def _explain_series(series: Series, what: Known | LeftOut, report: Report) -> None:
    kind = what.kind if isinstance(what, Known) else "left out"
    report.say(f"  series {series.number}: {kind} ({what.rule or 'no rule'}): {what.why}")
    if isinstance(what, Known):
        matched = [what.vendor, what.model, what.software]
        matched += [f'description "{what.description}"'] if report.descriptions else []
        report.say(f"    a protocol file matches: {', '.join(matched)}")
        if (flaw := series.flaw) is not None:
            report.say(f"    FLAW {flaw}")


def _explain_false_m0(asl: Sequence[Known], m0: Sequence[Known], report: Report) -> None:
    prepared = {one.labeling.preparation for one in asl} - {""}
    for one in m0:
        if one.labeling.preparation in prepared:
            report.say(
                f"  note: series {one.number} is called M0 but is prepared like the ASL: unless "
                "it is brighter, conversion leaves it out, and absolute CBF is not possible."
            )


def _explain_acquisition(
    members: Sequence[Known], answers: Answers, say: Callable[[str], object]
) -> bool:
    numbers = ", ".join(str(known.number) for known in members)
    joined = " (joined into one run)" if len(members) > 1 else ""
    say(f"  ASL of series {numbers}{joined}:")
    done = _completed(members, answers)
    for key, parameter in sorted(done.parameters.items()):
        say(f"    {key} = {shown(parameter.value)}   [{parameter.origin}]")
    say(f"    {_FROM_IMAGES}")
    for conflict in done.conflicts:
        say(f"    CONFLICT {conflict}.")
    for key, flag, line in zip(done.missing, done.flags, done.lines, strict=True):
        remedy = f"give {flag}, or in a protocol file: {line}"
        if key in _INFERRED:
            say(f"    {key}: {_INFERRED[key]}; else {remedy}")
        else:
            say(f"    MISSING {key}: {remedy}")
    for note in dict.fromkeys(note for known in members for note in known.labeling.notes):
        say(f"    note: {note}")
    return not set(done.missing) <= set(_INFERRED)


def _completed(members: Sequence[Known], answers: Answers) -> Completed:
    merged = merging.stated(members, answers)
    types = members[0].labeling.volume_types or ()
    needed = (merging.NEX,) if "deltam" in types else ()
    if "deltam" not in types:
        # An option for GE alone is no concern of others.
        merged = {key: value for key, value in merged.items() if key != merging.NEX}
    numbers = [known.labeling.parameters.get(merging.NEX) for known in members]
    if merging.NEX in merged and None not in numbers:
        values = tuple(one.value for one in numbers if one is not None)
        several = values if len(set(values)) > 1 else values[0]
        merged[merging.NEX] = replace(merged[merging.NEX], value=several)
    return complete(merged, merging.offered(members, answers, merged), needed)
