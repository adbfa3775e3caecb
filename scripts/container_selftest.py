"""Check from inside that a container is whole: modules, programs, data, fonts, no build tools.

Usage: python selftest.py [VERSION]. Writes to the folder of temporary files only; needs no
network and no HOME.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAMS = {
    "cereflow": "--version",
    "cereflow-convert": "--version",
    "cereflow-demo": "--version",
    "cereflow-status": "--version",
    "dcm2niix": "--version",
    "heudiconv": "--version",
    "bids-validator-deno": "--version",
}
LEFT_OUT = ("pip", "pip3", "gcc", "cc", "c++", "make", "ld")
CHINESE = "脑血流"
CHINESE_FONT = "WenQuanYi"
# dcm2niix ends its --version with this code.
ALSO_FINE = {"dcm2niix": {3}}


def import_everything() -> int:
    """Import every module of the package and the heavy libraries; return how many modules."""
    package = importlib.import_module("cereflow_bids")
    names = [m.name for m in pkgutil.walk_packages(package.__path__, "cereflow_bids.")]
    for name in names:
        importlib.import_module(name)
    from cereflow_bids.processes import have_a_home

    have_a_home()
    for library in ("ants", "bids", "heudiconv", "nilearn", "nipype", "onnxruntime", "weasyprint"):
        importlib.import_module(library)
    return len(names)


def check_programs(version: str) -> None:
    """Run every program once; ours tell the version of the package."""
    for program, option in PROGRAMS.items():
        run = subprocess.run([program, option], check=False, capture_output=True, text=True)
        said = (run.stdout + run.stderr).strip()
        if run.returncode not in {0} | ALSO_FINE.get(program, set()):
            sys.exit(f"{program} {option} ended with {run.returncode}: {said}")
        if program.startswith("cereflow") and said.split()[-1] != version:
            sys.exit(f"{program} says {said!r}, the package is {version}.")
    left = [program for program in LEFT_OUT if shutil.which(program)]
    if left:
        sys.exit(f"Build tools are left in the container: {', '.join(left)}.")


def check_data() -> None:
    """Find the packaged templates, atlases and models."""
    from cereflow_bids.resources import RESOURCES, packaged_folder, template

    wanted = [template(kind) for kind in ("T1w", "GM", "WM")]
    wanted += [packaged_folder("heuristics"), packaged_folder("derivatives_spec")]
    wanted += [RESOURCES / "atlases", RESOURCES / "models"]
    missing = [str(path) for path in wanted if not path.exists()]
    if missing:
        sys.exit(f"These packaged data are missing: {', '.join(missing)}.")


def check_fonts() -> None:
    """Make a PDF with Chinese in it: without the font its letters would be dropped silently."""
    import weasyprint

    with tempfile.TemporaryDirectory() as folder:
        pdf = Path(folder) / "page.pdf"
        html = f"<p style='font-family: DejaVu Sans, WenQuanYi Micro Hei'>CBF {CHINESE}</p>"
        weasyprint.HTML(string=html).write_pdf(pdf, uncompressed_pdf=True)
        if CHINESE_FONT.encode() not in pdf.read_bytes():
            sys.exit(f"{CHINESE_FONT} is not in the PDF: Chinese letters would be missing.")


def main() -> None:
    """Check everything; the first thing that is wrong ends it."""
    import cereflow_bids

    version = cereflow_bids.__version__
    if len(sys.argv) > 1 and sys.argv[1] != version:
        sys.exit(f"The container's label says {sys.argv[1]}, the package is {version}.")
    check_programs(version)
    modules = import_everything()
    check_data()
    check_fonts()
    home = os.environ.get("HOME", "unset")
    print(f"cereflow {version}: {modules} modules, as user {os.getuid()}, HOME {home}: all well")


if __name__ == "__main__":
    main()
