"""Several studies at a time, their results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

from cereflow_bids.intake import heuristic

_T = TypeVar("_T")
_R = TypeVar("_R")


@contextmanager
def workers(nprocs: int) -> Iterator[ThreadPoolExecutor | None]:
    """Give a pool of threads, for the work itself is done by other processes; None for one."""
    if nprocs <= 1:
        yield None
        return
    pool = ThreadPoolExecutor(nprocs)
    try:
        yield pool
    except BaseException:
        heuristic.stop_all()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def in_order(
    pool: ThreadPoolExecutor | None,
    work: Callable[[_T], _R],
    jobs: Sequence[_T],
    nprocs: int,
) -> Iterator[tuple[_T, _R | Exception]]:
    """Yield each job with its result or error, in order; few at a time are ready and waiting."""
    waiting: deque[tuple[_T, Future[_R]]] = deque()
    left = iter(jobs)
    while True:
        if pool is None:
            for job in left:
                yield job, _tried(work, job)
            return
        for job in islice(left, nprocs + 1 - len(waiting)):
            waiting.append((job, pool.submit(work, job)))
        if not waiting:
            return
        job, future = waiting.popleft()
        yield job, _tried(lambda _: future.result(), job)  # noqa: B023 - called at once


def _tried(work: Callable[[_T], _R], job: _T) -> _R | Exception:
    try:
        return work(job)
    except Exception as error:  # noqa: BLE001 - told by whoever asked for the job
        return error
