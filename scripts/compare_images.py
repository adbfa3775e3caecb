"""Compare two container images file by file, in all but the times.

Usage: compare_images.py IMAGE OTHER. Needs podman and root. Ends with 1 if anything differs.
"""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
from pathlib import Path


def mounted(image: str) -> Path:
    """Return the folder under which podman shows an image's files."""
    command = ["podman", "image", "mount", image]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Path(run.stdout.strip())


def entries(root: Path) -> dict[str, tuple]:
    """Return path → everything about it but its times."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = Path(folder) / name
            about = path.lstat()
            content = ""
            if stat.S_ISLNK(about.st_mode):
                content = str(path.readlink())
            elif stat.S_ISREG(about.st_mode):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            below = str(path.relative_to(root))
            found[below] = (about.st_mode, about.st_uid, about.st_gid, content)
    return found


def main() -> None:
    """Print what differs, and how many files were compared."""
    one, other = (entries(mounted(image)) for image in sys.argv[1:3])
    for image in sys.argv[1:3]:
        subprocess.run(["podman", "image", "unmount", image], check=True, stdout=subprocess.PIPE)
    differing = sorted(name for name in one | other if one.get(name) != other.get(name))
    print(*differing, f"{len(differing)} of {len(one)} files differ.", sep="\n")
    sys.exit(1 if differing or not one else 0)


if __name__ == "__main__":
    main()
