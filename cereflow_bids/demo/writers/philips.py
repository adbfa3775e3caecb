"""Philips 3D pCASL as classic DICOM: the SOURCE series, and the console's own CBF map.

Modelled on a real export of release 5.7. The SOURCE series holds control and label in turn, one
pair per dynamic; the pair of the first dynamic is not background suppressed and serves as M0. No
tag holds the labelling duration or the post-labelling delay.
"""

import datetime as dt
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

_LARGEST = 4095
_SLOPE = 1.33870573870573
_CBF_SLOPE = 0.1


@dataclass(frozen=True)
class PhilipsProtocol:
    """What the operator set; times in seconds. The labelling is not here: no header holds it."""

    repetition_time: float = 4.25
    echo_time: float = 0.009
    shots_per_volume: int = 15
    field_strength: float = 3.0
    source_number: int = 1903
    cbf_number: int = 1901
    source_description: str = "WIP SOURCE - 3DpCASL"
    cbf_description: str = "3DpCASL"


@dataclass(frozen=True)
class _Kind:
    """How the headers of one series differ from the other's."""

    image_type: tuple[str, ...]
    scanning_sequence: str
    slope: float
    scale: float
    rescale_type: str


def write_source(
    folder: Path,
    study: Study,
    volumes: NDArray[np.floating],
    affine: NDArray[np.floating],
    *,
    protocol: PhilipsProtocol | None = None,
) -> list[Path]:
    """Write the SOURCE series, one file per slice.

    Parameters
    ----------
    folder
        Where the files go.
    study
        Who was scanned, and when.
    volumes
        ``(x, y, z, 2 × dynamics)``: control, label, control, label …, in the scanner's floating
        point units, not negative; the first pair unsuppressed. Stored with 12 bits over the range
        of all volumes, as the scanner does.
    affine
        Voxel to mm, NIfTI axes, ``(4, 4)``.
    protocol
        What was set at the console.

    Returns
    -------
    list of Path
        The files, in the order of their instance numbers.
    """
    protocol = protocol or PhilipsProtocol()
    series = Series(
        study, protocol.source_number, protocol.source_description, protocol.source_description
    )
    kind = _Kind(
        image_type=("ORIGINAL", "PRIMARY", "M_SE", "M", "SE"),
        scanning_sequence="SE",
        slope=_SLOPE,
        scale=_LARGEST / float(np.max(volumes)),
        rescale_type="normalized",
    )
    return _write(folder, series, stack(volumes, affine), protocol, kind)


def write_cbf(
    folder: Path,
    study: Study,
    cbf: NDArray[np.floating],
    affine: NDArray[np.floating],
    *,
    protocol: PhilipsProtocol | None = None,
) -> list[Path]:
    """Write the console's CBF map, one file per slice.

    Parameters
    ----------
    folder
        Where the files go.
    study
        Who was scanned, and when.
    cbf
        ``(x, y, z)``, mL/100 g/min, 0 to 409.5; stored in steps of 0.1.
    affine
        Voxel to mm, NIfTI axes, ``(4, 4)``.
    protocol
        What was set at the console.
    """
    protocol = protocol or PhilipsProtocol()
    series = Series(
        study, protocol.cbf_number, protocol.cbf_description, f"WIP {protocol.cbf_description}"
    )
    kind = _Kind(
        image_type=("ORIGINAL", "PRIMARY", "PERFUSION_FFE", "PERFUSION", "FFE"),
        scanning_sequence="GR",
        slope=_CBF_SLOPE,
        scale=1 / _CBF_SLOPE,
        rescale_type="US",
    )
    return _write(folder, series, stack(cbf, affine), protocol, kind)


def _write(
    folder: Path, series: Series, layout: Stack, protocol: PhilipsProtocol, kind: _Kind
) -> list[Path]:
    """Write every slice of every volume of `layout`."""
    count, slices = layout.pixels.shape[:2]
    paths = []
    for volume in range(count):
        for index in range(slices):
            image = new_image(series, volume * slices + index + 1)
            place(image, layout, layout.positions[index])
            _fill_acquisition(image, protocol, kind)
            _fill_time(image, protocol, volume, count)
            _fill_private(image, kind, index=index, slices=slices, volume=volume, count=count)
            set_pixels(image, layout.pixels[volume, index] * kind.scale, bits=12)
            name = f"{series.number}_{image.InstanceNumber:04d}.dcm"
            paths.append(save(image, folder / name))
    return paths


