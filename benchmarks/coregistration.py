"""How far the registration of ASL to the T1w recovers from known motions, and whose sides it sees.

    python benchmarks/coregistration.py [--motions N] [SCAN …]

For each real scan with a T1w image: the header of the M0 image is turned by up to 10 degrees about
each axis of its centre and moved by up to 10 mm along each, and the pipeline's own function
registers it again. The error is the distance, over the brain of the T1w, to where the header
as it is led; `spread` is what the pipeline reports. `sides` is its measure of left and right
(above 3 the same, below -3 exchanged); it is also taken with the ASL image's data really mirrored,
with the T1w's, and with pairs of slices averaged.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scans_with_t1w import SCANS, converted, m0_and_t1w
from scipy.spatial.transform import Rotation

from cereflow_bids.imaging import masks
from cereflow_bids.imaging.brain_network import extract_brain
from cereflow_bids.imaging.coregistration import Coregistration, register_to_t1w
from cereflow_bids.imaging.point_map import transform
from cereflow_bids.imaging.segmentation import correct_bias

LARGEST = 10.0  # degrees and mm


@dataclass(frozen=True, eq=False)
class Scan:
    """M0 and its mask, and the T1w image and its brain, each pair on one grid."""

    m0: NDArray[np.floating]
    mask: NDArray[np.bool_]
    affine: NDArray[np.floating]
    head: NDArray[np.floating]
    brain: NDArray[np.bool_]
    head_affine: NDArray[np.floating]

    def registered(self) -> tuple[Coregistration, float]:
        """Register, and return seconds of the processor, too."""
        start = time.process_time()
        images = (self.m0, self.affine, self.head, self.head_affine, self.brain)
        found = register_to_t1w(*images, mask=self.mask)
        return found, time.process_time() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scans", nargs="*", default=list(SCANS), metavar="SCAN")
    parser.add_argument("--motions", type=int, default=6, help="how many, of one fixed series")
    arguments = parser.parse_args()
    for stem in arguments.scans:
        with tempfile.TemporaryDirectory() as folder:
            (m0, affine), (t1w, head_affine) = m0_and_t1w(converted(stem, Path(folder)))
        brain = extract_brain(t1w, head_affine)
        head = correct_bias(t1w, head_affine, brain)
        mask = masks.brain_mask(m0, affine).mask
        _measure(stem, Scan(m0, mask, affine, head, brain, head_affine), arguments.motions)
    return 0


def _measure(stem: str, scan: Scan, motions: int) -> None:
    as_it_is, seconds = scan.registered()
    _tell(stem, "as it is", as_it_is, seconds)
    points = transform(scan.head_affine, np.argwhere(scan.brain).T[:, ::200].astype(float))
    errors = []
    for number, motion in enumerate(_motions(scan, motions), start=1):
        found, seconds = replace(scan, affine=motion @ scan.affine).registered()
        gap = transform(found.matrix, points) - transform(motion @ as_it_is.matrix, points)
        errors.append(np.linalg.norm(gap, axis=0))
        told = f"error mean {errors[-1].mean():.2f} max {errors[-1].max():.2f} mm"
        _tell(stem, f"motion {number}", found, seconds, told)
    if errors:
        means = [error.mean() for error in errors]
        print(f"{stem}: error {min(means):.2f} to {max(means):.2f} mm, mean {np.mean(means):.2f}; "
              f"largest of a voxel {np.max(errors):.2f}", flush=True)  # fmt: skip
    for name, variant in _variants(scan).items():
        _tell(stem, name, *variant.registered())


def _tell(stem: str, name: str, found: Coregistration, seconds: float, error: str = "") -> None:
    print(
        f"{stem:<27}{name:<22}spread {found.spread:5.2f} mm  sides {found.sides:5.1f}  "
        f"{seconds:5.1f} s of the processor  {error}",
        flush=True,
    )


def _motions(scan: Scan, count: int) -> list[NDArray[np.floating]]:
    rng = np.random.default_rng(0)
    centre = transform(scan.affine, (np.array(scan.m0.shape) - 1) / 2)
    motions = []
    for _ in range(count):
        motion = np.eye(4)
        angles = rng.uniform(-LARGEST, LARGEST, 3)
        motion[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
        shift = rng.uniform(-LARGEST, LARGEST, 3)
        motion[:3, 3] = centre - motion[:3, :3] @ centre + shift
        motions.append(motion)
    return motions


def _variants(scan: Scan) -> dict[str, Scan]:
    """Return the scan with sides exchanged, and with thick slices.

    Both images lie with their first axis from left to right or back.
    """
    asl = replace(scan, m0=scan.m0[::-1].copy(), mask=scan.mask[::-1].copy())
    t1w = replace(scan, head=scan.head[::-1].copy(), brain=scan.brain[::-1].copy())
    return {
        "ASL mirrored": asl,
        "T1w mirrored": t1w,
        "thick": _thick(scan),
        "thick, ASL mirrored": _thick(asl),
    }


def _thick(scan: Scan) -> Scan:
    pairs = scan.m0.shape[2] // 2
    shape = (*scan.m0.shape[:2], pairs, 2)
    doubled = scan.affine @ np.diag([1.0, 1, 2, 1])
    doubled[:3, 3] = transform(scan.affine, np.array([0, 0, 0.5]))
    mask = scan.mask[..., : 2 * pairs].reshape(shape).any(axis=-1)
    m0 = scan.m0[..., : 2 * pairs].reshape(shape).mean(axis=-1)
    return replace(scan, m0=m0, mask=mask, affine=doubled)


if __name__ == "__main__":
    raise SystemExit(main())
