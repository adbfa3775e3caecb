"""nipype interfaces of the steps that compute: each calls one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nipype.interfaces.base import TraitedSpec, traits

from cereflow_bids.workflow import steps
from cereflow_bids.workflow.step import Step, StepInputs


class _ThreadedInputs(StepInputs):
    # The result does not depend on it.
    threads = traits.Int(1, usedefault=True, nohash=True, desc="cores for parts of the step")


class _MotionOut(TraitedSpec):
    series = traits.Str()
    matrices = traits.Str()
    notes = traits.Str()


class Motion(Step):
    """Realign the series."""

    input_spec = _ThreadedInputs
    output_spec = _MotionOut

    def _work(self, folder: Path) -> dict[str, Any]:
        inputs = self.inputs
        return steps.motion(inputs.run, inputs.science, folder, threads=inputs.threads)


class _ReferenceIn(_ThreadedInputs):
    series = traits.File(exists=True, mandatory=True)


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


class _StandardSpaceIn(_ThreadedInputs):
    series = traits.File(exists=True, mandatory=True)
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
            series=inputs.series,
            aslref=inputs.aslref,
            mask=inputs.mask,
            anatomy=inputs.anatomy,
            threads=inputs.threads,
        )


class _TissueIn(_ThreadedInputs):
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
            threads=inputs.threads,
        )


class _PerfusionIn(StepInputs):
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
    # What makes CBF from the volumes.
    gain = traits.Str()
    weights = traits.Str()


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
