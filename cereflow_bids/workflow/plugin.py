"""nipype's MultiProc, able to lose a worker.

When the system kills a worker (mostly for lack of memory), the pool of processes is broken and
nipype waits for ever for the result. Here the nodes that were at work fail, and the rest goes on
in a new pool.
"""

from __future__ import annotations

import sys
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from multiprocessing import get_context
from traceback import format_exception
from typing import Any

from nipype.pipeline.plugins.multiproc import MultiProcPlugin, process_initializer


class ResilientMultiProc(MultiProcPlugin):
    """MultiProc that goes on when a worker is killed."""

    def _async_callback(self, future: Any) -> None:
        if future.exception() is None:
            super()._async_callback(future)

    def _get_result(self, taskid: int) -> Any:
        future = self._task_obj.get(taskid)
        if future is not None and future.done() and future.exception() is not None:
            raise future.exception()
        return super()._get_result(taskid)

    def _clean_queue(self, jobid: int, graph: Any, result: Any = None) -> Any:
        # nipype's own record for this case is a text where it later needs a list of lines.
        lost = {"result": None, "traceback": format_exception(*sys.exc_info())}
        return super()._clean_queue(jobid, graph, result=result or lost)

    def _submit_job(self, node: Any, updatehash: bool = False) -> Any:
        try:
            return super()._submit_job(node, updatehash)
        except BrokenExecutor:
            self.pool = ProcessPoolExecutor(
                max_workers=self.processors,
                initializer=process_initializer,
                initargs=(self._cwd,),
                mp_context=get_context(self.plugin_args.get("mp_context")),
            )
            return super()._submit_job(node, updatehash)
