"""The BIDS validator, where it is installed. It warns: our own checks decide per run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

SHOWN = 5


def validate(bids_dir: Path) -> list[str]:
    """Return lines for the user: the validator's errors, or that it could not be asked.

    Parameters
    ----------
    bids_dir
        The raw dataset; it is only read.
    """
    program = shutil.which("bids-validator-deno", path=str(Path(sys.executable).parent))
    program = program or shutil.which("bids-validator-deno")
    if program is None:
        return ["not installed (pip install 'cereflow-bids[validate]'); validation skipped."]
    done = subprocess.run(
        [program, str(bids_dir), "--json"], capture_output=True, text=True, check=False
    )
    try:
        issues = json.loads(done.stdout)["issues"]["issues"]
    except (ValueError, KeyError):
        return [f"gave no readable answer (exit code {done.returncode}); validation skipped."]
    errors = [issue for issue in issues if issue.get("severity") == "error"]
    lines = [f"{e['code']} {e.get('subCode', '')} {e.get('location', '')}" for e in errors[:SHOWN]]
    if len(errors) > SHOWN:
        lines.append(f"… {len(errors)} errors in all.")
    return lines
