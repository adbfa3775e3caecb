"""A `cereflow` for the PATH of other programs that takes quick steps (see quick_steps)."""

import os
import sys
from pathlib import Path

TEXT = """#!{python}
import sys
from pathlib import Path

sys.path.insert(0, {tests!r})
import quick_steps

quick_steps.quicken(Path({journal!r}))
from cereflow_bids.cli.cereflow import main

sys.exit(main())
"""


def environment(folder: Path) -> dict[str, str]:
    """Return an environment in which `cereflow` is quick; `folder` takes it and its journal."""
    folder.mkdir(parents=True)
    command = folder / "cereflow"
    tests, journal = str(Path(__file__).parent), str(folder / "journal.txt")
    command.write_text(TEXT.format(python=sys.executable, tests=tests, journal=journal))
    command.chmod(0o755)
    return os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
