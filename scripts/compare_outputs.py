"""Compare two result folders: the same images and tables, the same to the last bit.

Usage: compare_outputs.py FOLDER OTHER. Images are compared unpacked, since the packing may
hold a time. Working folders are left out, and so are logs, reports and sidecars, which tell hours
and paths.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

KINDS = (".nii.gz", ".nii", ".tsv", ".csv")
LEFT_OUT = {"work", "logs"}


def contents(folder: Path) -> dict[str, bytes]:
    """Return path below the folder → unpacked content, of every image and table."""
    found = {}
    for path in sorted(folder.rglob("*")):
        below = path.relative_to(folder)
        if path.is_file() and path.name.endswith(KINDS) and not LEFT_OUT & set(below.parts):
            data = path.read_bytes()
            found[str(below)] = gzip.decompress(data) if path.suffix == ".gz" else data
    return found


def main() -> None:
    """Print how many agree; end with 1 if any does not."""
    one, other = (contents(Path(name)) for name in sys.argv[1:3])
    lines = [f"only in {sys.argv[1]}: {name}" for name in sorted(set(one) - set(other))]
    lines += [f"only in {sys.argv[2]}: {name}" for name in sorted(set(other) - set(one))]
    lines += [
        f"differs: {name}" for name in sorted(set(one) & set(other)) if one[name] != other[name]
    ]
    images = sum(".nii" in name for name in one)
    if lines or not images:
        sys.exit(
            "\n".join([*lines, f"{len(lines)} of {len(one)} images and tables do not agree."])
        )
    print(f"{images} images and {len(one) - images} tables are the same to the last bit.")


if __name__ == "__main__":
    main()
