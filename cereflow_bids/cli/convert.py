"""``cereflow-convert``: vendor archives to a BIDS dataset."""

import argparse
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cereflow_bids.cli.convert_options import gathered, parser
from cereflow_bids.errors import CereflowError, UsageError

if TYPE_CHECKING:
    from cereflow_bids.intake.archives.unpacking import Limits
    from cereflow_bids.intake.conversion import ConversionOptions, ConversionSummary, Progress
    from cereflow_bids.intake.parameters.answers import Answers

# What a shell reports for Ctrl-C.
_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    try:
        words = gathered(sys.argv[1:] if argv is None else argv)
        arguments = parser().parse_intermixed_args(words)
    except SystemExit as stop:
        return int(stop.code or 0)
    try:
        return _explain(arguments) if arguments.explain else _convert(arguments)
    except CereflowError as error:
        print(f"cereflow-convert: {error}", file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, SystemExit) as stop:
        print("cereflow-convert: stopped; unfinished work has been removed", file=sys.stderr)
        return int(stop.code or 1) if isinstance(stop, SystemExit) else _INTERRUPTED


def _convert(arguments: argparse.Namespace) -> int:
    from cereflow_bids.intake.conversion import convert

    *inputs, bids_dir = arguments.paths
    if not inputs and not (bids_dir / "dataset_description.json").is_file():
        raise UsageError(
            "One path alone must be a BIDS dataset that waits for parameters.",
            where="BIDS",
            fix="give the archives to convert first, and the folder of the dataset last.",
        )
    with _progress(quiet=arguments.quiet) as progress:
        summary = convert(inputs, bids_dir, _options(arguments, progress))
    _show(summary, bids_dir)
    return summary.exit_code


def _explain(arguments: argparse.Namespace) -> int:
    from cereflow_bids.intake.explanation import Report, explain

    inputs = list(arguments.paths)
    last = inputs[-1]
    is_target = not last.exists() or (last / "dataset_description.json").is_file()
    if len(inputs) > 1 and (is_target or (last.is_dir() and not any(last.iterdir()))):
        inputs.pop()
    report = Report(_answers(arguments), print, arguments.descriptions)
    return explain(inputs, _limits(arguments), report)


def _options(
    arguments: argparse.Namespace, progress: "Callable[[Progress], None]"
) -> "ConversionOptions":
    from cereflow_bids.intake.conversion import ConversionOptions

    session = arguments.session_label
    session = None if session is None else session.removeprefix("ses-")
    if session is not None and not re.fullmatch(r"[A-Za-z0-9]+", session):
        raise UsageError(
            "A session label has letters and digits only.",
            where="--session-label",
            fix="give one such as 01 or baseline.",
        )
    return ConversionOptions(
        answers=_answers(arguments),
        key_file=arguments.key_file,
        session_label=session,
        always_sessions=None if arguments.sessions is None else arguments.sessions == "always",
        keep_ages=arguments.keep_ages,
        deface=arguments.deface,
        nprocs=arguments.nprocs,
        limits=_limits(arguments),
        progress=progress,
    )


def _answers(arguments: argparse.Namespace) -> "Answers":
    from cereflow_bids.intake.parameters.answers import Answers, Given, read_protocol

    suppression = arguments.background_suppression
    given = Given(
        labeling_type=arguments.labeling_type,
        post_labeling_delay=arguments.post_labeling_delay,
        labeling_duration=arguments.labeling_duration,
        bolus_cutoff=arguments.bolus_cutoff,
        repeats_per_delay=arguments.repeats_per_delay,
        background_suppression=None if suppression is None else suppression == "yes",
        background_suppression_pulses=arguments.background_suppression_pulses,
        excitations=arguments.excitations,
    )
    return Answers(given, read_protocol(arguments.protocol) if arguments.protocol else ())


def _limits(arguments: argparse.Namespace) -> "Limits":
    from cereflow_bids.intake.archives.unpacking import Limits

    given = {
        "total_bytes": None if arguments.max_size is None else int(arguments.max_size * 1e9),
        "files": arguments.max_files,
        "ratio": arguments.max_ratio,
    }
    return replace(Limits(), **{key: value for key, value in given.items() if value is not None})


@contextmanager
def _progress(*, quiet: bool) -> "Iterator[Callable[[Progress], None]]":
    """Give a function that shows what is going on: a bar on a terminal, else plain lines."""
    if quiet:
        yield lambda _progress: None
    elif sys.stderr.isatty():
        with _bar() as show:
            yield show
    else:
        yield lambda at: print(
            f"[{at.stage} {at.done}/{at.total}] {at.message}", file=sys.stderr, flush=True
        )


@contextmanager
def _bar() -> "Iterator[Callable[[Progress], None]]":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description:>10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[message]}"),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        tasks = {
            stage: bar.add_task(stage, total=None, message="")
            for stage in ("reading", "converting")
        }

        def show(at: "Progress") -> None:
            bar.update(tasks[at.stage], completed=at.done, total=at.total, message=at.message)

        yield show


def _show(summary: "ConversionSummary", dataset: Path) -> None:
    """Print what was made, what disagrees, what is missing and what failed."""
    for run in summary.runs:
        print(f"{run.run}{_volumes(run.types)}")
        for note in run.notes:
            print(f"  note: {note}")
        for conflict in run.conflicts:
            print(f"  CONFLICT {conflict}.")
        if run.missing:
            print(f"  PENDING {', '.join(run.missing)}: in no header; the protocol has it.")
    for note in summary.notes:
        print(f"note: {note}")
    for failure in summary.failures:
        print(f"FAILED {failure}", file=sys.stderr)
    counts = f"images: {len(summary.runs)}, pending: {len(summary.pending)}"
    unchanged = f", studies unchanged: {summary.unchanged}" if summary.unchanged else ""
    print(f"{counts}, failed: {len(summary.failures)}{unchanged}")
    if summary.pending:
        flags = dict.fromkeys(flag for run in summary.pending for flag in run.flags)
        path = shlex.quote(str(dataset))
        print(f"To finish without converting again: cereflow-convert {path} {' '.join(flags)}")
        print("or, where runs differ, with --protocol FILE (see docs/conversion.md).")


def _volumes(types: Sequence[str]) -> str:
    """Return a short account of the volumes, such as ``: 1 m0scan, 8 label, 8 control``."""
    kinds = dict.fromkeys(types)
    listed = ", ".join(f"{types.count(kind)} {kind}" for kind in kinds)
    return f": {listed}" if listed else ""


if __name__ == "__main__":
    sys.exit(main())
