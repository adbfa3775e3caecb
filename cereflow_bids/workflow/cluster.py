"""nipype's plugins for clusters: able to lose a job, and leaving none behind.

What they do not do themselves: a job that ends without a result fails its own run and no other,
an earlier result is never taken for the job's, and jobs still queued are cancelled when the call
ends early, so that none writes where the next call is at work.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from traceback import format_exception
from typing import Any

from nipype.pipeline.plugins.lsf import LSFPlugin
from nipype.pipeline.plugins.oar import OARPlugin
from nipype.pipeline.plugins.pbs import PBSPlugin
from nipype.pipeline.plugins.sge import SGEPlugin
from nipype.pipeline.plugins.slurm import SLURMPlugin

from cereflow_bids.bids.status import UNFINISHED, read_status, write_status
from cereflow_bids.workflow.progress import runs_of

POLL_SECONDS = 5.0
"""Between two questions to the cluster, which others use as well."""

RESULT_SECONDS = 30.0
"""How long the result of a job that has ended is waited for: network disks show files late."""

LOST = "its job on the cluster ended without a result."
LOST_FIX = (
    "give it more memory or time by plugin_args; what it said itself is in batch/ of the work "
    "folder. Run again to resume."
)


class _Careful:
    """What is added to each of nipype's plugins for clusters."""

    cancel = ""
    _pending: dict[Any, str]
    procs: list[Any]

    def __init__(self, plugin_args: dict[str, Any] | None = None) -> None:
        # nipype names jobs by it, and a container may not have it.
        os.environ.setdefault("LOGNAME", "cereflow")
        super().__init__(plugin_args=plugin_args)  # type: ignore[call-arg]

    def run(self, graph: Any, config: Any, updatehash: bool = False) -> None:
        """Run a graph; whatever ends it early cancels its jobs, too."""
        try:
            super().run(graph, config, updatehash)  # type: ignore[misc]
        except BaseException:
            self.cancel_jobs()
            raise

    def cancel_jobs(self) -> None:
        """Cancel every job that is not known to have ended."""
        if self._pending and shutil.which(self.cancel):
            jobs = [str(job) for job in self._pending]
            subprocess.run([self.cancel, *jobs], check=False, capture_output=True)
        self._pending.clear()

    def _submit_job(self, node: Any, updatehash: bool = False) -> Any:
        for earlier in Path(node.output_dir()).glob("result_*.pklz"):
            earlier.unlink()
        return super()._submit_job(node, updatehash)  # type: ignore[misc]

    def _get_result(self, taskid: Any) -> Any:
        result = super()._get_result(taskid)  # type: ignore[misc]
        if result:
            self._pending.pop(taskid, None)
            # nipype's own record of a lost job is a text where it later needs a list of lines.
            if isinstance(result["traceback"], str):
                result["traceback"] = result["traceback"].splitlines(keepends=True)
                result["lost"] = True
        return result

    def _clear_task(self, taskid: Any) -> None:
        self._pending.pop(taskid, None)

    def _clean_queue(self, jobid: int, graph: Any, result: Any = None) -> Any:
        if result and result.get("lost"):
            self._tell_loss(self.procs[jobid])
        failed = {"result": None, "traceback": format_exception(*sys.exc_info())}
        return super()._clean_queue(jobid, graph, result=result or failed)  # type: ignore[misc]

    def _tell_loss(self, node: Any) -> None:
        """Say of a node's runs what became of its job, which could not say so itself."""
        out_dir = Path(node.inputs.out_dir)
        for stem in runs_of(node):
            known = read_status(out_dir, stem)
            if known is not None and known.state in UNFINISHED:
                step = type(node.interface).__name__
                failed = replace(known, state="failed", step=step, message=LOST, fix=LOST_FIX)
                write_status(out_dir, failed)


class CarefulSLURM(_Careful, SLURMPlugin):
    """SLURM."""

    cancel = "scancel"


class CarefulPBS(_Careful, PBSPlugin):
    """PBS and Torque."""

    cancel = "qdel"

    def _is_pending(self, taskid: Any) -> bool:
        # nipype asks the same, but leaves two files in the present folder each time.
        words = ["qstat", "-f", str(taskid)]
        told = subprocess.run(words, check=False, capture_output=True, text=True)
        if "Job has finished" in told.stderr or "job_state = C" in told.stdout:
            return False
        return "Unknown Job Id" not in told.stderr


class CarefulSGE(_Careful, SGEPlugin):
    """Grid Engine."""

    cancel = "qdel"


class CarefulLSF(_Careful, LSFPlugin):
    """LSF."""

    cancel = "bkill"


class CarefulOAR(_Careful, OARPlugin):
    """OAR."""

    cancel = "oardel"


PLUGINS: dict[str, type] = {
    "SLURM": CarefulSLURM,
    "PBS": CarefulPBS,
    "SGE": CarefulSGE,
    "LSF": CarefulLSF,
    "OAR": CarefulOAR,
}
