"""The nipype node of a pair of runs, and the graph of all pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nipype.interfaces.base import BaseInterfaceInputSpec, TraitedSpec, traits
from nipype.pipeline import engine as pe

from cereflow_bids.bids.reactivity_pairs import Pair
from cereflow_bids.bids.reactivity_record import (
    ReactivityRecord,
    read_reactivity,
    write_reactivity,
)
from cereflow_bids.errors import CereflowError
from cereflow_bids.workflow.graph import identifier
from cereflow_bids.workflow.settings import Settings
from cereflow_bids.workflow.stopping import Stoppable

NAME = "reactivity"
MEMORY_GB = 0.9
REPORT_BUG = "this is a bug or a broken machine; the traceback is in the crash file under logs/."


class _ReactivityIn(BaseInterfaceInputSpec):
    pair = traits.Any(mandatory=True, desc="Pair")
    seed = traits.Int(mandatory=True)
    out_dir = traits.Str(mandatory=True, nohash=True)


class _ReactivityOut(TraitedSpec):
    outputs = traits.List(traits.Str())


class Reactivity(Stoppable):
    """Compare two finished runs, and say in the record of the pair what became of it."""

    input_spec = _ReactivityIn
    output_spec = _ReactivityOut

    def _run_interface(self, runtime: Any) -> Any:
        from cereflow_bids.workflow.reactivity import measure_reactivity

        pair, out_dir = self.inputs.pair, Path(self.inputs.out_dir)
        try:
            written = measure_reactivity(out_dir, pair, seed=self.inputs.seed)
        except CereflowError as error:
            self._tell(state="failed", message=error.what, fix=error.fix)
            raise
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            self._tell(state="failed", message=message, fix=REPORT_BUG)
            raise
        outputs = [str(path.relative_to(out_dir)) for path in written]
        self._tell(state="done", outputs=tuple(outputs))
        self._results["outputs"] = outputs
        return runtime

    def _tell(self, **changes: Any) -> None:
        pair, out_dir = self.inputs.pair, Path(self.inputs.out_dir)
        known = read_reactivity(out_dir, pair.group) or ReactivityRecord(
            pair.group, "waiting", pair.baseline, pair.stimulus
        )
        write_reactivity(out_dir, replace(known, **changes))


def reactivity_graph(pairs: Sequence[Pair], settings: Settings) -> pe.Workflow:
    """Return the workflow that compares the runs of each pair."""
    whole = pe.Workflow(NAME, base_dir=str(settings.work_dir))
    for pair in pairs:
        node = pe.Node(Reactivity(), name=identifier(pair.group), mem_gb=MEMORY_GB)
        node.inputs.trait_set(pair=pair, seed=settings.science.seed, out_dir=str(settings.out_dir))
        # Its input are files of the output folder, which its name does not tell apart.
        node.overwrite = True
        whole.add_nodes([node])
    return whole
