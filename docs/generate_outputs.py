"""Write docs/outputs.md from derivatives_spec/, so that the page cannot drift from the code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).resolve().parent.parent
PAGE = PROJECT / "docs" / "outputs.md"
FOLDERS = {
    "perf": ("In `sub-<label>[/ses-<label>]/perf/`", "{run}", "sub-01_ses-1_run-2"),
    "figures": ("In `sub-<label>/figures/`", "{run}", "sub-01_ses-1_run-2"),
    "anat": ("In `sub-<label>[/ses-<label>]/anat/`, by T1w image", "{run}", "sub-01_ses-1"),
    "root": ("In the output folder itself", "{participant}", "sub-01"),
}

OPENING = """\
# Outputs

<!-- Written by `make docs` from derivatives_spec/; edit that, not this page. -->

`cereflow bids/ out/ participant` and `cereflow bids/ out/ group` write the files below and no
others, besides `dataset_description.json`, `.bidsignore` and the folder `logs/` (one status record
per run in `logs/status/`, a crash file where something unexpected happened). Each image and table
has a JSON file beside it with the same name: units, description and sources for an image, the
dictionary of the columns for a table. The sidecar of a CBF map also lists every constant that
entered it, with its value, its unit and where it came from.

`{{space}}` stands for a standard space with its voxel edge in mm, such as {space},
which is written where no other is [asked for](processing.md#spaces), and `{{template}}` for its
name alone. `{{atlas}}` stands for the name of an atlas: there is one file for each. {atlas} is
the one whose regions the reports list; [regions.md](regions.md) tells of the others, and of those
given by `--atlas`.
"""


def read_spec(name: str) -> Any:
    """Return one file of derivatives_spec/."""
    return yaml.safe_load((PROJECT / "derivatives_spec" / name).read_text(encoding="utf-8"))


def outputs_page() -> str:
    """Return the whole page as Markdown."""
    spec, columns = read_spec("outputs.yaml"), read_spec("columns.yaml")
    parts = [OPENING.format(space=spec["space"], atlas=spec["atlas"])]
    outputs = spec["outputs"].values()
    unknown = {output["folder"] for output in outputs} - set(FOLDERS)
    if unknown:
        raise ValueError(f"outputs.yaml names folders that this page does not know: {unknown}")
    for folder, (title, placeholder, example) in FOLDERS.items():
        parts.append(f"## {title}\n\n`{placeholder}` stands for the likes of `{example}`.\n")
        rows = [_file_row(output) for output in outputs if output["folder"] == folder]
        parts.append(_table(("File", "Content", "Unit", "When"), rows))
    for name, fields in columns.items():
        files = [output["name"] for output in outputs if output.get("columns") == name]
        parts.append(f"## Columns of {', '.join(f'`{file}`' for file in files)}\n")
        rows = [_column_row(column, about) for column, about in fields.items()]
        parts.append(_table(("Column", "Content", "Unit"), rows))
    return "\n".join(parts)


def _file_row(output: dict[str, Any]) -> tuple[str, ...]:
    unit = output.get("units", "")
    unit = "ratio" if unit == "1" else unit
    return f"`{output['name']}`", output["description"], unit, output["when"]


def _column_row(name: str, about: dict[str, Any]) -> tuple[str, ...]:
    levels = "; ".join(f"`{level}` {text}" for level, text in about.get("levels", {}).items())
    content = f"{about['description']} ({levels})" if levels else about["description"]
    unit = about.get("units", "")
    return f"`{name}`", content, "ratio or number" if unit == "1" else unit


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(outputs_page(), encoding="utf-8")