def _fill_acquisition(image: "Dataset", protocol: PhilipsProtocol, kind: _Kind) -> None:
    """Write the public acquisition tags."""
    image.ImageType = list(kind.image_type)
    image.Manufacturer = "Philips"
    image.ManufacturerModelName = "Ingenia Elition X"
    image.SoftwareVersions = ["5.7.1", "5.7.1.1"]
    image.ScanningSequence = kind.scanning_sequence
    image.SequenceVariant = "SK"
    image.ScanOptions = "FS"
    set_acquisition(
        image,
        repetition_time=protocol.repetition_time,
        echo_time=protocol.echo_time,
        field_strength=protocol.field_strength,
        frequency=42.582837,
    )
    image.NumberOfAverages = 1
    image.NumberOfPhaseEncodingSteps = 70
    image.EchoTrainLength = 112
    image.PercentSampling = 100
    image.PercentPhaseFieldOfView = 100
    image.PixelBandwidth = 1948
    image.ReceiveCoilName = "MULTI COIL"
    image.TransmitCoilName = "BODY"
    image.AcquisitionMatrix = [80, 0, 0, 70]
    image.InPlanePhaseEncodingDirection = "COL"
    image.FlipAngle = 90
    image.AcquisitionNumber = image.SeriesNumber // 100
    image.WindowCenter = 668
    image.WindowWidth = 1161
    image.RescaleIntercept = 0
    image.RescaleSlope = decimal([kind.slope])[0]
    image.RescaleType = kind.rescale_type


def _fill_time(image: "Dataset", protocol: PhilipsProtocol, volume: int, count: int) -> None:
    """Write which dynamic an image belongs to and when that was acquired."""
    dynamic = volume // 2
    delay = dynamic * 2 * protocol.shots_per_volume * protocol.repetition_time
    start = dt.datetime.strptime(image.StudyTime, "%H%M%S")
    image.AcquisitionTime = (start + dt.timedelta(seconds=delay)).strftime("%H%M%S.%f")[:9]
    image.ContentTime = image.AcquisitionTime
    image.TemporalPositionIdentifier = dynamic + 1
    image.NumberOfTemporalPositions = max(count // 2, 1)
    if count > 1:
        image.TriggerTime = decimal([1000 * delay])[0]
    duration = count * protocol.shots_per_volume * protocol.repetition_time
    image.AcquisitionDuration = float(duration)


def _fill_private(
    image: "Dataset", kind: _Kind, *, index: int, slices: int, volume: int, count: int
) -> None:
    """Write Philips' own elements: slice, dynamic, scaling, label or control."""
    first = image.private_block(0x2001, "Philips Imaging DD 001", create=True)
    first.add_new(0x08, "IS", 1)
    first.add_new(0x0A, "IS", index + 1)
    first.add_new(0x0B, "CS", "TRANSVERSAL")
    first.add_new(0x12, "CS", "Y" if count > 1 else "N")
    first.add_new(0x13, "SL", 7)
    first.add_new(0x14, "SL", 1)
    first.add_new(0x17, "SL", 1)
    first.add_new(0x18, "SL", slices)
    first.add_new(0x20, "LO", "GraSE")
    first.add_new(0x22, "FL", 2.2724928855895996)
    first.add_new(0x60, "SL", 1)
    first.add_new(0x7B, "IS", image.AcquisitionNumber)
    first.add_new(0x81, "IS", max(count // 2, 1))
    # The blocks are numbered in the order in which they are made, and readers know them by number.
    blocks = [
        image.private_block(0x2005, f"Philips MR Imaging DD {number:03d}", create=True)
        for number in range(1, 6)
    ]
    blocks[0].add_new(0x0E, "FL", kind.scale)
    blocks[0].add_new(0x11, "CS", kind.image_type[3])
    blocks[0].add_new(0x30, "FL", float(image.RepetitionTime))
    blocks[4].add_new(0x09, "DS", "0")
    blocks[4].add_new(0x0A, "DS", decimal([kind.slope])[0])
    blocks[4].add_new(0x0B, "LO", kind.rescale_type)
    blocks[4].add_new(0x28, "SL", 2 if count > 1 else 1)
    if count > 1:
        blocks[4].add_new(0x29, "CS", "LABEL" if volume % 2 else "CONTROL")
    blocks[4].add_new(0x0F, "SQ", [_frame()])
    # A constant of the sequence near 2.177 on the real scans; it is not the delay.
    blocks[4].add_new(0x42, "FL", 2.1772613525390625)


def _frame() -> "Dataset":
    """Return what an enhanced image would say about the frame, as the scanner nests it."""
    from pydicom.dataset import Dataset

    frame = Dataset()
    frame.AcquisitionContrast = "PERFUSION"
    frame.PulseSequenceName = "GraSE"
    frame.EchoPulseSequence = "BOTH"
    frame.ParallelReductionFactorInPlane = 2.0
    frame.ParallelAcquisition = "YES"
    frame.ParallelAcquisitionTechnique = "SENSE"
    frame.NumberOfKSpaceTrajectories = 15
    return frame
