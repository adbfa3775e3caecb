"""nipype interfaces of the steps that write what users keep: derivatives and reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nipype.interfaces.base import BaseInterfaceInputSpec, TraitedSpec, traits

from cereflow_bids.workflow.step import Step, StepInputs
from cereflow_bids.workflow.stopping import Stoppable

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
        "gain",
        "weights",
    ),
)


class _DepositIn(StepInputs):
    motion_notes = traits.File(exists=True, mandatory=True)
    reference_notes = traits.File(exists=True, mandatory=True)
    space_notes = traits.File(exists=True, mandatory=True)
    anatomy = traits.Dict(traits.Str(), traits.Str(), mandatory=True)
    further = traits.Dict(traits.Str(), traits.Str(), mandatory=True)
    atlases = traits.Any(mandatory=True, desc="tuple of Atlas")
    labels = traits.Dict(traits.Str(), traits.Str(), mandatory=True)
    coverage = traits.File(exists=True, mandatory=True)
    spaces = traits.Any(mandatory=True, desc="OutputSpaces")
    bridges = traits.Dict(traits.Str(), traits.Str(), mandatory=True)
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
            spaces=inputs.spaces,
            bridges=inputs.bridges,
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
