"""Brain masks of the ASL image against that of the T1w image, and what they cost.

    python benchmarks/masks.py [SCAN …]

For each real scan with a T1w image: the brain is extracted from the T1w and moved rigidly to the
ASL grid; the masks that each method draws on M0, and the one that the pipeline chooses, are held
against it by Dice. The T1w brain is itself the network's: there is no manual one.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scans_with_t1w import SCANS, Image, converted, m0_and_t1w

from cereflow_bids.imaging import masks, threshold_masks
from cereflow_bids.imaging.brain_network import extract_brain
from cereflow_bids.imaging.coregistration import register_to_t1w
from cereflow_bids.imaging.resampling import area_average
from cereflow_bids.imaging.segmentation import correct_bias
from cereflow_bids.imaging.slab_network import slab_mask


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scans", nargs="*", default=list(SCANS), metavar="SCAN")
    for stem in parser.parse_args().scans:
        with tempfile.TemporaryDirectory() as folder:
            m0, t1w = m0_and_t1w(converted(stem, Path(folder)))
        truth = _moved_brain(m0, t1w)
        for name, method in _methods(*m0).items():
            start = time.perf_counter()
            mask = method()
            seconds = time.perf_counter() - start
            print(f"{stem:<28}{name:<34}{masks.dice(mask, truth):.3f}{seconds:7.1f} s", flush=True)
    return 0


def _moved_brain(m0: Image, t1w: Image) -> NDArray[np.bool_]:
    head, affine = t1w
    brain = extract_brain(head, affine)
    own = masks.brain_mask(*m0).mask
    found = register_to_t1w(*m0, correct_bias(head, affine, brain), affine, brain, mask=own)
    if not found.trusted:
        raise SystemExit(found.note)
    world = np.linalg.inv(found.matrix)
    return area_average(brain, affine, own.shape, m0[1], world=world) > 0.5


def _methods(m0: NDArray[np.floating], affine: NDArray[np.floating]) -> dict[str, Callable]:
    def threshold(name: str) -> Callable[[], NDArray[np.bool_]]:
        return lambda: threshold_masks.threshold_masks(m0, affine)[name]

    names = threshold_masks.threshold_masks(m0, affine)
    return {
        "network": lambda: slab_mask(m0, affine),
        **{f"threshold: {name} (all made)": threshold(name) for name in names},
        "thresholds, vote": lambda: threshold_masks.vote(
            list(threshold_masks.threshold_masks(m0, affine).values())
        ),
        "chosen by the pipeline": lambda: masks.brain_mask(m0, affine).mask,
    }


if __name__ == "__main__":
    raise SystemExit(main())
