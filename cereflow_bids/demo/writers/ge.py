"""GE 3D pCASL as the product exports it: one series, perfusion weighted slices, then density.

No sample of the product is public. The tags follow the converters' and other packages' reading
of them: delay in (0018,0082), labelling duration in (0043,10A5), spiral points, arms and
excitations in (0027,1060-1062), labelling type as text in (0043,10A3) and (0043,10A4).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.demo.writers.dicom import (
    Stack,
    decimal,
    new_image,
    place,
    save,
    set_acquisition,
    set_pixels,
    stack,
)
from cereflow_bids.demo.writers.study import Series, Study

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


@dataclass(frozen=True)
class GeProtocol:
    """What the operator set; times in seconds."""

    post_labeling_delay: float = 2.025
    labeling_duration: float = 1.45
    excitations: int = 3
    repetition_time: float = 4.848
    echo_time: float = 0.010704
    field_strength: float = 3.0
    series_number: int = 7
    series_description: str = "3D ASL (non-contrast)"
    software: tuple[str, ...] = ("25", "LX", "MR Software release:DV25.0_R02_1549.b")
    points: int = 512
    arms: int = 8


@dataclass(frozen=True)
class _Pass:
    """One of the two images of a series, and how its headers differ from the other's."""

    image_type: tuple[str, ...]
    contrast: str
    technique: str


_PERFUSION = _Pass(
    ("DERIVED", "PRIMARY", "ASL", "PERFUSION_ASL"),
    "PSEUDOCONTINUOUS",
    "3D pulsed continuous ASL technique",
)
# The product labels its proton density pass as plain continuous ASL.
_DENSITY = _Pass(
    ("ORIGINAL", "PRIMARY", "ASL"),
    "CONTINUOUS",
    "3D continuous ASL technique",
)


def write(
    folder: Path,
    study: Study,
    perfusion: NDArray[np.floating],
    density: NDArray[np.floating],
    affine: NDArray[np.floating],
    *,
    protocol: GeProtocol | None = None,
) -> list[Path]:
    """Write one series: all slices of `perfusion`, then all slices of `density`.

    Parameters
    ----------
    folder
        Where the files go.
    study
        Who was scanned, and when.
    perfusion
        Perfusion weighted image in the scanner's units, that is 32 × number of excitations × ΔM,
        ``(x, y, z)``; −32768 to 32767, rounded.
    density
        Proton density image (saturation recovery of 2 s), same shape and range.
    affine
        Voxel to mm, NIfTI axes, ``(4, 4)``.
    protocol
        What was set at the console.

    Returns
    -------
    list of Path
        The files, in the order of their instance numbers.
    """
    protocol = protocol or GeProtocol()
    volumes = stack(np.stack([perfusion, density], axis=-1), affine)
    series = Series(study, protocol.series_number, protocol.series_description, "Brain ASL")
    slices = volumes.pixels.shape[1]
    paths = []
    for number, part in enumerate((_PERFUSION, _DENSITY)):
        for index in range(slices):
            image = new_image(series, number * slices + index + 1)
            image.ImageType = list(part.image_type)
            place(image, volumes, volumes.positions[index])
            _fill_acquisition(image, protocol, volumes)
            _fill_private(image, protocol, part, images=2 * slices)
            image.InStackPositionNumber = index + 1
            set_pixels(image, volumes.pixels[number, index], bits=16)
            paths.append(save(image, folder / f"i{image.InstanceNumber:04d}.MRDCM"))
    return paths


def _fill_acquisition(image: "Dataset", protocol: GeProtocol, volumes: Stack) -> None:
    """Write the public acquisition tags."""
    rows, columns = volumes.pixels.shape[2:]
    image.Manufacturer = "GE MEDICAL SYSTEMS"
    image.ManufacturerModelName = "DISCOVERY MR750"
    image.SoftwareVersions = list(protocol.software)
    image.ScanningSequence = "RM"
    image.SequenceVariant = "NONE"
    image.ScanOptions = ["EDR_GEMS", "SPIRAL_GEMS"]
    image.AngioFlag = "N"
    set_acquisition(
        image,
        repetition_time=protocol.repetition_time,
        echo_time=protocol.echo_time,
        field_strength=protocol.field_strength,
        frequency=42.577,
    )
    image.InversionTime = decimal([1000 * protocol.post_labeling_delay])[0]
    image.NumberOfAverages = protocol.excitations
    image.EchoTrainLength = 1
    image.PercentSampling = 100
    image.PercentPhaseFieldOfView = 100
    image.PixelBandwidth = 976.562
    image.ReconstructionDiameter = decimal([columns * volumes.spacing[0]])[0]
    image.ReceiveCoilName = "8HRBRAIN"
    image.AcquisitionMatrix = [0, protocol.points, protocol.arms, 0]
    image.InPlanePhaseEncodingDirection = "ROW"
    image.FlipAngle = 111
    image.AcquisitionNumber = 1
    image.ImagesInAcquisition = 2 * volumes.pixels.shape[1]
    image.WindowCenter = rows
    image.WindowWidth = 2 * rows


def _fill_private(image: "Dataset", protocol: GeProtocol, part: _Pass, *, images: int) -> None:
    """Write the private tags that tell what the labelling was."""
    acquisition = image.private_block(0x0019, "GEMS_ACQU_01", create=True)
    acquisition.add_new(0x9C, "LO", "3dasl")
    acquisition.add_new(0x9E, "LO", "3dasl")
    relation = image.private_block(0x0021, "GEMS_RELA_01", create=True)
    relation.add_new(0x4F, "SS", images // 2)
    sequence = image.private_block(0x0025, "GEMS_SERS_01", create=True)
    sequence.add_new(0x07, "SL", images)
    parameters = image.private_block(0x0043, "GEMS_PARM_01", create=True)
    parameters.add_new(0x2F, "SS", 0)
    parameters.add_new(0xA3, "CS", part.contrast)
    parameters.add_new(0xA4, "LO", part.technique)
    parameters.add_new(0xA5, "IS", round(1000 * protocol.labeling_duration))
    geometry = image.private_block(0x0027, "GEMS_IMAG_01", create=True)
    geometry.add_new(0x60, "FL", float(protocol.points))
    geometry.add_new(0x61, "FL", float(protocol.arms))
    geometry.add_new(0x62, "FL", float(protocol.excitations))
