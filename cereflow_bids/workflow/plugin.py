"""nipype's MultiProc, able to lose a worker.

When the system kills a worker (mostly for lack of memory), the pool of processes is broken and
nipype waits for ever for the result. Here the nodes that were at work fail, and the rest goes on
in a new pool. And no worker outlives the call: one that went on writing would meet the next call
in the same work folder.
"""

from __future__ import annotations

import contextlib
import sys
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, ProcessPoolExecutor, wait
from multiprocessing import get_context
from traceback import format_exception
from typing import Any

from nipype.pipeline.plugins.multiproc import MultiProcPlugin, process_initializer

from cereflow_bids.processes import follow_parent
from cereflow_bids.workflow.progress import runs_of

PATIENCE_SECONDS = 1.0
"""How long a step is waited for before everything is looked at again."""


class ResilientMultiProc(MultiProcPlugin):
    """MultiProc that goes on when a worker is killed, and leaves none behind."""

    def __init__(self, plugin_args: dict[str, Any] | None = None) -> None:
        super().__init__(plugin_args=plugin_args)
        # The one that nipype made has not started a process yet.
        self.pool = self._new_pool()

    def run(self, graph: Any, config: Any, updatehash: bool = False) -> None:
        """Run a graph; whatever ends it early ends its workers, too."""
        try:
            super().run(graph, config, updatehash)
        except BaseException:
            self.kill_workers()
            raise

    def _send_procs_to_workers(self, updatehash: bool = False, graph: Any = None) -> None:
        super()._send_procs_to_workers(updatehash, graph)
        # nipype would look every so often, which costs more the more there is to do.
        running = [self._task_obj[task] for task, _ in self.pending_tasks]
        if running:
            wait(running, timeout=PATIENCE_SECONDS, return_when=FIRST_COMPLETED)

    def kill_workers(self) -> None:
        """End all workers at once, whatever they are doing."""
        for process in tuple((self.pool._processes or {}).values()):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        self.pool.shutdown(cancel_futures=True)

    def _sort_jobs(self, jobids: Any, scheduler: str | None = None) -> list[int]:
        """Finish runs one after the other: nipype would do the first step of all of them first."""
        return sorted(jobids, key=lambda job: (min(runs_of(self.procs[job]), default=""), job))

    def _new_pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            max_workers=self.processors,
            initializer=_begin_worker,
            initargs=(self._cwd,),
            mp_context=get_context(self.plugin_args.get("mp_context")),
        )

    def _async_callback(self, future: Any) -> None:
        if future.exception() is None:
            super()._async_callback(future)

    def _get_result(self, taskid: int) -> Any:
        future = self._task_obj.get(taskid)
        if future is not None and future.done() and future.exception() is not None:
            raise future.exception()
        return super()._get_result(taskid)

    def _clear_task(self, taskid: int) -> None:
        # nipype would keep the result of every step, which is a copy of all that it was given.
        super()._clear_task(taskid)
        self._taskresult.pop(taskid, None)

    def _clean_queue(self, jobid: int, graph: Any, result: Any = None) -> Any:
        # nipype's own record for this case is a text where it later needs a list of lines.
        lost = {"result": None, "traceback": format_exception(*sys.exc_info())}
        return super()._clean_queue(jobid, graph, result=result or lost)

    def _submit_job(self, node: Any, updatehash: bool = False) -> Any:
        try:
            return super()._submit_job(node, updatehash)
        except BrokenExecutor:
            self.pool = self._new_pool()
            return super()._submit_job(node, updatehash)


def _begin_worker(folder: str) -> None:
    follow_parent()
    process_initializer(folder)
