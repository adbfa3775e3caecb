"""Noisy multi-delay ASL of the phantom brain, from its truth maps or from other smooth fields."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cereflow_bids.perfusion.kinetics import tissue_response
from cereflow_bids.perfusion.scheme import LabelingScheme

Float = NDArray[np.float64]
DELAYS = (0.25, 0.75, 1.25, 1.75, 2.25, 2.75)
REPEATS = 8


@dataclass(frozen=True)
class Phantom:
    """Truth (x, y, z): CBF mL/100 g/min, ATT and T1 s, M0; tissues: pure voxels."""

    cbf: Float
    att: Float
    t1: Float
    m0: Float
    mask: NDArray[np.bool_]
    tissues: dict[str, NDArray[np.bool_]]
    voxel_size: tuple[float, float, float]


def scheme() -> LabelingScheme:
    return LabelingScheme("PCASL", DELAYS, (1.8,) * 6, 0.85, 1.65, (REPEATS,) * 6, model="full")


def data_folder() -> Path:
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("CEREFLOW_TEST_DATA", beside)) / "phantoms"


def load(name: str = "varied_multi_clean", folder: Path | None = None) -> Phantom:
    import nibabel as nib

    truth = (folder or data_folder()) / name / "derivatives" / "truth" / "sub-01" / "perf"

    def image(part: str) -> Float:
        return np.asarray(nib.load(truth / f"sub-01_{part}.nii.gz").dataobj, dtype=np.float64)

    size = nib.load(truth / "sub-01_desc-brain_mask.nii.gz").header.get_zooms()[:3]
    maps = [image(f"desc-truth_{part}") for part in ("cbf", "att", "T1map", "M0map")]
    mask = (image("desc-brain_mask") > 0) & (maps[3] > 0) & (maps[2] > 0)
    tissues = {k: (image(f"label-{k}_desc-pure_mask") > 0) & mask for k in ("gm", "wm")}
    return Phantom(*maps, mask, tissues, tuple(float(s) for s in size))


def other_fields(phantom: Phantom, seed: int, reach: float = 12.0) -> Phantom:
    """Replace CBF and ATT by other smooth fields (SD of the Gaussian `reach`, mm), by tissue."""
    rng = np.random.default_rng(seed)
    sigma = reach / np.asarray(phantom.voxel_size)

    def smooth() -> Float:
        field = ndimage.gaussian_filter(rng.standard_normal(phantom.mask.shape), sigma)
        return (field - field[phantom.mask].mean()) / field[phantom.mask].std()

    # How much of a voxel is white matter, from its T1: 0.83 s there, 1.33 s in grey matter.
    white = np.clip((1.33 - phantom.t1) / 0.5, 0, 1)
    white = np.where(phantom.t1 > 1.5, 0, white)
    cbf = (1 - white) * (60 + 10 * smooth()) + white * (21 + 3 * smooth())
    cbf = np.where(phantom.t1 > 2.0, 0.2 * cbf, cbf)
    att = (1 - white) * (1.0 + 0.18 * smooth()) + white * (1.35 + 0.18 * smooth())
    keep = phantom.mask
    return replace(
        phantom, cbf=np.where(keep, cbf.clip(2), 0), att=np.where(keep, att.clip(0.3, 2.2), 0)
    )


def noisy_signal(phantom: Phantom, seed: int, snr: float = 200.0) -> Float:
    """λ·ΔM/M0 (x, y, z, 6), the mean of the repeats; control and label each noisy."""
    rng = np.random.default_rng(seed)
    m = phantom.mask
    s = scheme()
    own = {"t1_tissue": phantom.t1[m], "cbf": phantom.cbf[m]}
    clean = phantom.cbf[m][:, None] / 6000 * tissue_response(s, phantom.att[m], **own)
    sd = phantom.m0[m].mean() / snr * np.sqrt(2 / REPEATS)
    noise = (
        sd * rng.standard_normal(clean.shape) * (s.partition_coefficient / phantom.m0[m])[:, None]
    )
    signal = np.zeros((*m.shape, s.size))
    signal[m] = clean + noise
    return signal


def noisy_m0(phantom: Phantom, seed: int, snr: float = 200.0) -> Float:
    """Return one M0 image (x, y, z) with the noise of the others."""
    noise = np.random.default_rng([seed, 1]).standard_normal(phantom.m0.shape)
    return np.where(phantom.mask, phantom.m0 + phantom.m0[phantom.mask].mean() / snr * noise, 0)
