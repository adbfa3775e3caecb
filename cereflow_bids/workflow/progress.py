"""What the user sees while nipype works: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from cereflow_bids.bids.status import UNFINISHED, State, read_status, write_status


class Listener(Protocol):
    """Is told when a node starts, ends or fails; nipype's status callback."""

    def __call__(self, node: Any, status: str) -> None:
        """Take one event."""


@contextlib.contextmanager
def progress(total: int, title: str) -> Iterator[Listener]:
    """Show the progress of `total` nodes while the block runs.

    Parameters
    ----------
    total
        Number of nodes.
    title
        What is being done.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    console = Console()
    if not console.is_terminal:
        yield _plain_lines
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task(title, total=total)

        def advance(node: Any, status: str) -> None:
            bar.update(task, description=_label(node), advance=0 if status == "start" else 1)

        yield advance


def recording(listener: Listener, out_dir: Path, *, local: bool = True) -> Listener:
    """Keep the records of runs between their steps, and pass every event on.

    A step that runs says so itself, from wherever it runs. Here is known what it cannot know: that
    it was handed over to a worker or to a cluster's queue and has not begun, that another one is
    still there when it ends, or that none of the steps of its run is anywhere.

    Parameters
    ----------
    listener
        Is told as well.
    out_dir
        Where the records are.
    local
        Whether what is handed over begins at once, as on this machine, or may wait in a queue.
    """
    handed_over: defaultdict[str, dict[str, str]] = defaultdict(dict)

    def note(node: Any, status: str) -> None:
        for stem in runs_of(node):
            steps, step = handed_over[stem], type(node.interface).__name__
            steps.pop(node.fullname, None)
            others = list(steps.values())
            if status == "start":
                steps[node.fullname] = step
            # A full disk is the steps' own business to report.
            with contextlib.suppress(OSError):
                if status == "start" and not others:
                    _note(out_dir, stem, "queued", step)
                elif status == "end" and not others:
                    _note(out_dir, stem, "waiting", step)
                elif status == "end":
                    _note(out_dir, stem, "running" if local else "queued", others[0], shown=step)
        listener(node, status)

    return note


def runs_of(node: Any) -> list[str]:
    """Return the run that a node is a step of, or the runs that go with a T1w image."""
    run = getattr(node.inputs, "run", None)
    if run is not None:
        return [run.stem]
    return list(node.inputs.runs) if hasattr(node.inputs, "t1w") else []


def _note(out_dir: Path, stem: str, state: State, step: str, shown: str = "") -> None:
    """Write a record anew, unless the run has ended or it shows another step than `shown`."""
    known = read_status(out_dir, stem)
    if known is not None and known.state in UNFINISHED and shown in ("", known.step):
        write_status(out_dir, replace(known, state=state, step=step))


def _plain_lines(node: Any, status: str) -> None:
    if status == "start":
        print(_label(node), flush=True)


def _label(node: Any) -> str:
    """``participants.sub_01_run_2.motion`` → ``sub-01 run-2: motion``; T1w images likewise."""
    graph, *parts = node.fullname.split(".")
    words = parts[0].split("_")
    if words[-1] == "T1w":
        parts = [parts[0], words.pop()]
    entities = " ".join("-".join(pair) for pair in zip(words[::2], words[1::2], strict=False))
    return (
        f"{entities}: {parts[1].replace('_', ' ') if len(parts) > 1 else graph.removesuffix('s')}"
    )
