"""What the user chose, frozen: it is handed in, nobody looks it up."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cereflow_bids.bids.dataset import Selection
from cereflow_bids.quantification.science import Science
from cereflow_bids.regions.atlas import Atlas, packaged_atlases
from cereflow_bids.workflow.output_spaces import OutputSpaces
from cereflow_bids.workflow.plugin_file import Plugin


@dataclass(frozen=True)
class Settings:
    """One call of ``cereflow … participant``.

    Attributes
    ----------
    bids_dir, out_dir, work_dir
        Absolute folders.
    selection
        Which runs.
    science
        Choices that change numbers.
    atlases
        Regions of which there are tables; the packaged ones and those of the user.
    spaces
        Where maps are written besides the run's own grid.
    nprocs, omp_nthreads, mem_mb
        Processes, cores that one step may use (None: those that no other step needs), memory for
        all processes (None: not limited).
    plugin
        How the steps are run; None for processes of this machine.
    stop_on_first_crash
        Give up at the first failure instead of finishing the others.
    resource_monitor
        Record time and memory of every step.
    write_graph
        Write the graph of steps.
    clean_workdir
        Remove the intermediate results of runs that are done.
    database_dir
        pybids index to reuse.
    validate
        Whether the BIDS validator runs first.
    verbose
        How much nipype tells.
    """

    bids_dir: Path
    out_dir: Path
    work_dir: Path
    selection: Selection = field(default_factory=Selection)
    science: Science = field(default_factory=Science)
    atlases: tuple[Atlas, ...] = field(default_factory=packaged_atlases)
    spaces: OutputSpaces = field(default_factory=OutputSpaces)
    nprocs: int = 1
    omp_nthreads: int | None = None
    mem_mb: int | None = None
    plugin: Plugin | None = None
    stop_on_first_crash: bool = False
    resource_monitor: bool = False
    write_graph: bool = False
    clean_workdir: bool = False
    database_dir: Path | None = None
    validate: bool = True
    verbose: int = 0

    @property
    def processes(self) -> int:
        """How many steps may run at once on this machine; 1 where they run on a cluster."""
        if self.plugin is None:
            return self.nprocs
        if self.plugin.name == "Linear" or self.plugin.on_cluster:
            return 1
        return int(self.plugin.arguments.get("n_procs") or self.nprocs)

    @property
    def memory_gb(self) -> float | None:
        """What steps that run at once on this machine may take together; None: not limited."""
        if self.plugin is not None and self.plugin.on_cluster:
            return None
        given = self.plugin.arguments.get("memory_gb") if self.plugin is not None else None
        if given:
            return float(given)
        return self.mem_mb / 1024 if self.mem_mb else None

    @property
    def worker_modules(self) -> tuple[str, ...]:
        """What the workers on this machine load before they are given a step."""
        steps = "cereflow_bids.workflow." + ("interfaces" if self.verbose else "quiet")
        # What takes longest to load; most steps register something.
        return steps, "ants"

    def cores_per_step(self, at_once: int) -> int:
        """Return how many cores a step may use where `at_once` of them may run at once."""
        return self.omp_nthreads or max(1, self.processes // max(1, at_once))
