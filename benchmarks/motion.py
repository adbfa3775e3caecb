"""Rigid motion that is known, put into real volumes and found again, and the time it takes.

    OMP_NUM_THREADS=1 python benchmarks/motion.py [--cases 4] [ZIP …]

Without arguments it takes the pCASL scans of Philips and Siemens in the test data. A pair of
volumes is the mean control, or the mean label, of the scan in two poses, each with what one real
volume differs from that mean, shifted by up to two voxels; an eighth of the slices is cut off at
either end, so that some of the head leaves the slab. The error is the mean distance between where
a point is and where it was found, mm, over what is bright in M0, mostly the brain. `loop` needs no
truth: a real volume registered to two others, against these two registered to each other.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from overhead import SCAN, converted
from scipy import ndimage
from scipy.spatial.transform import Rotation

from cereflow_bids.imaging.motion import _rigid, estimate_motion, realign
from cereflow_bids.imaging.series_alignment import Reference
from cereflow_bids.workflow.images import load_input

Array = NDArray[np.floating]
Way = Callable[[Array, Array, Array], Array]
PROJECT = Path(__file__).resolve().parent.parent
SCANS = (SCAN, "siemens_pcasl3d_1delay.zip")
SIZES = (0.1, 0.3, 1.0, 3.0)
BASE = 0.3
CUT = 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("zips", nargs="*", type=Path)
    parser.add_argument("--cases", type=int, default=4)
    arguments = parser.parse_args()
    data = Path(os.environ.get("CEREFLOW_TEST_DATA", PROJECT.parent / "shared" / "data"))
    ways: dict[str, Way] = {"information": _information, "squares": _squares}
    sizes = "".join(f"{f'{size} mm, deg':>13}" for size in SIZES)
    print(f"{'scan':<28}{'reference, volume':<18}{'way':<13}{sizes}{'loop':>8}{'cpu s':>7}")
    for archive in arguments.zips or [data / "zips" / name for name in SCANS]:
        with tempfile.TemporaryDirectory() as folder:
            scan = Scan(converted(archive, Path(folder) / "bids"))
        for kinds in (("control", "control"), ("label", "control")):
            for name, way in ways.items():
                figures = _figures(scan, kinds, way, arguments.cases)
                print(f"{archive.stem:<28}{', '.join(kinds):<18}{name:<13}{figures}", flush=True)
    return 0


class Scan:
    """Mean volumes, what each volume adds to them, and the brain."""

    def __init__(self, bids: Path) -> None:
        path = next(bids.glob("sub-*/**/*_asl.nii.gz"))
        self.series, self.affine = load_input(path, str(path))
        context = path.with_name(path.name.replace("_asl.nii.gz", "_aslcontext.tsv"))
        self.kinds = np.array(context.read_text().split()[1:])
        still = realign(
            self.series, self.affine, estimate_motion(self.series, self.affine, self.kinds)
        )
        still = np.where(np.isfinite(still), still, self.series)
        volumes = {kind: still[..., self.kinds == kind] for kind in ("control", "label")}
        self.means = {kind: several.mean(axis=-1) for kind, several in volumes.items()}
        self.rests = {
            # A mean of n volumes has taken up 1/n of what they differ.
            kind: (several - self.means[kind][..., None])
            * np.sqrt(several.shape[-1] / (several.shape[-1] - 1))
            for kind, several in volumes.items()
        }
        m0 = ndimage.gaussian_filter(self.series[..., self.kinds == "m0scan"].mean(axis=-1), 1.5)
        inside = np.argwhere(m0 > 0.35 * np.percentile(m0, 98))[::50]
        self.points = inside @ self.affine[:3, :3].T + self.affine[:3, 3]

    def pairs(
        self, kinds: tuple[str, str], size: float, cases: int
    ) -> Iterator[tuple[Array, Array, Array, Array]]:
        """Yield reference, volume, their affine, and the matrix from one to the other."""
        rng = np.random.default_rng(round(1000 * size))
        for _ in range(cases):
            poses = [_pose(rng, BASE, self.points), _pose(rng, size, self.points)]
            poses[1] = poses[1] @ poses[0]
            one, other = (
                self._image(kind, pose, rng) for kind, pose in zip(kinds, poses, strict=True)
            )
            slices = one.shape[2] // 8
            kept = (slice(CUT, -CUT), slice(CUT, -CUT), slice(slices, -slices))
            affine = self.affine.copy()
            affine[:3, 3] += affine[:3, :3] @ (CUT, CUT, slices)
            yield one[kept], other[kept], affine, np.linalg.inv(poses[1]) @ poses[0]

    def _image(self, kind: str, pose: Array, rng: np.random.Generator) -> Array:
        voxels = np.linalg.inv(self.affine) @ pose @ self.affine
        image = ndimage.affine_transform(
            self.means[kind].astype(np.float64),
            voxels[:3, :3],
            voxels[:3, 3],
            order=5,
            mode="nearest",
        )
        rest = self.rests[kind][..., rng.integers(self.rests[kind].shape[-1])]
        shift = tuple(int(step) for step in rng.integers(-2, 3, 3))
        return image + rng.choice([-1, 1]) * np.roll(rest, shift, (0, 1, 2))

    def loops(self, kind: str, way: Way) -> list[float]:
        """Return by how much ways round three volumes do not close, mm; at most four of them."""
        first, second, *others = np.flatnonzero(self.kinds == kind)[:6]
        series, affine = self.series, self.affine
        between = way(series[..., first], series[..., second], affine)
        return [
            self.apart(
                way(series[..., first], series[..., k], affine),
                way(series[..., second], series[..., k], affine) @ between,
            )
            for k in others
        ]

    def apart(self, one: Array, other: Array) -> float:
        """Return the mean distance over the brain between what two matrices say, mm."""
        difference = (one - other)[:3]
        moved = self.points @ difference[:, :3].T + difference[:, 3]
        return float(np.linalg.norm(moved, axis=1).mean())


def _pose(rng: np.random.Generator, size: float, points: Array) -> Array:
    """Return a shift (mm) and a turn (degrees) of a typical length."""
    centre = points.mean(axis=0)
    pose = np.eye(4)
    angles = rng.normal(size=3) * size / np.sqrt(3)
    pose[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    pose[:3, 3] = centre + rng.normal(size=3) * size / np.sqrt(3) - pose[:3, :3] @ centre
    return pose


def _figures(scan: Scan, kinds: tuple[str, str], way: Way, cases: int) -> str:
    words, seconds, count = "", 0.0, 0
    for size in SIZES:
        errors = []
        for reference, volume, affine, truth in scan.pairs(kinds, size, cases):
            start = time.process_time()
            errors.append(scan.apart(way(reference, volume, affine), truth))
            seconds, count = seconds + time.process_time() - start, count + 1
        words += f"{np.mean(errors):>13.3f}"
    loops = scan.loops(kinds[0], way) if kinds[0] == kinds[1] else []
    loop = f"{np.mean(loops):.3f}" if loops else "-"
    return f"{words}{loop:>8}{seconds / count:>7.2f}"


def _information(fixed: Array, moving: Array, affine: Array) -> Array:
    return _rigid(fixed, moving, affine, 0)


def _squares(fixed: Array, moving: Array, affine: Array) -> Array:
    found = Reference(fixed, affine).align(moving)
    if found is None:
        sys.exit("Least squares found no pose.")
    return found


if __name__ == "__main__":
    raise SystemExit(main())
