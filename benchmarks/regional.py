"""Regional CBF without the T1w image against that with it, and what registration costs.

    python benchmarks/regional.py [--keep FOLDER] [SCAN …]

Each real scan with a T1w image is run through ``cereflow … participant`` twice, with it and with
``--ignore t1w``. The CBF map of the first run is averaged over the labels of either run, so that
only the place of the regions differs. Regions count that have 10 voxels in both, and half of
themselves imaged. The displacement is that of points of the template's brain in the ASL mask.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from nipype.utils.filemanip import loadpkl
from numpy.typing import NDArray
from scans_with_t1w import SCANS, converted

from cereflow_bids.cli.cereflow import main as cereflow
from cereflow_bids.imaging.point_map import PointMap, transform
from cereflow_bids.imaging.standard_space import template_mask
from cereflow_bids.regions.statistics import MIN_COVERAGE, MIN_VOXELS
from cereflow_bids.resources import template
from cereflow_bids.workflow.space_maps import load_map

ATLASES = {"gyral": "DesikanKilliany", "lobes": "Lobes", "territories": "ArterialTerritories"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scans", nargs="*", default=list(SCANS), metavar="SCAN")
    parser.add_argument("--keep", type=Path, help="leave datasets and results here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for stem in arguments.scans:
            _compare(stem, (arguments.keep or Path(temporary)) / stem)
    return 0


def _compare(stem: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    bids = folder / "bids" if (folder / "bids").is_dir() else converted(stem, folder)
    for name, options in (("with", []), ("without", ["--ignore", "t1w"])):
        words = [bids, folder / name, "participant", "-w", folder / f"{name}-work", *options]
        code = cereflow([*map(str, words), "--skip-bids-validation"])
        if code:
            raise SystemExit(f"{stem}: cereflow ended with exit code {code}")
    steps = {name: next((folder / f"{name}-work").rglob("standard_space")) for name in
             ("with", "without")}  # fmt: skip
    seconds = _seconds(steps["with"]), _seconds(steps["without"])
    head = sum(_seconds(path) for path in (folder / "with-work" / "participants").glob("*T1w*"))
    print(f"\n{stem}: registration {seconds[1]:.1f} s without T1w; {seconds[0]:.1f} s with it, "
          f"after {head:.1f} s for the T1w image")  # fmt: skip
    ways = [load_map(str(steps[name] / "to_asl.npz")) for name in ("with", "without")]
    print(f"  mean displacement {_displacement(ways, folder):.2f} mm")
    for label, atlas in ATLASES.items():
        first, second = _means(folder, atlas)
        gap = 100 * np.mean(np.abs(second - first) / first)
        r = np.corrcoef(first, second)[0, 1]
        print(f"  {label:<12} r {r:.3f}, mean abs difference {gap:.1f} % ({first.size} regions)")


def _seconds(node: Path) -> float:
    """Return how long a step took, by nipype's own record."""
    return float(loadpkl(node / f"result_{node.name}.pklz").runtime.duration)


def _displacement(ways: list[Any], folder: Path) -> float:
    brain = nib.load(template("T1w"))
    places = np.argwhere(template_mask(brain.get_fdata(dtype=np.float32)))[::3000]
    points = transform(brain.affine, places.T.astype(float))
    there, here = (
        way.apply(points) if isinstance(way, PointMap) else transform(way, points) for way in ways
    )
    mask, affine = _image(folder / "with", "desc-brain_mask")
    voxels = np.rint(transform(np.linalg.inv(affine), there)).astype(int)
    inside = ((voxels >= 0) & (voxels < np.array(mask.shape)[:, None])).all(axis=0)
    inside[inside] = mask[tuple(voxels[:, inside])] > 0
    return float(np.linalg.norm(there - here, axis=0)[inside].mean())


def _means(folder: Path, atlas: str) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    cbf, _ = _image(folder / "with", "cbf")
    mask = _image(folder / "with", "desc-brain_mask")[0] > 0
    both = []
    for name in ("with", "without"):
        labels, _ = _image(folder / name, f"atlas-{atlas}_dseg")
        path = next((folder / name).rglob(f"*_atlas-{atlas}_cbf.tsv"))
        table = pd.read_csv(path, sep="\t", na_values=["n/a"])
        inside = mask & np.isfinite(cbf)
        voxels = [cbf[inside & (labels == index)] for index in table["index"]]
        usable = [
            found.size >= MIN_VOXELS and share >= MIN_COVERAGE
            for found, share in zip(voxels, table["coverage"], strict=True)
        ]
        both.append([v.mean() if good else np.nan for v, good in zip(voxels, usable, strict=True)])
    first, second = np.array(both)
    known = np.isfinite(first) & np.isfinite(second)
    return first[known], second[known]


def _image(out: Path, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    image = nib.load(next(out.glob(f"sub-*/perf/sub-01_{name}.nii.gz")))
    return np.asarray(image.dataobj), image.affine


if __name__ == "__main__":
    raise SystemExit(main())
