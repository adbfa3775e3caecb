"""The grammar of ``cereflow-convert``."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cereflow_bids import __version__
from cereflow_bids.cli.grammar import Grammar
from cereflow_bids.cli.numbers import COUNT, Number, Numbers

_DESCRIPTION = """\
Convert ASL exports of GE, Philips and Siemens scanners (ZIP or tar archives, folders of DICOM)
into a BIDS dataset. Values given here fill only what no DICOM header holds."""

_EPILOGUE = """\
Exit codes: 0 all converted; 1 something failed; 2 wrong usage; 3 converted, but a parameter is
missing: the message names the option. Give it together with the dataset alone
(cereflow-convert BIDS --post-labeling-delay 1.8) to finish without converting again."""

# As the intake has it, without loading that: ten seconds are more than any labelling lasts.
_SECONDS = Number(
    0,
    10,
    above=True,
    what="a number of seconds",
    hint="Give seconds, not milliseconds, such as 1.8.",
)


def parser() -> argparse.ArgumentParser:
    """Return the command line's grammar."""
    result = Grammar(
        prog="cereflow-convert",
        usage="%(prog)s [options] INPUT [INPUT ...] BIDS\n"
        "       %(prog)s [options] BIDS\n"
        "       %(prog)s --explain [options] INPUT [INPUT ...]",
        description=_DESCRIPTION,
        epilog=_EPILOGUE,
    )
    result.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="INPUT ... BIDS",
        help="ZIP, tar or folder of DICOM, as many as you like; last the dataset to make or add "
        "to. The dataset alone: finish what waits for a parameter",
    )
    result.add_argument(
        "--explain",
        action="store_true",
        help="convert nothing; say of every series what it is, by which rule, where each "
        "parameter comes from and what is missing",
    )
    result.add_argument(
        "--descriptions",
        action="store_true",
        help="with --explain: show the scanner's descriptions of series as well, which a protocol "
        "file can match; they can hold names, so do not share what is printed",
    )
    _add_labeling(result.add_argument_group("labelling, where no header tells it"))
    _add_labels(result.add_argument_group("labels and privacy"))
    _add_running(result.add_argument_group("running"))
    result.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return result


def _add_labeling(group: Any) -> None:
    group.add_argument(
        "--labeling-type", choices=("PCASL", "CASL", "PASL"), help="kind of labelling"
    )
    several: dict[str, Any] = {
        "type": Numbers(_SECONDS),
        "metavar": "SECONDS [...]",
        "default": (),
    }
    group.add_argument(
        "--post-labeling-delay",
        **several,
        help="post-labelling delay (PASL: inversion time); several, if there are several",
    )
    group.add_argument(
        "--labeling-duration", **several, help="labelling duration; one, or one per delay"
    )
    group.add_argument(
        "--bolus-cutoff", type=_SECONDS, metavar="SECONDS", help="PASL: end of the bolus (TI1)"
    )
    group.add_argument(
        "--repeats-per-delay",
        type=Numbers(COUNT),
        default=(),
        metavar="NUMBER [...]",
        help="control-label pairs of each delay, where one series holds several delays",
    )
    group.add_argument("--background-suppression", choices=("yes", "no"), help="whether it was on")
    group.add_argument(
        "--background-suppression-pulses",
        type=Number(whole=True),
        metavar="NUMBER",
        help="inversion pulses",
    )
    group.add_argument(
        "--excitations",
        type=COUNT,
        metavar="NUMBER",
        help="GE: NEX that the images are summed over",
    )
    group.add_argument(
        "--protocol",
        type=Path,
        metavar="FILE",
        help="YAML file that gives parameters to series by vendor, model, software or description",
    )


def _add_labels(group: Any) -> None:
    group.add_argument(
        "--key-file",
        type=Path,
        help="file that joins labels to patients; keep it secret (default: BIDS.key.json)",
    )
    group.add_argument("--session-label", metavar="LABEL", help="session of the study converted")
    group.add_argument(
        "--sessions",
        choices=("auto", "always"),
        help="auto: sessions only for patients with several studies; always: for all "
        "(choose it where patients will come again)",
    )
    yes_or_no = argparse.BooleanOptionalAction
    group.add_argument("--keep-ages", action=yes_or_no, help="write ages above 89 as they are")
    group.add_argument(
        "--deface",
        action=yes_or_no,
        help="remove the face from T1w images; this, --sessions and --keep-ages hold for later "
        "conversions into the dataset as well",
    )


def _add_running(group: Any) -> None:
    group.add_argument(
        "--nprocs", type=COUNT, default=1, metavar="N", help="studies converted at the same time"
    )
    group.add_argument(
        "--max-size",
        type=Number(above=True),
        metavar="GB",
        help="most that one input may unpack to",
    )
    group.add_argument("--max-files", type=COUNT, metavar="N", help="most files in one input")
    group.add_argument(
        "--max-ratio",
        type=Number(above=True),
        metavar="N",
        help="most that a large member may be compressed",
    )
    group.add_argument("-q", "--quiet", action="store_true", help="show no progress")


# -- options with several values -----------------------------------------------------------------

# A comma is taken along, to be refused: it can be a decimal comma as well as a separator.
_NUMBER = re.compile(r"[-+]?[\d.,]+(?:[eE][-+]?\d+)?")
_SEVERAL = ("--post-labeling-delay", "--labeling-duration", "--repeats-per-delay")


def gathered(arguments: Sequence[str]) -> list[str]:
    """Join the numbers that follow an option for several, so that an input may come after them.

    >>> gathered(["--post-labeling-delay", "0.5", "1.0", "scan.zip", "bids"])
    ['--post-labeling-delay=0.5 1.0', 'scan.zip', 'bids']
    """
    result: list[str] = []
    left = list(arguments)
    while left:
        word = left.pop(0)
        numbers = []
        while word in _SEVERAL and left and _NUMBER.fullmatch(left[0]):
            numbers.append(left.pop(0))
        result.append(f"{word}={' '.join(numbers)}" if numbers else word)
    return result
