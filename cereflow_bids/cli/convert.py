"""``cereflow-convert``: vendor ZIPs to a BIDS dataset."""

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cereflow_bids import __version__
from cereflow_bids.errors import CereflowError, UsageError

if TYPE_CHECKING:
    from cereflow_bids.intake.conversion import ConversionOptions, ConversionSummary

# What a shell reports for Ctrl-C.
_INTERRUPTED = 130
_DESCRIPTION = """\
Convert ASL exports of GE, Philips and Siemens scanners (ZIP archives or folders of DICOM) into a
BIDS dataset. Values given here fill only what no DICOM header holds."""

_EPILOGUE = """\
Exit codes: 0 all converted; 1 something failed; 2 wrong usage; 3 converted, but a parameter is
missing: the message names the option to give when you run the same command again."""


def parser() -> argparse.ArgumentParser:
    """Return the command line's grammar."""
    result = argparse.ArgumentParser(
        prog="cereflow-convert", description=_DESCRIPTION, epilog=_EPILOGUE
    )
    result.add_argument("inputs", nargs="+", type=Path, metavar="ZIP", help="ZIP or DICOM folder")
    result.add_argument("bids_dir", type=Path, metavar="BIDS", help="dataset to make or add to")
    label = result.add_argument_group("labelling, where no header tells it")
    label.add_argument(
        "--labeling-type", choices=("PCASL", "CASL", "PASL"), help="kind of labelling"
    )
    for flag, text in (
        ("--post-labeling-delay", "post-labelling delay (PASL: inversion time)"),
        ("--labeling-duration", "labelling duration"),
        ("--bolus-cutoff-delay", "PASL: end of the bolus"),
    ):
        label.add_argument(flag, type=float, metavar="SECONDS", help=f"{text}, in seconds")
    label.add_argument("--background-suppression", choices=("yes", "no"), help="whether it was on")
    label.add_argument(
        "--excitations", type=int, metavar="NUMBER", help="GE: NEX that the images are summed over"
    )
    place = result.add_argument_group("labels")
    place.add_argument(
        "--key-file",
        type=Path,
        help="file that joins labels to patients; keep it secret (default: BIDS.key.json)",
    )
    place.add_argument("--session-label", metavar="LABEL", help="session of the study converted")
    result.add_argument("-q", "--quiet", action="store_true", help="show no progress")
    result.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    try:
        arguments = parser().parse_args(argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    try:
        from cereflow_bids.intake.conversion import convert

        with _progress(quiet=arguments.quiet) as progress:
            summary = convert(arguments.inputs, arguments.bids_dir, _options(arguments, progress))
    except CereflowError as error:
        print(f"cereflow-convert: {error}", file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, SystemExit) as stop:
        print("cereflow-convert: stopped; unfinished work has been removed", file=sys.stderr)
        return int(stop.code or 1) if isinstance(stop, SystemExit) else _INTERRUPTED
    _show(summary)
    return summary.exit_code


def _options(
    arguments: argparse.Namespace, progress: Callable[[str], None]
) -> "ConversionOptions":
    from cereflow_bids.intake.conversion import ConversionOptions
    from cereflow_bids.intake.protocol import Given

    session = arguments.session_label
    session = session.removeprefix("ses-") if session else None
    if session is not None and not re.fullmatch(r"[A-Za-z0-9]+", session):
        raise UsageError(
            "A session label has letters and digits only.",
            where="--session-label",
            fix="give one such as 01 or baseline.",
        )
    suppression = arguments.background_suppression
    return ConversionOptions(
        given=Given(
            labeling_type=arguments.labeling_type,
            post_labeling_delay=arguments.post_labeling_delay,
            labeling_duration=arguments.labeling_duration,
            bolus_cutoff_delay=arguments.bolus_cutoff_delay,
            background_suppression=None if suppression is None else suppression == "yes",
            excitations=arguments.excitations,
        ),
        key_file=arguments.key_file,
        session_label=session,
        progress=progress,
    )


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Give a function that shows what is going on: a spinner on a terminal, else plain lines."""
    if quiet:
        yield lambda _message: None
    elif sys.stderr.isatty():
        from rich.console import Console

        with Console(stderr=True).status("starting") as status:
            yield status.update
    else:
        yield lambda message: print(message, file=sys.stderr, flush=True)


def _show(summary: "ConversionSummary") -> None:
    """Print what was made, what disagrees, what is missing and what failed."""
    for run in summary.runs:
        print(f"{run.run}{_volumes(run.types)}")
        for note in run.notes:
            print(f"  note: {note}")
        for conflict in run.conflicts:
            print(f"  CONFLICT {conflict}.")
        if run.missing:
            flags = " ".join(run.flags)
            print(f"  PENDING {', '.join(run.missing)}: no header holds it; the protocol does.")
            print(f"  To fix: give the same command again with {flags}")
    for note in summary.notes:
        print(f"note: {note}")
    for failure in summary.failures:
        print(f"FAILED {failure.error}", file=sys.stderr)
    counts = f"{len(summary.runs)} images, {len(summary.pending)} pending"
    print(f"{counts}, {len(summary.failures)} failed")


def _volumes(types: Sequence[str]) -> str:
    """Return a short account of the volumes, such as ``: 1 m0scan, 8 label, 8 control``."""
    kinds = dict.fromkeys(types)
    listed = ", ".join(f"{types.count(kind)} {kind}" for kind in kinds)
    return f": {listed}" if listed else ""


if __name__ == "__main__":
    sys.exit(main())
