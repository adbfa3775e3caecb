"""Time and memory of every step, measured by the process that runs it, on whatever machine."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cereflow_bids.atomic import write_text_atomically

if TYPE_CHECKING:
    from nipype.pipeline.engine import Workflow

FOLDER = ("logs", "resources")


def monitor(graph: Workflow, out_dir: Path) -> None:
    """Let every step of a graph leave a record of what it took.

    Parameters
    ----------
    graph
        Its nodes are told where; that does not count as an input of theirs.
    out_dir
        Derivatives folder.
    """
    for name in graph.list_node_names():
        node = graph.get_node(name)
        record = ".".join((graph.name, name)) + ".json"
        node.interface.measured = out_dir.joinpath(*FOLDER, record)


@contextmanager
def measuring(record: Path | None) -> Iterator[None]:
    """Write wall time, processor time and peak memory of a block into a record.

    Parameters
    ----------
    record
        JSON file; nothing is measured if None.
    """
    if record is None:
        yield
        return
    from_here = _forget_peak()
    start, work = time.monotonic(), _processor_seconds()
    yield
    content = {
        "wall_s": round(time.monotonic() - start, 3),
        "processor_s": round(_processor_seconds() - work, 3),
        "peak_mb": _peak() if from_here else None,
    }
    record.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomically(record, json.dumps(content, indent=1) + "\n")


def _forget_peak() -> bool:
    """Let Linux count the peak of this process's memory from now on; say whether it does."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _peak() -> float:
    """Return the peak of this process's memory, libraries included, in MB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return round(int(kilobytes) / 1024, 1)


def _processor_seconds() -> float:
    """Return the processor time of this process, its threads and the children that have ended."""
    return sum(os.times()[:4])
