"""No more steps, memory and threads at once than were asked for."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from nipype import Node, Workflow
from nipype.interfaces.base import BaseInterfaceInputSpec, SimpleInterface, TraitedSpec, traits

from cereflow_bids.workflow import execution
from cereflow_bids.workflow.distribution import plugin
from cereflow_bids.workflow.plugin import ResilientMultiProc
from cereflow_bids.workflow.settings import Settings


class _In(BaseInterfaceInputSpec):
    journal = traits.Str()
    number = traits.Int()
    run = traits.Any(None, usedefault=True)
    after = traits.Any()


class _Out(TraitedSpec):
    done = traits.Bool()


class Busy(SimpleInterface):
    """Multiplies matrices, and notes from when to when and how many threads this process has."""

    input_spec = _In
    output_spec = _Out

    def _run_interface(self, runtime):
        import time

        import numpy as np

        begin = time.monotonic()
        matrix = np.ones((400, 400))
        while time.monotonic() < begin + 0.3:
            matrix = matrix @ matrix / 400
        threads = len(list(Path("/proc/self/task").iterdir()))
        note = f"{begin} {time.monotonic()} {threads} {os.getpid()}"
        Path(self.inputs.journal, str(self.inputs.number)).write_text(note)
        self._results["done"] = True
        return runtime


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted on Linux")
@pytest.mark.parametrize(
    ("limits", "gigabytes", "at_once"),
    [
        ({"nprocs": 1}, 0.1, 1),
        ({"nprocs": 2}, 0.1, 2),
        ({"nprocs": 4, "mem_mb": 2048}, 1.0, 2),
        ({"nprocs": 4, "omp_nthreads": 2}, 0.1, 2),
    ],
)
def test_steps_at_once(tmp_path, monkeypatch, limits, gigabytes, at_once):
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "64")
    journal = tmp_path / "journal"
    journal.mkdir()
    settings = Settings(tmp_path / "bids", tmp_path / "out", tmp_path / "work", **limits)
    execution._configure(settings)
    graph = Workflow("graph", base_dir=str(settings.work_dir))
    for number in range(5):
        node = Node(Busy(), f"busy{number}", mem_gb=gigabytes, n_procs=settings.omp_nthreads or 1)
        node.inputs.trait_set(journal=str(journal), number=number)
        graph.add_nodes([node])
    runner, arguments = plugin(settings)
    graph.run(plugin=runner(arguments))
    notes = [[float(word) for word in path.read_text().split()] for path in journal.iterdir()]
    assert len(notes) == 5
    spans = [(begin, end) for begin, end, *_ in notes]
    overlaps = [sum(b <= begin < e for b, e in spans) for begin, _ in spans]
    # More would be against the option; fewer at every moment would waste what was given.
    assert max(overlaps) == at_once
    if settings.nprocs > 1:
        # Libraries would start as many as there are cores.
        assert max(counted for _, _, counted, _ in notes) <= (settings.omp_nthreads or 1)


def test_a_run_is_finished_before_the_next_is_begun(tmp_path):
    graph = Workflow("graph", base_dir=str(tmp_path))
    for number, stem in enumerate(("sub-03", "sub-01", "sub-02")):
        run = Workflow(stem.replace("-", "_"))
        first, second = (Node(Busy(), name) for name in ("first", "second"))
        for step, node in enumerate((first, second)):
            place = 2 * number + step
            node.inputs.trait_set(
                journal=str(tmp_path), number=place, run=SimpleNamespace(stem=stem)
            )
        run.connect(first, "done", second, "after")
        graph.add_nodes([run])
    graph.run(plugin=ResilientMultiProc({"n_procs": 1, "mp_context": "forkserver"}))
    begun = {number: float((tmp_path / str(number)).read_text().split()[0]) for number in range(6)}
    assert sorted(begun, key=begun.__getitem__) == [2, 3, 4, 5, 0, 1]


def test_no_result_is_kept(tmp_path):
    # Each holds what its step was given; of a cohort that would be megabytes.
    graph = Workflow("graph", base_dir=str(tmp_path))
    node = Node(Busy(), "busy")
    node.inputs.trait_set(journal=str(tmp_path), number=1)
    graph.add_nodes([node])
    runner = ResilientMultiProc({"n_procs": 2, "mp_context": "forkserver"})
    graph.run(plugin=runner)
    assert (tmp_path / "1").is_file()
    kept = [value for value in vars(runner).values() if isinstance(value, dict) and value]
    assert "InterfaceResult" not in repr(kept)


ALONE = """
import sys
from pathlib import Path
from types import SimpleNamespace

def run(settings, dry_run):
    import numpy as np

    matrix = np.ones((400, 400))
    matrix @ matrix
    print(len(list(Path("/proc/self/task").iterdir())))
    return 0

sys.modules["cereflow_bids.cli.participant"] = SimpleNamespace(run=run)
from cereflow_bids.cli.cereflow import main

sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted on Linux")
def test_the_command_itself_has_one_thread(tmp_path):
    # With one process the steps are its own, and more threads would add up in another order.
    bids = tmp_path / "bids"
    bids.mkdir()
    words = [bids, tmp_path / "out", "participant", "-w", tmp_path / "work", "--nprocs", "1"]
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, "4")
    done = subprocess.run(
        [sys.executable, "-c", ALONE, *map(str, words)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("1\n", 0), done.stderr
