"""Stopping in good order when the user (Ctrl-C) or the system asks for it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from nipype.interfaces.base import SimpleInterface

from cereflow_bids.bids.status import UNFINISHED, read_status, write_status
from cereflow_bids.workflow import crashes as _nameless  # noqa: F401
from cereflow_bids.workflow.monitor import measuring
from cereflow_bids.workflow.resume import remove_outputs
from cereflow_bids.workflow.settings import Settings

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
BY_USER = 128 + signal.SIGINT
_requests: list[int] = []
"""Numbers of the signals since the process is stoppable; signals belong to the whole process."""


@contextmanager
def stoppable() -> Iterator[None]:
    """Turn a request to stop into SystemExit with 128 + its number, as shells report it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in earlier.items():
        # nohup has a hang-up ignored, and that stays.
        if handler is not signal.SIG_IGN:
            signal.signal(number, _stop)
    _requests.clear()
    try:
        yield
    finally:
        _requests.clear()
        for number, handler in earlier.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def obey() -> None:
    """Stop now if that was asked for and the exception got lost, as nipype loses every one."""
    if _requests:
        raise SystemExit(128 + _requests[0])


class Stoppable(SimpleInterface):
    """An interface that takes a request to stop for no failure of its own.

    Attributes
    ----------
    measured
        Record of the time and memory that it takes, if they are wanted.
    """

    measured: Path | None = None

    def run(self, *words: Any, **options: Any) -> Any:
        """Run, and obey."""
        with measuring(self.measured):
            result = super().run(*words, **options)
        obey()
        return result


def mark_stopped(stems: Iterable[str], settings: Settings, code: object) -> None:
    """Say of each run that is not finished that it was stopped, and remove what is half done."""
    who = "by the user (Ctrl-C)" if code == BY_USER else "by the system"
    for stem in stems:
        status = read_status(settings.out_dir, stem)
        if status is None or status.state not in UNFINISHED:
            continue
        remove_outputs(stem, settings.out_dir)
        where = f"in step {status.step}" if status.step else "before its first step"
        write_status(
            settings.out_dir,
            replace(
                status,
                state="stopped",
                message=f"stopped {who} {where}.",
                fix="run the same command again: what is finished is not repeated.",
            ),
        )


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    # A second request must not cut the first one's clean-up short.
    for one in SIGNALS:
        signal.signal(one, signal.SIG_IGN)
    _requests.append(number)
    raise SystemExit(128 + number)
