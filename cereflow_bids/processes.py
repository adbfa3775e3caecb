"""Several processes for the independent parts of one step; none outlives the step that asked."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import forkserver, get_context, parent_process, set_forkserver_preload
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")

NO_HOME = "/nonexistent"
"""As Debian says it. Programs take a folder that is not there better than one that is a file."""


def side_by_side(
    function: Callable[..., Result], calls: Sequence[Sequence[Any]], processes: int
) -> list[Result]:
    """Call a function with each of several sets of arguments; no call may depend on another.

    This process does its share of them, so that one process needs no other.

    Parameters
    ----------
    function
        Of a module, so that another process finds it.
    calls
        Arguments of each call.
    processes
        How many may work at the same time, this one included. The results do not depend on it.

    Returns
    -------
    list
        What each call returned.
    """
    count = max(1, min(processes, len(calls)))
    if count == 1:
        return _in_turn(function, calls)
    results: list[Any] = [None] * len(calls)
    with ProcessPoolExecutor(
        count - 1, mp_context=get_context("forkserver"), initializer=follow_parent
    ) as pool:
        with _without_main():
            others = [pool.submit(_in_turn, function, calls[k::count]) for k in range(1, count)]
        results[::count] = _in_turn(function, calls[::count])
        for k, other in enumerate(others, start=1):
            results[k::count] = other.result()
    return results


def _in_turn(function: Callable[..., Result], calls: Sequence[Sequence[Any]]) -> list[Result]:
    return [function(*call) for call in calls]


@contextmanager
def _without_main() -> Iterator[None]:
    """Let new processes leave the main script alone, which they would run from its top.

    They need nothing of it, and the scripts that nipype gives to clusters would run a step again.
    """
    main: dict[str, Any] = vars(sys.modules["__main__"])
    known: dict[str, Any] = {k: main[k] for k in ("__file__", "__spec__") if k in main}
    main.pop("__file__", None)
    main["__spec__"] = None
    try:
        yield
    finally:
        main.update(known)


def limit_threads() -> None:
    """Set before workers start: libraries read these once, when they are loaded.

    They repeat their bits on one thread; a step that uses more cores does so by itself.
    """
    for name in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{name}_NUM_THREADS"] = "1"
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"


def have_a_home() -> None:
    """Give this process, and those it will start, a HOME in which pybids can look for settings.

    In a container the user may be a number without a name, whose HOME nobody knows, or one who
    may not look into the HOME of another; pybids could not be imported then.
    """
    try:
        (Path.home() / "pybids_config.json").exists()
    except (OSError, RuntimeError):
        os.environ["HOME"] = NO_HOME


def prepare_workers(modules: Sequence[str]) -> None:
    """Start the process that others are made from; it loads modules while this one goes on.

    Parameters
    ----------
    modules
        What every worker needs, in this order. None may start a thread: it would not be in the
        workers.
    """
    limit_threads()
    have_a_home()
    set_forkserver_preload(list(modules))
    # Ctrl-C is for this process, and would end the other one in the midst of its loading.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def follow_parent() -> None:
    """Leave Ctrl-C to the process that asked for this one, and die with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None and hasattr(os, "O_ASYNC"):
        _die_at_end_of(parent.sentinel)


def _die_at_end_of(pipe: int) -> None:
    """Let the system end this process when the other end of a pipe is closed.

    A thread that waits for it could not run while a library keeps the interpreter.
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([pipe], [], [], 0)[0]:
        os._exit(1)
