"""``--explain``: what every series is, by which rule, and where each parameter comes from."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from cereflow_bids.errors import CereflowError
from cereflow_bids.intake import heuristic, reading
from cereflow_bids.intake.archives.unpacking import Limits, check_inputs
from cereflow_bids.intake.headers.series import Series
from cereflow_bids.intake.nifti import merging
from cereflow_bids.intake.parameters import acquisitions
from cereflow_bids.intake.parameters.answers import Answers
from cereflow_bids.intake.parameters.labeling import Known
from cereflow_bids.intake.parameters.protocol import Completed, complete, shown
from cereflow_bids.intake.preparation import told
from cereflow_bids.intake.sources import Sources

# What only the images tell, or what is needed only for some.
_FROM_IMAGES = "volume order, M0 and number of pairs: from the images, at conversion"
_INFERRED = {
    "BackgroundSuppression": "from the brightness of M0 against control, if the run holds an M0"
}


def explain(
    inputs: Sequence[Path], answers: Answers, limits: Limits, say: Callable[[str], object]
) -> int:
    """Say what conversion would do, and convert nothing.

    Parameters
    ----------
    inputs
        Archives or folders.
    answers
        What the user says of the labelling.
    limits
        How large an unpacked archive may be.
    say
        Called with every line; no line holds a name.

    Returns
    -------
    int
        Exit code: 0, 1 if an input cannot be read, 3 if a parameter is missing.
    """
    check_inputs(inputs)
    failed = missing = False
    with tempfile.TemporaryDirectory(prefix="cereflow-") as folder:
        sources = Sources(inputs, Path(folder), limits)
        for position in range(1, len(inputs) + 1):
            try:
                found = sources.look(position)
                missing = _explain_input(found, position, answers, say) or missing
            except Exception as error:  # noqa: BLE001 - told without what it may quote
                say(f"FAILED {_nameless(error, position)}")
                failed = True
    return 1 if failed else 3 if missing else 0


def _nameless(error: Exception, position: int) -> CereflowError:
    return told(error, f"input {position}")


def _explain_input(
    found: Sequence[Series], position: int, answers: Answers, say: Callable[[str], object]
) -> bool:
    missing = False
    studies: dict[tuple[str, str], list[Series]] = {}
    for series in found:
        studies.setdefault((series.patient.key, series.study_uid), []).append(series)
    for number, members in enumerate(studies.values(), start=1):
        say(f"input {position}, study {number} of {len(studies)}:")
        read = [reading.read(series) for series in members]
        for series, what in zip(members, read, strict=True):
            rule = what.rule or "no rule"
            kind = what.kind if isinstance(what, Known) else "left out"
            say(f"  series {series.number}: {kind} ({rule}): {what.why}")
            if isinstance(what, Known) and (flaw := series.flaw) is not None:
                say(f"    FLAW {flaw}")
        kinds = heuristic.rules()
        asl = [what for what in read if isinstance(what, Known) and what.kind == kinds.ASL]
        for remark in acquisitions.remarks(asl, answers):
            say(f"  note: {remark}.")
        for group in acquisitions.group(asl, answers):
            missing = _explain_acquisition(group, answers, say) or missing
    return missing


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
    return complete(merged, merging.offered(members, answers, merged), needed)
