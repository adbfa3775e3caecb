"""How a conversion is asked for, and what it answers."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from cereflow_bids.errors import CereflowError, InputError
from cereflow_bids.intake.archives.limits import Limits
from cereflow_bids.intake.layout.study import RunSummary
from cereflow_bids.intake.parameters.answers import Answers
from cereflow_bids.intake.preparation import Options

# One study has few large series: more processes would have nothing to do.
_MOST_AT_ONCE = 2


class Progress(NamedTuple):
    """How far a conversion is: ``stage`` is ``"reading"`` or ``"converting"``."""

    stage: str
    done: int
    total: int
    message: str


def _silent(_progress: Progress) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class ConversionOptions:
    """How to convert.

    Attributes
    ----------
    answers
        What the user says about the labelling.
    key_file
        Where labels are joined to patients; ``<bids_dir>.key.json`` by default.
    session_label
        Session to force on a patient's study; without it sessions are numbered by need.
    always_sessions
        Whether a patient's only study gets a session as well.
    keep_ages
        Whether ages above 89 are written as they are.
    deface
        Whether the face is removed from T1w images. None, here and for sessions and ages: as in
        earlier conversions into this dataset.
    nprocs
        Studies converted at the same time.
    limits
        How large an unpacked archive may be.
    progress
        Called whenever something is done.
    """

    answers: Answers = field(default_factory=Answers)
    key_file: Path | None = None
    session_label: str | None = None
    always_sessions: bool | None = None
    keep_ages: bool | None = None
    deface: bool | None = None
    nprocs: int = 1
    limits: Limits = field(default_factory=Limits)
    progress: Callable[[Progress], None] = _silent

    @property
    def preparation(self) -> Options:
        """What the preparation of one study has to know."""
        at_once = min(_MOST_AT_ONCE, (os.cpu_count() or 1) // max(self.nprocs, 1))
        return Options(self.answers, bool(self.deface), max(at_once, 1))


@dataclass(frozen=True)
class ConversionSummary:
    """What became of the inputs.

    Attributes
    ----------
    unchanged
        Number of studies that were in the dataset already, made of the same images in the same
        way.
    """

    runs: tuple[RunSummary, ...]
    failures: tuple[CereflowError, ...]
    notes: tuple[str, ...]
    unchanged: int = 0

    @property
    def pending(self) -> tuple[RunSummary, ...]:
        """Runs that lack a parameter."""
        return tuple(run for run in self.runs if run.missing)

    @property
    def exit_code(self) -> int:
        """0 all done, 1 something failed, 3 a parameter is missing."""
        if self.failures:
            return InputError.exit_code
        return 3 if self.pending else 0
