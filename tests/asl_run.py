"""A run from a sidecar in memory, for tests of quantification without files."""

from pathlib import Path

import numpy as np

from cereflow_bids.bids.m0_metadata import read_calibration
from cereflow_bids.bids.metadata import read_labeling
from cereflow_bids.bids.run import AslRun
from cereflow_bids.bids.sidecar import Sidecar

VALUES = {
    "ArterialSpinLabelingType": "PCASL",
    "MRAcquisitionType": "3D",
    "MagneticFieldStrength": 3,
    "LabelingEfficiency": 0.85,
    "LabelingDuration": 1.8,
    "M0Type": "Included",
    "RepetitionTimePreparation": 6.0,
}


def run_of(context, delays, shape, **changed):
    """Return the run of an `aslcontext`, a delay or one per volume, and changed metadata."""
    delays = list(delays) if isinstance(delays, list | tuple) else delays
    sidecar = Sidecar(VALUES | {"PostLabelingDelay": delays} | changed, "sub-01_asl.nii.gz")
    labeling, notes = read_labeling(sidecar, context, shape)
    calibration = read_calibration(sidecar, context, None, labeling)
    return AslRun(
        "sub-01", "01", None, Path("asl"), "sub-01", tuple(context), labeling, calibration,
        notes=tuple(notes),
    )  # fmt: skip


def halves(shape):
    """Return grey, white and no CSF fractions: grey matter in the first half along x."""
    gm = np.zeros(shape)
    gm[: shape[0] // 2] = 1
    return gm, 1 - gm, np.zeros(shape)
