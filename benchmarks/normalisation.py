"""The T1w image on the template: how well brain and tissues meet there, and seconds.

    python benchmarks/normalisation.py [SCAN …]

For each real scan with a T1w image: the pipeline's own way from the image to tissues and template.
Tissues are held against the template's by Dice twice: those of the pipeline, which were found with
the template's as priors, and those of plain k-means, which know nothing of it and so tell of the
registration alone.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import ants
import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scans_with_t1w import SCANS, converted

from cereflow_bids.imaging.masks import dice
from cereflow_bids.imaging.registration import to_ants
from cereflow_bids.imaging.resampling import resample
from cereflow_bids.imaging.t1w import Anatomy, Template, prepare_t1w
from cereflow_bids.resources import template

Array = NDArray[np.floating]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scans", nargs="*", default=list(SCANS), metavar="SCAN")
    for stem in parser.parse_args().scans:
        with tempfile.TemporaryDirectory() as folder:
            image = nib.load(next(converted(stem, Path(folder)).rglob("*_T1w.nii.gz")))
            values = image.get_fdata(dtype=np.float32)
        start = time.perf_counter()
        found = prepare_t1w(values, image.affine, _template())
        seconds = time.perf_counter() - start
        print(f"{stem}: {seconds:.1f} s; brain against the template's, Dice {found.overlap:.3f}")
        for name, tissues in (
            ("of the pipeline", (found.gm, found.wm)),
            ("of k-means", _plain(found, image.affine)),
        ):
            gm, wm = _agreement(found, tissues, image.affine)
            print(f"  tissues {name:<16} grey {gm:.3f}, white {wm:.3f}", flush=True)
    return 0


def _template() -> Template:
    image = nib.load(template("T1w"))
    brain = image.get_fdata(dtype=np.float32)
    gm, wm = (nib.load(template(name)).get_fdata(dtype=np.float32) / 255 for name in ("GM", "WM"))
    return Template(brain, gm, wm, image.affine)


def _plain(found: Anatomy, affine: Array) -> tuple[Array, Array]:
    """Return grey and white matter by intensity alone."""
    classes = ants.kmeans_segmentation(
        to_ants(np.where(found.mask, found.head, 0), affine),
        3,
        to_ants(found.mask.astype(np.float32), affine),
    )
    _, gm, wm = (one.numpy() for one in classes["probabilityimages"])
    return gm, wm


def _agreement(found: Anatomy, tissues: tuple[Array, Array], affine: Array) -> list[float]:
    """Return the Dice of grey and of white matter on the grid of the template."""
    standard = _template()
    shape = standard.brain.shape
    return [
        dice(resample(one, affine, shape, standard.affine, world=found.to_t1w, order=1) > 0.5,
             known > 0.5)
        for one, known in zip(tissues, (standard.gm, standard.wm), strict=True)
    ]  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
