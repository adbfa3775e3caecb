"""What all GE series share: the protocol, the headers of its passes, and the files they go to.

No sample of the product is public. The tags follow the converters' and other packages' reading
of them: delay in (0018,0082), labelling duration in (0043,10A5), spiral points, arms and
excitations in (0027,1060-1062), labelling type as text in (0043,10A3) and (0043,10A4), the
sequence's name in (0019,109C) and (0019,109E), and what the operator set for it in "user data"
from (0019,10A7) on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cereflow_bids.demo.writers.dicom import (
    Stack,
    decimal,
    new_image,
    place,
    save,
    set_acquisition,
    set_pixels,
)
from cereflow_bids.demo.writers.study import Series, Study

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# Megahertz per tesla at which GE's magnets work.
FREQUENCY = 42.577
_FIRST_USER_DATA = 0xA7


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
    sequence: str = "3dasl"
    receiver_gain: int = 13


@dataclass(frozen=True)
class Pass:
    """One kind of image of a series, and how its headers differ from the others'.

    Attributes
    ----------
    image_type
        DICOM (0008,0008).
    contrast, technique
        GE's labelling type, (0043,10A3) and (0043,10A4); empty where the header has none.
    """

    image_type: tuple[str, ...]
    contrast: str = ""
    technique: str = ""


PERFUSION = Pass(
    ("DERIVED", "PRIMARY", "ASL", "PERFUSION_ASL"),
    "PSEUDOCONTINUOUS",
    "3D pulsed continuous ASL technique",
)
# The product labels its proton density pass as plain continuous ASL.
DENSITY = Pass(
    ("ORIGINAL", "PRIMARY", "ASL"),
    "CONTINUOUS",
    "3D continuous ASL technique",
)


def write_passes(
    folder: Path,
    study: Study,
    volumes: Stack,
    passes: Sequence[Pass],
    *,
    protocol: GeProtocol,
    user_data: dict[int, float] | None = None,
) -> list[Path]:
    """Write one ASL series, volume after volume, slice after slice.

    Parameters
    ----------
    folder
        Where the files go.
    study
        Who was scanned, and when.
    volumes
        The pixels, laid out for DICOM.
    passes
        What each volume is.
    protocol
        What was set at the console.
    user_data
        Number of the "user data" element → value, in the operator's unit.

    Returns
    -------
    list of Path
        The files, in the order of their instance numbers.
    """
    series = Series(study, protocol.series_number, protocol.series_description, "Brain ASL")
    count, slices = volumes.pixels.shape[:2]
    paths = []
    for number, part in zip(range(count), passes, strict=True):
        for index in range(slices):
            image = new_image(series, number * slices + index + 1)
            image.ImageType = list(part.image_type)
            place(image, volumes, volumes.positions[index])
            fill_scanner(image, protocol.software)
            _fill_acquisition(image, protocol, volumes)
            _fill_private(image, protocol, part, user_data or {}, slices=slices)
            image.InStackPositionNumber = index + 1
            set_pixels(image, volumes.pixels[number, index], bits=16)
            paths.append(save(image, folder / f"i{image.InstanceNumber:04d}.MRDCM"))
    return paths


def fill_scanner(image: "Dataset", software: tuple[str, ...]) -> None:
    """Write whose scanner it was, and its software."""
    image.Manufacturer = "GE MEDICAL SYSTEMS"
    image.ManufacturerModelName = "DISCOVERY MR750"
    image.SoftwareVersions = list(software)
    image.ReceiveCoilName = "8HRBRAIN"


def _fill_acquisition(image: "Dataset", protocol: GeProtocol, volumes: Stack) -> None:
    """Write the public acquisition tags."""
    rows, columns = volumes.pixels.shape[2:]
    image.ScanningSequence = "RM"
    image.SequenceVariant = "NONE"
    image.ScanOptions = ["EDR_GEMS", "SPIRAL_GEMS"]
    image.AngioFlag = "N"
    set_acquisition(
        image,
        repetition_time=protocol.repetition_time,
        echo_time=protocol.echo_time,
        field_strength=protocol.field_strength,
        frequency=FREQUENCY,
    )
    image.InversionTime = decimal([1000 * protocol.post_labeling_delay])[0]
    image.NumberOfAverages = protocol.excitations
    image.EchoTrainLength = 1
    image.PercentSampling = 100
    image.PercentPhaseFieldOfView = 100
    image.PixelBandwidth = 976.562
    image.ReconstructionDiameter = decimal([columns * volumes.spacing[0]])[0]
    image.AcquisitionMatrix = [0, protocol.points, protocol.arms, 0]
    image.InPlanePhaseEncodingDirection = "ROW"
    image.FlipAngle = 111
    image.AcquisitionNumber = 1
    image.ImagesInAcquisition = volumes.pixels.shape[0] * volumes.pixels.shape[1]
    image.WindowCenter = rows
    image.WindowWidth = 2 * rows


def _fill_private(
    image: "Dataset", protocol: GeProtocol, part: Pass, user_data: dict[int, float], *, slices: int
) -> None:
    """Write the private tags that tell what the labelling was."""
    acquisition = image.private_block(0x0019, "GEMS_ACQU_01", create=True)
    acquisition.add_new(0x95, "SS", protocol.receiver_gain)
    acquisition.add_new(0x9C, "LO", protocol.sequence)
    acquisition.add_new(0x9E, "LO", protocol.sequence)
    for number, value in user_data.items():
        acquisition.add_new(_FIRST_USER_DATA + number, "DS", decimal([value])[0])
    relation = image.private_block(0x0021, "GEMS_RELA_01", create=True)
    relation.add_new(0x4F, "SS", slices)
    sequence = image.private_block(0x0025, "GEMS_SERS_01", create=True)
    sequence.add_new(0x07, "SL", image.ImagesInAcquisition)
    parameters = image.private_block(0x0043, "GEMS_PARM_01", create=True)
    parameters.add_new(0x2F, "SS", 0)
    if part.contrast:
        parameters.add_new(0xA3, "CS", part.contrast)
        parameters.add_new(0xA4, "LO", part.technique)
    parameters.add_new(0xA5, "IS", round(1000 * protocol.labeling_duration))
    geometry = image.private_block(0x0027, "GEMS_IMAG_01", create=True)
    geometry.add_new(0x60, "FL", float(protocol.points))
    geometry.add_new(0x61, "FL", float(protocol.arms))
    geometry.add_new(0x62, "FL", float(protocol.excitations))
