"""The BIDS validator, where it is installed. It warns: our own checks decide per run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

SHOWN = 5


@contextmanager
def validating(bids_dir: Path | None) -> Iterator[Callable[[], list[str]]]:
    """Let the validator work during a block, in which its answer can be asked for.

    Parameters
    ----------
    bids_dir
        The raw dataset; it is only read. Without one, nothing is validated.

    Yields
    ------
    callable
        Waits, and returns lines for the user: the validator's errors, or that it could not be
        asked.
    """
    if bids_dir is None:
        yield list
        return
    program = shutil.which("bids-validator-deno", path=str(Path(sys.executable).parent))
    program = program or shutil.which("bids-validator-deno")
    if program is None:
        missing = "not installed (pip install bids-validator-deno); validation skipped."
        yield lambda: [missing]
        return
    words = [program, str(bids_dir), "--json"]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield lambda: _lines(process)
        finally:
            process.kill()


def _lines(process: subprocess.Popen[str]) -> list[str]:
    said, _ = process.communicate()
    try:
        issues = json.loads(said)["issues"]["issues"]
    except (ValueError, KeyError):
        return [f"gave no readable answer (exit code {process.returncode}); validation skipped."]
    errors = [issue for issue in issues if issue.get("severity") == "error"]
    lines = [f"{e['code']} {e.get('subCode', '')} {e.get('location', '')}" for e in errors[:SHOWN]]
    if len(errors) > SHOWN:
        lines.append(f"… {len(errors)} errors in all.")
    return lines
