"""The participant graph: one small workflow per run, all in one nipype workflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nipype.pipeline import engine as pe

from cereflow_bids import __version__
from cereflow_bids.bids.run import AslRun
from cereflow_bids.workflow import interfaces, outcome
from cereflow_bids.workflow.anatomy import NO_ANATOMY, Anatomy
from cereflow_bids.workflow.bridges import bridge_paths
from cereflow_bids.workflow.memory import NEEDS, step_gb
from cereflow_bids.workflow.settings import Settings

EDGES = (
    ("motion", "reference", ("series",)),
    ("motion", "standard_space", ("series",)),
    ("reference", "standard_space", ("aslref", "mask")),
    ("reference", "tissue", ("mask",)),
    ("standard_space", "tissue", ("to_asl", "to_template", "t1w_to_asl")),
    ("motion", "perfusion", ("series",)),
    ("reference", "perfusion", ("m0", "mask")),
    ("tissue", "perfusion", ("gm", "wm", "brain")),
    ("motion", "deposit", ("series", "matrices", ("notes", "motion_notes"))),
    ("reference", "deposit", ("m0", "aslref", "mask", ("notes", "reference_notes"))),
    (
        "standard_space",
        "deposit",
        ("to_asl", "t1w_to_asl", "registration", ("notes", "space_notes")),
    ),
    ("tissue", "deposit", ("gm", "wm", "brain", "labels", "coverage")),
    (
        "perfusion",
        "deposit",
        ("deltam", "cbf", "cbf_standard_error", "cbf_relative", "m0map", "further", "record"),
    ),
    ("perfusion", "deposit", ("gain", "weights")),
)
WITH_ANATOMY = ("standard_space", "tissue", "deposit")
BEFORE_ANATOMY = ("motion", "reference")
AFTER_ANATOMY = ("standard_space", "tissue")
"""Steps that can use several cores, and whether the T1w image is still being prepared then."""

WHOLE = "participants"
REPORTS = "reports"
STEPS = {
    "motion": interfaces.Motion,
    "reference": interfaces.Reference,
    "standard_space": interfaces.StandardSpace,
    "tissue": interfaces.Tissue,
    "perfusion": interfaces.Perfusion,
    "deposit": outcome.Deposit,
}


def participant_graph(
    runs: Sequence[AslRun], fingerprints: Mapping[str, str], settings: Settings
) -> pe.Workflow:
    """Return the workflow that takes every run from images to derivatives.

    Parameters
    ----------
    runs
        Validated runs.
    fingerprints
        Digest of each run's input, settings and version, for its status record.
    settings
        What the user chose.
    """
    whole = pe.Workflow(WHOLE, base_dir=str(settings.work_dir))
    heads: dict[str, pe.Node] = {}
    at_once = len(runs) + len({anatomy_name(run) for run in runs} - {""})
    for run in runs:
        graph = run_graph(run, fingerprints[run.stem], settings)
        _share_cores(graph, {BEFORE_ANATOMY: at_once, AFTER_ANATOMY: len(runs)}, settings)
        whole.add_nodes([graph])
        name = anatomy_name(run)
        if name:
            head = heads.setdefault(name, _anatomy_node(run, settings, at_once))
            head.inputs.runs = [*head.inputs.runs, run.stem]
            names = [f"{step}.anatomy" for step in WITH_ANATOMY]
            whole.connect([(head, graph, [("anatomy", target) for target in names])])
    return whole


def _share_cores(
    graph: pe.Workflow, at_once: Mapping[tuple[str, ...], int], settings: Settings
) -> None:
    """Let steps use the cores that nothing else needs; `at_once` says by what they are shared."""
    for names, count in at_once.items():
        for name in names:
            node = graph.get_node(name)
            node.n_procs = node.inputs.threads = settings.cores_per_step(count)


def _anatomy_node(run: AslRun, settings: Settings, at_once: int) -> pe.Node:
    node = pe.Node(Anatomy(), name=anatomy_name(run), mem_gb=step_gb("anatomy", run))
    known = run.precomputed
    node.inputs.trait_set(
        t1w=str(run.t1w or ""),
        precomputed=known,
        files={part: str(path) for part, path in known.files.items()} if known else {},
        runs=[],
        out_dir=str(settings.out_dir),
        seed=settings.science.seed,
        version=__version__,
        threads=settings.cores_per_step(at_once),
    )
    node.n_procs = node.inputs.threads
    return node


def run_graph(run: AslRun, fingerprint: str, settings: Settings) -> pe.Workflow:
    """Return the workflow of one run."""
    graph = pe.Workflow(identifier(run.stem))
    common = {
        "run": run,
        "science": settings.science,
        "version": __version__,
        "out_dir": str(settings.out_dir),
    }
    nodes = {name: _node(name, run, common) for name in STEPS}
    nodes["deposit"].inputs.trait_set(
        fingerprint=fingerprint, spaces=settings.spaces, bridges=bridge_paths(settings)
    )
    if not anatomy_name(run):
        for name in WITH_ANATOMY:
            nodes[name].inputs.anatomy = NO_ANATOMY
    for name in ("tissue", "deposit"):
        nodes[name].inputs.atlases = settings.atlases
    # Always runs, for it is cheap: outputs that were deleted come back from the work folder.
    nodes["deposit"].overwrite = True
    for source, target, fields in EDGES:
        pairs = [field if isinstance(field, tuple) else (field, field) for field in fields]
        graph.connect([(nodes[source], nodes[target], pairs)])
    return graph


def report_graph(runs_of: Mapping[str, Sequence[str]], settings: Settings) -> pe.Workflow:
    """Return the workflow that writes the report of each participant."""
    whole = pe.Workflow(REPORTS, base_dir=str(settings.work_dir))
    for participant, runs in runs_of.items():
        name, memory = identifier(f"sub-{participant}"), NEEDS["report"].fixed
        node = pe.Node(outcome.Report(), name=name, mem_gb=memory)
        node.inputs.trait_set(
            participant=participant, runs=list(runs), out_dir=str(settings.out_dir)
        )
        node.overwrite = True
        whole.add_nodes([node])
    return whole


def anatomy_name(run: AslRun) -> str:
    """Return the name of the node that prepares the anatomy of a run; empty if it has none."""
    if run.precomputed is not None:
        return identifier(f"{run.precomputed.stem}_T1w")
    return identifier(run.t1w.name.partition(".")[0]) if run.t1w is not None else ""


def identifier(stem: str) -> str:
    """Return a name that nipype accepts, one for each run stem."""
    return stem.replace("-", "_").replace("+", "_plus_")


def _node(name: str, run: AslRun, common: Mapping[str, Any]) -> pe.Node:
    node = pe.Node(STEPS[name](), name=name, mem_gb=step_gb(name, run))
    node.inputs.trait_set(**common)
    return node
