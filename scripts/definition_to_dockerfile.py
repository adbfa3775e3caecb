"""Translate singularity.def to a Dockerfile, to run its steps where there is no Apptainer.

Usage: definition_to_dockerfile.py DEFINITION FOLDER. Writes FOLDER/definition.Dockerfile, in
which each %post is one shell that stops at the first error, as Apptainer runs it, and
FOLDER/definition.sh, a shell file that sets the variables of %environment and has the functions
test_section and run_section.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

KNOWN = {"files", "post", "environment", "runscript", "test", "labels", "help"}


@dataclass
class Stage:
    """One stage: its header, its sections in order, and what stands after a section's name."""

    header: dict[str, str] = field(default_factory=dict)
    sections: list[tuple[str, str, str]] = field(default_factory=list)

    def text(self, name: str) -> str:
        """Return what all sections of one name say, without the margin."""
        return "\n".join(textwrap.dedent(text) for kind, _, text in self.sections if kind == name)


def stages(definition: str) -> list[Stage]:
    """Return the stages of a definition file."""
    found: list[Stage] = []
    for part in re.split(r"^(?=Bootstrap:)", definition, flags=re.MULTILINE)[1:]:
        head, *sections = re.split(r"^%", part, flags=re.MULTILINE)
        stage = Stage(dict(re.findall(r"^(\w+): *(.+)$", head, re.MULTILINE)))
        for section in sections:
            first, _, text = section.partition("\n")
            name, _, rest = first.partition(" ")
            if name not in KNOWN:
                sys.exit(f"%{name} is not known here: translate it first.")
            stage.sections.append((name, rest.strip(), text.rstrip() + "\n"))
        found.append(stage)
    return found


def dockerfile(found: list[Stage]) -> str:
    """Return the Dockerfile of the stages."""
    lines = []
    for stage in found:
        lines.append(f"FROM {stage.header['From']} AS {stage.header['Stage']}")
        for kind, rest, text in stage.sections:
            if kind != "files":
                continue
            source = f"--from={rest.removeprefix('from ').strip()} " if rest else ""
            for line in filter(None, map(str.strip, text.splitlines())):
                origin, target = shlex.split(line)
                lines.append(f"COPY {source}{origin} {target}")
        lines.append("RUN " + json.dumps(["/bin/sh", "-ec", stage.text("post")]))
    return "\n".join(lines) + "\n"


def shell(stage: Stage) -> str:
    """Return the shell file of the last stage."""
    test, run = stage.text("test"), stage.text("runscript")
    functions = f"test_section() {{ set -e\n{test}}}\nrun_section() {{\n{run}}}\n"
    return f"{stage.text('environment')}\n{functions}"


def main() -> None:
    """Write both files."""
    found = stages(Path(sys.argv[1]).read_text(encoding="utf-8"))
    folder = Path(sys.argv[2])
    (folder / "definition.Dockerfile").write_text(dockerfile(found), encoding="utf-8")
    (folder / "definition.sh").write_text(shell(found[-1]), encoding="utf-8")


if __name__ == "__main__":
    main()
