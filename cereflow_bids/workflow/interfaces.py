"""nipype interfaces: each keeps the status record and calls one step."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    TraitedSpec,
    traits,
)

from cereflow_bids.bids.status import Status, read_status, write_status
from cereflow_bids.errors import CereflowError, of_system
from cereflow_bids.workflow import steps
from cereflow_bids.workflow.stopping import Stoppable


def told(error: Exception) -> tuple[str, str]:
    """Return message and fix for the record of a step that failed."""
    if isinstance(error, OSError) and error.errno is not None:
        error = of_system(error)
    if isinstance(error, CereflowError):
        return (f"{error.where}: {error.what}" if error.where else error.what), error.fix
    return f"{type(error).__name__}: {error}", _REPORT_BUG


class _Inputs(BaseInterfaceInputSpec):
    run = traits.Any(mandatory=True, desc="AslRun")
    science = traits.Any(mandatory=True, desc="Science")
    version = traits.Str(mandatory=True, desc="version of the code that made the result")
    out_dir = traits.Str(mandatory=True, nohash=True, desc="where status records go")


class Step(Stoppable):
    """Runs one step, and says so in the status record of its run."""

    input_spec = _Inputs

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


_REPORT_BUG = "this is a bug or a broken machine; the traceback is in the crash file under logs/."


class _MotionOut(TraitedSpec):
    series = traits.Str()
    matrices = traits.Str()
    notes = traits.Str()


class Motion(Step):
    """Realign the series."""

    output_spec = _MotionOut

    def _work(self, folder: Path) -> dict[str, Any]:
        return steps.motion(self.inputs.run, self.inputs.science, folder)


class _ReferenceIn(_Inputs):
    series = traits.File(exists=True, mandatory=True)
    threads = traits.Int(1, usedefault=True, nohash=True)


class _ReferenceOut(TraitedSpec):
    m0 = traits.Str()
    aslref = traits.Str()
    mask = traits.Str()
    notes = traits.Str()


class Reference(Step):
    """Find M0, the reference image and the brain."""

    input_spec = _ReferenceIn
    output_spec = _ReferenceOut

    def _work(self, folder: Path) -> dict[str, Any]:
        inputs = self.inputs
        return steps.reference(
            inputs.run, inputs.science, folder, series=inputs.series, threads=inputs.threads
        )


class _StandardSpaceIn(_Inputs):
    aslref = traits.File(exists=True, mandatory=True)
    mask = traits.File(exists=True, mandatory=True)
    anatomy = traits.Dict(traits.Str(), traits.Str(), mandatory=True)


class _StandardSpaceOut(TraitedSpec):
    to_asl = traits.Str()
    to_template = traits.Str()
    t1w_to_asl = traits.Str()
    registration = traits.Str()
    notes = traits.Str()


class StandardSpace(Step):
    """Register to the template."""

    input_spec = _StandardSpaceIn
    output_spec = _StandardSpaceOut

    def _work(self, folder: Path) -> dict[str, Any]:
        inputs = self.inputs
        return steps.standard_space(
            inputs.run,
            inputs.science,
            folder,
            aslref=inputs.aslref,
            mask=inputs.mask,
            anatomy=inputs.anatomy,
        )


class _TissueIn(_Inputs):
    mask = traits.File(exists=True, mandatory=True)
    to_asl = traits.File(exists=True, mandatory=True)
    to_template = traits.File(exists=True, mandatory=True)
    t1w_to_asl = traits.Str(mandatory=True)
    anatomy = traits.Dict(traits.Str(), traits.Str(), mandatory=True)
    atlases = traits.Any(mandatory=True, desc="tuple of Atlas")


class _TissueOut(TraitedSpec):
    gm = traits.Str()
    wm = traits.Str()
    brain = traits.Str()
    labels = traits.Dict(traits.Str(), traits.Str())
    coverage = traits.Str()


class Tissue(Step):
    """Bring tissue fractions and atlases to the run."""

    input_spec = _TissueIn
    output_spec = _TissueOut

    def _work(self, folder: Path) -> dict[str, Any]:
        inputs = self.inputs
        return steps.tissue(
            inputs.run,
            inputs.science,
            folder,
            mask=inputs.mask,
            space={key: getattr(inputs, key) for key in ("to_asl", "to_template", "t1w_to_asl")},
            anatomy=inputs.anatomy,
            atlases=inputs.atlases,
        )


class _PerfusionIn(_Inputs):
    series = traits.File(exists=True, mandatory=True)
    m0 = traits.Str(mandatory=True)
    mask = traits.File(exists=True, mandatory=True)
    gm = traits.File(exists=True, mandatory=True)
    wm = traits.File(exists=True, mandatory=True)
    brain = traits.File(exists=True, mandatory=True)


class _PerfusionOut(TraitedSpec):
    deltam = traits.Str()
    cbf = traits.Str()
    cbf_standard_error = traits.Str()
    cbf_relative = traits.Str()
    m0map = traits.Str()
    # By name of the output; nipype deletes files that no output names.
    further = traits.Dict(traits.Str(), traits.Str())
    record = traits.Str()


class Perfusion(Step):
    """Quantify."""

    input_spec = _PerfusionIn
    output_spec = _PerfusionOut

    def _work(self, folder: Path) -> dict[str, Any]:
        inputs = self.inputs
        return steps.perfusion(
            inputs.run,
            inputs.science,
            folder,
            images={name: getattr(inputs, name) for name in steps.PERFUSION_IMAGES},
        )


DEPOSITED = (
    *("series", "matrices", "m0", "aslref", "mask", "gm", "wm", "brain"),
    *("to_asl", "t1w_to_asl", "registration"),
    *(
        "deltam",
        "cbf",
        "cbf_standard_error",
        "cbf_relative",
        "m0map",
        "record",
    ),
)


class _DepositIn(_Inputs):
    motion_notes = traits.File(exists=True, mandatory=True)
    reference_notes = traits.File(exists=True, mandatory=True)
    space_notes = traits.File(exists=True, mandatory=True)
    anatomy = traits.Dict(traits.Str(), traits.Str(), mandatory=True)
    further = traits.Dict(traits.Str(), traits.Str(), mandatory=True)
    atlases = traits.Any(mandatory=True, desc="tuple of Atlas")
    labels = traits.Dict(traits.Str(), traits.Str(), mandatory=True)
    coverage = traits.File(exists=True, mandatory=True)
    fingerprint = traits.Str(mandatory=True, desc="goes into the record of a finished run")


for _name in DEPOSITED:
    _DepositIn.add_class_trait(_name, traits.Str(mandatory=True))


class _DepositOut(TraitedSpec):
    outputs = traits.List(traits.Str())


class Deposit(Step):
    """Write the derivatives."""

    input_spec = _DepositIn
    output_spec = _DepositOut

    def _work(self, folder: Path) -> dict[str, Any]:
        from cereflow_bids.workflow.atlases import Regional
        from cereflow_bids.workflow.deposit import deposit

        inputs = self.inputs
        out_dir = Path(inputs.out_dir)
        notes = [
            note
            for source in (inputs.motion_notes, inputs.reference_notes, inputs.space_notes)
            for note in json.loads(Path(source).read_text(encoding="utf-8"))
        ]
        paths = {name: getattr(inputs, name) for name in DEPOSITED}
        regional = Regional(inputs.atlases, inputs.labels, inputs.coverage)
        further = inputs.further
        written = deposit(
            inputs.run,
            out_dir,
            paths,
            notes,
            further=further,
            regional=regional,
            anatomy=inputs.anatomy,
        )
        outputs = [str(path.relative_to(out_dir)) for path in written]
        record = json.loads(Path(inputs.record).read_text(encoding="utf-8"))
        refusal = record.get("Refused", "")
        self._tell(
            "done",
            step="Deposit",
            message=f"relative perfusion only: {refusal}" if refusal else record["Suspicion"],
            fingerprint=inputs.fingerprint,
            outputs=tuple(outputs),
        )
        return {"outputs": outputs}


class _ReportIn(BaseInterfaceInputSpec):
    participant = traits.Str(mandatory=True)
    runs = traits.List(traits.Str(), mandatory=True)
    out_dir = traits.Str(mandatory=True, nohash=True)


class _ReportOut(TraitedSpec):
    html = traits.Str()
    pdf = traits.Str()


class Report(Stoppable):
    """Write the report of one participant."""

    input_spec = _ReportIn
    output_spec = _ReportOut

    def _run_interface(self, runtime: Any) -> Any:
        from cereflow_bids.report.participant import build_participant_report

        html, pdf = build_participant_report(
            Path(self.inputs.out_dir), self.inputs.participant, self.inputs.runs
        )
        self._results |= {"html": str(html), "pdf": str(pdf)}
        return runtime
