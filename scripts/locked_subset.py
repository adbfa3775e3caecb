"""Print the part of requirements.lock that some packages need: they, and what came in by them.

Usage: locked_subset.py [--runtime] [NAME …]. --runtime stands for what
pyproject.toml says that cereflow needs, the validator included. Reads both files in the current
folder; needs the standard library only.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
ENTRY = re.compile(r"^([a-z0-9][a-z0-9.-]*)==(?:.*\n)(?:[ ]+.*\n)*", re.MULTILINE)
PARENT = re.compile(r"^ +# +(?:via +)?([A-Za-z0-9][A-Za-z0-9._-]*)$", re.MULTILINE)


def runtime(pyproject: str) -> set[str]:
    """Return the names of the packages that pyproject.toml asks for, less the developers'."""
    project = tomllib.loads(pyproject)["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["validate"]]
    return {canonical(match[0]) for line in wanted if (match := NAME.match(line))}


def canonical(name: str) -> str:
    """Return a package's name as the lock file spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def subset(lock: str, wanted: set[str]) -> list[str]:
    """Return the entries of a lock file that belong to the wanted packages, in its order.

    Raises
    ------
    SystemExit
        If a wanted package is not in the lock file.
    """
    entries = {match[1]: match[0] for match in ENTRY.finditer(lock)}
    missing = sorted(wanted - set(entries))
    if missing:
        sys.exit(f"requirements.lock lacks {', '.join(missing)}. To fix: make lock")
    parents = {
        name: {canonical(parent) for parent in PARENT.findall(entry)}
        for name, entry in entries.items()
    }
    taken: set[str] = set()
    more = set(wanted)
    while more:
        taken |= more
        more = {name for name, via in parents.items() if via & taken} - taken
    return [entry for name, entry in entries.items() if name in taken]


def main() -> None:
    """Print the entries."""
    wanted = {canonical(name) for name in sys.argv[1:] if name != "--runtime"}
    if "--runtime" in sys.argv:
        wanted |= runtime(Path("pyproject.toml").read_text(encoding="utf-8"))
    lock = Path("requirements.lock").read_text(encoding="utf-8")
    print("".join(subset(lock, wanted)), end="")


if __name__ == "__main__":
    main()
