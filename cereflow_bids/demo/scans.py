"""The demo's participants and scans: who, on which scanner, and the ZIPs a user would have.

Two participants, neither of whom exists. A was scanned on GE. B was scanned on Siemens and, a
month later, on Philips, and has a deficit in the territory of the left middle cerebral artery.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.demo import brain, simulation
from cereflow_bids.demo.writers import ge, philips, siemens
from cereflow_bids.demo.writers.dicom import pack
from cereflow_bids.demo.writers.siemens_protocol import SiemensProtocol
from cereflow_bids.demo.writers.study import Identity, Study

GE_EXCITATIONS = 3
SIEMENS_PAIRS = 8
PHILIPS_PAIRS = 2
PHILIPS_DELAY = 2.0
PHILIPS_DURATION = 1.8

_FIRST = Identity.canary("A7", birth_date="19610203")
_SECOND = Identity.canary("B8", birth_date="19560405")
# The same person under the roof of another hospital.
_SECOND_ELSEWHERE = replace(
    Identity.canary("C9"),
    patient_name=_SECOND.patient_name,
    patient_id=_SECOND.patient_id,
    birth_date=_SECOND.birth_date,
)

IDENTITIES = (_FIRST, _SECOND, _SECOND_ELSEWHERE)
"""Whose traces must not be in any output."""


@dataclass(frozen=True)
class DemoScan:
    """One scan: the ZIP that goes in, and the truth that should come out.

    Attributes
    ----------
    manufacturer
        As sidecars spell it; tells the scans apart, since labels are given by the conversion.
    archive
        The ZIP.
    true_cbf
        mL/100 g/min on the scan's grid, ``(x, y, z)``.
    affine
        Of that grid, ``(4, 4)``.
    regional_means
        Atlas label to mean true CBF over the voxels that the label wins.
    """

    manufacturer: str
    archive: Path
    true_cbf: NDArray[np.float32]
    affine: NDArray[np.float64]
    regional_means: dict[int, float]


def write_scans(folder: Path, seed: int) -> list[DemoScan]:
    """Simulate all scans and write one ZIP each.

    Parameters
    ----------
    folder
        Where the ZIPs go.
    seed
        Of anatomy, blood flow and noise; the same seed gives the same bytes.
    """
    first, second = np.random.SeedSequence(seed).generate_state(2)
    healthy = brain.participant(int(first))
    impaired = brain.participant(int(second), deficit=brain.LEFT_MIDDLE_CEREBRAL)
    rng = np.random.default_rng(seed)
    return [
        _scan(folder / "ge.zip", "GE", healthy, rng, _write_ge),
        _scan(folder / "siemens.zip", "Siemens", impaired, rng, _write_siemens),
        _scan(folder / "philips.zip", "Philips", impaired, rng, _write_philips),
    ]


_Writer = Callable[[Path, brain.Head, np.random.Generator], brain.SampledHead]


def _scan(
    archive: Path, manufacturer: str, head: brain.Head, rng: np.random.Generator, write: _Writer
) -> DemoScan:
    """Write DICOM to a temporary folder, pack it, and keep the truth."""
    with tempfile.TemporaryDirectory() as temporary:
        sampled = write(Path(temporary), head, rng)
        pack(Path(temporary), archive)
    return DemoScan(
        manufacturer, archive, sampled.true_cbf, sampled.affine, sampled.regional_means()
    )


def _sample(
    head: brain.Head, shape: tuple[int, int, int], voxel: tuple[float, float, float], tilt: float
) -> brain.SampledHead:
    return brain.sample(head, shape, brain.scan_grid(head, shape, voxel, tilt))


def _write_ge(folder: Path, head: brain.Head, rng: np.random.Generator) -> brain.SampledHead:
    protocol = ge.GeProtocol(excitations=GE_EXCITATIONS)
    scan = simulation.Scan(
        labeling_duration=protocol.labeling_duration,
        post_labeling_delay=protocol.post_labeling_delay,
        recovery=simulation.GE_SATURATION_TIME,
        echo_time=protocol.echo_time,
        gain=6000,
    )
    sampled = _sample(head, (128, 128, 40), (1.875, 1.875, 4.0), 6)
    perfusion, density = simulation.ge_images(sampled, scan, rng, excitations=GE_EXCITATIONS)
    study = Study(_FIRST, "20310304", "091500", sex="F", age="070Y")
    target = folder / _FIRST.patient_name / "3D_ASL"
    ge.write(target, study, perfusion, density, sampled.affine, protocol=protocol)
    return sampled


def _write_siemens(folder: Path, head: brain.Head, rng: np.random.Generator) -> brain.SampledHead:
    delay = 1.8
    protocol = SiemensProtocol(post_labeling_delay=delay)
    scan = simulation.Scan(
        labeling_duration=protocol.labeling_duration,
        post_labeling_delay=delay,
        recovery=protocol.repetition_time,
        echo_time=protocol.echo_time,
        gain=6000,
    )
    sampled = _sample(head, (96, 96, 44), (2.5, 2.5, 3.5), -4)
    volumes = simulation.siemens_series(sampled, scan, rng, pairs=SIEMENS_PAIRS)
    study = Study(_SECOND, "20310506", "110500", sex="M", age="075Y")
    target = folder / _SECOND.patient_name / "15_pcasl_3d"
    siemens.write(target, study, volumes, sampled.affine, protocol=protocol)
    return sampled


def _write_philips(folder: Path, head: brain.Head, rng: np.random.Generator) -> brain.SampledHead:
    protocol = philips.PhilipsProtocol()
    scan = simulation.Scan(
        labeling_duration=PHILIPS_DURATION,
        post_labeling_delay=PHILIPS_DELAY,
        recovery=protocol.repetition_time,
        echo_time=protocol.echo_time,
        gain=4e7,
    )
    sampled = _sample(head, (96, 96, 40), (2.5, 2.5, 4.0), 3)
    volumes = simulation.philips_series(sampled, scan, rng, pairs=PHILIPS_PAIRS)
    study = Study(_SECOND_ELSEWHERE, "20310607", "134500", sex="M", age="075Y")
    target = folder / _SECOND_ELSEWHERE.patient_name
    philips.write_source(target / "1903", study, volumes, sampled.affine, protocol=protocol)
    console = simulation.console_cbf(volumes, scan)
    philips.write_cbf(target / "1901", study, console, sampled.affine, protocol=protocol)
    return sampled
