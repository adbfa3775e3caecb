"""The real scans that have a T1w image, converted to BIDS; for the other benchmarks."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cereflow_bids.cli.convert import main as convert

Image = tuple[NDArray[np.floating], NDArray[np.floating]]

PROJECT = Path(__file__).resolve().parent.parent
SCANS = {
    # What the Philips header does not hold: the protocol of that very scan.
    "philips_pcasl3d_1delay_t1": ("--post-labeling-delay", "2.0", "--labeling-duration", "1.8"),
    "siemens_xa30_asl2d_t1": (),
}


def converted(stem: str, folder: Path) -> Path:
    """Convert a scan to a BIDS dataset in `folder` and return it."""
    data = Path(os.environ.get("CEREFLOW_TEST_DATA", PROJECT.parent / "shared" / "data"))
    bids = folder / "bids"
    code = convert([str(data / "zips" / f"{stem}.zip"), str(bids), *SCANS[stem], "--quiet"])
    if code:
        raise SystemExit(f"{stem}: cereflow-convert ended with exit code {code}")
    return bids


def m0_and_t1w(bids: Path) -> tuple[Image, Image]:
    """Return the mean M0 and the T1w image."""
    asl = next(bids.rglob("*_asl.nii.gz"))
    context = pd.read_csv(str(asl).replace("_asl.nii.gz", "_aslcontext.tsv"), sep="\t")
    series = nib.load(asl)
    m0 = series.get_fdata(dtype=np.float32)[..., context["volume_type"] == "m0scan"].mean(axis=-1)
    t1w = nib.load(next(bids.rglob("*_T1w.nii.gz")))
    return (m0, series.affine), (t1w.get_fdata(dtype=np.float32), t1w.affine)
