"""What all steps have in common as nipype interfaces: the status record of their run."""

from __future__ import annotations

import contextlib
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

from nipype.interfaces.base import BaseInterfaceInputSpec, traits

from cereflow_bids.bids.status import Status, read_status, write_status
from cereflow_bids.errors import CereflowError, of_system
from cereflow_bids.workflow.stopping import Stoppable

KILLED_FIX = "less memory helps: fewer --nprocs, or --mem-mb. Run again to resume."
_REPORT_BUG = "this is a bug or a broken machine; the traceback is in the crash file under logs/."


def told(error: Exception) -> tuple[str, str]:
    """Return message and fix for the record of a step that failed."""
    if isinstance(error, BrokenExecutor):
        return "the system killed a process that worked on this step.", KILLED_FIX
    if isinstance(error, OSError) and error.errno is not None:
        error = of_system(error)
    if isinstance(error, CereflowError):
        # Records go into reports, and folders may have names of persons.
        where = Path(error.where).name if Path(error.where).is_absolute() else error.where
        return (f"{where}: {error.what}" if where else error.what), error.fix
    return f"{type(error).__name__}: {error}", _REPORT_BUG


class StepInputs(BaseInterfaceInputSpec):
    """What every step is given."""

    run = traits.Any(mandatory=True, desc="AslRun")
    science = traits.Any(mandatory=True, desc="Science")
    version = traits.Str(mandatory=True, desc="version of the code that made the result")
    out_dir = traits.Str(mandatory=True, nohash=True, desc="where status records go")


class Step(Stoppable):
    """Runs one step, and says so in the status record of its run."""

    input_spec = StepInputs

    def _run_interface(self, runtime: Any) -> Any:
        name = type(self).__name__
        try:
            if not self._has_failed():
                self._tell("running", step=name)
            self._results |= self._work(Path(runtime.cwd))
        except Exception as error:
            message, fix = told(error)
            # On a full disk the record may be no more than what it was.
            with contextlib.suppress(OSError):
                self._tell("failed", step=name, message=message, fix=fix)
            raise
        return runtime

    def _tell(self, state: Any, **details: Any) -> None:
        run = self.inputs.run
        write_status(
            Path(self.inputs.out_dir), Status(run.stem, run.participant, state, **details)
        )

    def _has_failed(self) -> bool:
        """Tell whether another step of this run has failed, whose message must stand."""
        status = read_status(Path(self.inputs.out_dir), self.inputs.run.stem)
        return status is not None and status.state == "failed"

    def _work(self, folder: Path) -> dict[str, Any]:
        raise NotImplementedError
