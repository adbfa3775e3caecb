"""What the user sees while nipype works: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol


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


def _plain_lines(node: Any, status: str) -> None:
    if status == "start":
        print(_label(node), flush=True)


def _label(node: Any) -> str:
    """``participants.sub_01_run_2.motion`` → ``sub-01 run-2: motion``."""
    graph, *parts = node.fullname.split(".")
    words = parts[0].split("_")
    entities = " ".join("-".join(pair) for pair in zip(words[::2], words[1::2], strict=False))
    return (
        f"{entities}: {parts[1].replace('_', ' ') if len(parts) > 1 else graph.removesuffix('s')}"
    )
