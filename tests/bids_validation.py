"""The BIDS validator, as tests call it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any


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
