"""What the three scanners would measure on a digital head.

Every 1 mm point of brain obeys the consensus single-delay equation with arterial M0a taken as
the point's own tissue M0 over λ, which is what a voxelwise calibration with one λ assumes. A voxel
adds up its points. The rest is as in a scanner, and *not* as the quantification assumes: each
tissue has its own T1 and T2, so that recovery within TR and decay until TE differ between tissues,
and fluid is in the M0 of cortical voxels. This forward model is written from the equations and
shares no code with the quantification.

Noise is Gaussian, of the same strength in every image of a series, on the magnitude of the static
images; GE's perfusion weighted image is treated as a signed difference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.demo.brain import SampledHead

Array = NDArray[np.float64]

EFFICIENCY = 0.85
PARTITION = 0.9
T1_BLOOD = 1.65
GE_SCALE = 32
GE_SATURATION_TIME = 2.0


@dataclass(frozen=True)
class Tissue:
    """Magnetic properties at 3 T.

    Attributes
    ----------
    density
        Proton density relative to water.
    t1, t2
        Seconds.
    suppressed
        Fraction of the static signal that background suppression leaves.
    """

    density: float
    t1: float
    t2: float
    suppressed: float


# Order of SampledHead.fractions: grey, white, fluid, scalp (muscle; the fat is suppressed).
# Grey and white: Wansapura 1999.
TISSUES = (
    Tissue(0.82, 1.331, 0.110, 0.08),
    Tissue(0.70, 0.832, 0.080, 0.10),
    Tissue(1.00, 4.300, 0.750, 0.15),
    Tissue(0.40, 1.420, 0.040, 0.10),
)


@dataclass(frozen=True)
class Scan:
    """How one series was acquired; times in seconds.

    Attributes
    ----------
    labeling_duration, post_labeling_delay
        Of the labelling.
    recovery
        Time since saturation when the M0 image is excited: TR, or GE's saturation recovery time.
    echo_time
        Of every image.
    gain
        Scanner units per unit of proton density.
    noise
        Standard deviation of one image over the gain.
    """

    labeling_duration: float
    post_labeling_delay: float
    recovery: float
    echo_time: float
    gain: float
    noise: float = 0.0006


def difference(head: SampledHead, scan: Scan) -> Array:
    """Return ΔM of every voxel without noise, in scanner units, ``(x, y, z)``.

    ΔM = 2·α·T1b·f·M0a·exp(−PLD/T1b)·(1 − exp(−τ/T1b)), f in mL/g/s (Alsop 2015).
    """
    arrived = np.exp(-scan.post_labeling_delay / T1_BLOOD)
    bolus = 1 - np.exp(-scan.labeling_duration / T1_BLOOD)
    per_flow = 2 * EFFICIENCY * T1_BLOOD * arrived * bolus / 6000
    arterial = [_equilibrium(tissue, scan) / PARTITION for tissue in TISSUES[:2]]
    return per_flow * np.einsum("t,t...->...", arterial, head.flow)


def calibration(head: SampledHead, scan: Scan) -> Array:
    """Return the unsuppressed image without noise, in scanner units, ``(x, y, z)``."""
    return _static(head, scan, suppression=False)


def siemens_series(
    head: SampledHead, scan: Scan, rng: np.random.Generator, *, pairs: int
) -> Array:
    """Return M0, one suppressed volume, `pairs` of label and control; ``(x, y, z, volumes)``."""
    quiet = _static(head, scan, suppression=True)
    label = quiet - difference(head, scan)
    volumes = [calibration(head, scan), quiet, *([label, quiet] * pairs)]
    return _measured(np.stack(volumes, axis=-1), scan, rng)


def philips_series(
    head: SampledHead, scan: Scan, rng: np.random.Generator, *, pairs: int
) -> Array:
    """Return an unsuppressed control and label, then `pairs` suppressed ones.

    Shape ``(x, y, z, volumes)``.
    """
    loud, quiet = calibration(head, scan), _static(head, scan, suppression=True)
    delta = difference(head, scan)
    volumes = [loud, loud - delta, *([quiet, quiet - delta] * pairs)]
    return _measured(np.stack(volumes, axis=-1), scan, rng)


def ge_images(
    head: SampledHead, scan: Scan, rng: np.random.Generator, *, excitations: int
) -> tuple[Array, Array]:
    """Return the perfusion weighted and the proton density image, each ``(x, y, z)``.

    The first is the sum of ΔM over `excitations`, times 32; the second recovers for 2 s.
    """
    delta = difference(head, scan)
    spread = scan.noise * scan.gain * np.sqrt(2 * excitations)
    summed = excitations * delta + rng.normal(0, spread, delta.shape)
    return GE_SCALE * summed, _measured(calibration(head, scan), scan, rng)


def console_cbf(series: Array, scan: Scan) -> Array:
    """Return the CBF map that a console would make of a Philips series, mL/100 g/min.

    Where there is hardly any signal the map is 0; values are cut at 400.
    """
    control, label = series[..., 0::2], series[..., 1::2]
    delta = (control - label)[..., 1:].mean(axis=-1)
    m0 = series[..., 0] / (1 - np.exp(-scan.recovery / TISSUES[0].t1))
    scale = 6000 * PARTITION * np.exp(scan.post_labeling_delay / T1_BLOOD)
    scale /= 2 * EFFICIENCY * T1_BLOOD * (1 - np.exp(-scan.labeling_duration / T1_BLOOD))
    bright = m0 > 0.2 * np.percentile(m0, 99)
    cbf = np.divide(scale * delta, m0, out=np.zeros_like(m0), where=bright)
    return np.clip(cbf, 0, 400)


def _equilibrium(tissue: Tissue, scan: Scan) -> float:
    """Return the signal of fully relaxed tissue at the echo time, scanner units."""
    return scan.gain * tissue.density * float(np.exp(-scan.echo_time / tissue.t2))


def _static(head: SampledHead, scan: Scan, *, suppression: bool) -> Array:
    """Return the image of everything that does not flow."""
    weights = []
    for tissue in TISSUES:
        left = tissue.suppressed if suppression else 1 - np.exp(-scan.recovery / tissue.t1)
        weights.append(_equilibrium(tissue, scan) * left)
    return np.einsum("t,t...->...", weights, head.fractions)


def _measured(images: Array, scan: Scan, rng: np.random.Generator) -> Array:
    return np.abs(images + rng.normal(0, scan.noise * scan.gain, images.shape))
