"""The BIDS validator and our own checks beside it, as tests call them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from cereflow_bids.bids.rules import violations


def validator_errors(dataset: Path) -> list[dict[str, Any]]:
    """Return the errors (not the warnings) that bids-validator-deno finds in `dataset`."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    command = shutil.which("bids-validator-deno", path=path)
    assert command, "bids-validator-deno is missing: install the 'validate' extra"
    done = subprocess.run(
        [command, dataset, "--json"], capture_output=True, text=True, check=False
    )
    issues = json.loads(done.stdout)["issues"]["issues"]
    return [issue for issue in issues if issue["severity"] == "error"]


def own_violations(dataset: Path) -> list[str]:
    """Return what in `dataset` breaks a rule of BIDS that validators do not enforce, as lines."""
    return [str(violation) for violation in violations(dataset)]
