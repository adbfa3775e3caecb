"""What it costs to run the steps by ``cereflow … participant`` and not as bare functions.

    python benchmarks/overhead.py [--participants 1 3] [--phantom] [ZIP]

The same steps, on the same images, are run twice, one after the other in one process each time:
by a script that calls the functions behind them, each with what the ones before it returned, and
by ``cereflow --nprocs 1``. Everything that the second takes longer is overhead: starting, loading
the libraries that only it needs (nipype, pybids), indexing and checking the dataset, the BIDS
validator, planning, hashing inputs, results and records of each step, locks. What the functions
themselves load (numpy, scipy, nibabel, pandas, ANTs, ONNX Runtime, matplotlib, WeasyPrint) counts
for both. Participants are copies of one scan without its T1w: the Philips one of the test data
unless another is named, or a phantom. Processor time tells more than wall time where a machine is
shared.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

from cohort import PHANTOM, dataset

PROJECT = Path(__file__).resolve().parent.parent
SCAN = "philips_pcasl3d_1delay_t1.zip"
LABELING = ("--post-labeling-delay", "2.0", "--labeling-duration", "1.8")
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")} | {
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("zip", nargs="?", type=Path)
    parser.add_argument("--participants", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--phantom", action="store_true", help="a small phantom, not a scan")
    parser.add_argument("--bare", type=Path, nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.bare:
        print(json.dumps(bare(*chosen.bare)))
        return 0
    data = Path(os.environ.get("CEREFLOW_TEST_DATA", PROJECT.parent / "shared" / "data"))
    print(f"{'':<16}{'bare':>16}{'cereflow':>16}{'overhead':>18}")
    titles = "".join(f"{title:>8}" for title in ("cpu s", "wall s") * 2)
    print(f"{'participants':<16}{titles}{'cpu':>9}{'wall':>9}")
    with tempfile.TemporaryDirectory() as name:
        source = data / "phantoms" / PHANTOM
        if not chosen.phantom:
            source = converted(chosen.zip or data / "zips" / SCAN, Path(name) / "source")
        for count in chosen.participants:
            folder = Path(name) / str(count)
            bids = dataset(source, folder / "bids", count)
            one = measured([sys.executable, __file__, "--bare", bids, folder / "bare"])
            words = [bids, folder / "out", "participant", "-w", folder / "work", "--nprocs", "1"]
            other = measured([Path(sys.executable).parent / "cereflow", *words])
            print(_line(count, one, other), flush=True)
    return 0


def converted(archive: Path, bids: Path) -> Path:
    # What a header holds wins over these; the Philips header holds neither.
    options = LABELING if archive.name.startswith("philips") else ()
    program = Path(sys.executable).parent / "cereflow-convert"
    words = [program, archive, bids, *options, "--quiet"]
    subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL)
    return bids


def measured(words: list[object]) -> tuple[float, float]:
    """Run a command; processor and wall seconds, those that it told of itself if it did."""
    start = time.monotonic()
    process = subprocess.Popen(
        [str(word) for word in words],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | ONE_THREAD,
    )
    said = process.stdout.read() if process.stdout else ""
    _, code, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - start
    if code:
        raise SystemExit(f"{words[0]} ended with {os.waitstatus_to_exitcode(code)}: {said}")
    if said.startswith("{"):
        told = json.loads(said.splitlines()[0])
        return told["cpu"], told["wall"]
    return usage.ru_utime + usage.ru_stime, wall


def bare(bids: Path, out: Path) -> dict[str, float]:
    """Call the functions of every step in a row, and return the seconds that they took."""
    start, work = time.monotonic(), time.process_time()
    _load_functions()
    wall, cpu = time.monotonic() - start, time.process_time() - work
    from cereflow_bids.bids.dataset import Selection
    from cereflow_bids.bids.derivatives import DerivativeWriter
    from cereflow_bids.workflow.graph import participant_graph, report_graph
    from cereflow_bids.workflow.plan import make_plan
    from cereflow_bids.workflow.settings import Settings

    selection = Selection((), (), None, ("t1w",))
    settings = Settings(bids, out, out / "work", selection=selection)
    plan = make_plan(settings)
    out.mkdir(parents=True)
    DerivativeWriter(out).write_dataset_description()
    graph = participant_graph(plan.todo, plan.fingerprints, settings)
    runs_of = {run.participant: [run.stem] for run in plan.todo}
    start, work = time.monotonic(), time.process_time()
    for one in (graph, report_graph(runs_of, settings)):
        _call_in_turn(one, out / "bare")
    cpu += time.process_time() - work
    return {"cpu": cpu, "wall": wall + time.monotonic() - start}


def _load_functions() -> None:
    """Load what the functions need, before planning loads some of it for another reason."""
    import nibabel  # noqa: F401
    import pandas  # noqa: F401

    import cereflow_bids.report.participant
    import cereflow_bids.workflow.deposit
    import cereflow_bids.workflow.steps  # noqa: F401

    if {"nipype", "bids"} & set(sys.modules):
        raise SystemExit("the functions load nipype or pybids, which counts as overhead")


def _call_in_turn(graph: object, folder: Path) -> None:
    """Call each step with what those before it returned; nipype only tells which those are."""
    import networkx as nx

    flat = graph._create_flat_graph()
    made = {}
    for number, node in enumerate(nx.lexicographical_topological_sort(flat, key=str)):
        for before, _, edge in flat.in_edges(node, data=True):
            for source, target in edge["connect"]:
                setattr(node.inputs, target, made[before][source])
        place = folder / f"{graph.name}{number}"
        place.mkdir(parents=True)
        node.interface._run_interface(SimpleNamespace(cwd=str(place)))
        made[node] = node.interface._results


def _line(count: int, one: tuple[float, float], other: tuple[float, float]) -> str:
    seconds = "".join(f"{value:>8.1f}" for value in (*one, *other))
    shares = "".join(f"{100 * (b / a - 1):>8.1f}%" for a, b in zip(one, other, strict=True))
    return f"{count:<16}{seconds}{shares}"


if __name__ == "__main__":
    raise SystemExit(main())
