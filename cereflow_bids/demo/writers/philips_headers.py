"""The header of a classic Philips image: one slice, with the scanner's private elements."""

import datetime as dt
from typing import TYPE_CHECKING, Any

from cereflow_bids.demo.writers.dicom import decimal, set_acquisition
from cereflow_bids.demo.writers.philips_protocol import (
    Kind,
    PhilipsProtocol,
    Place,
    Volume,
    trigger_time,
)

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_MHZ_PER_TESLA = 42.582837


def fill_acquisition(image: "Dataset", protocol: PhilipsProtocol, kind: Kind) -> None:
    """Write the public acquisition tags."""
    planar = protocol.dimension == "2D"
    image.ImageType = list(kind.image_type)
    image.Manufacturer = "Philips"
    image.ManufacturerModelName = "Ingenia Elition X"
    image.SoftwareVersions = list(protocol.software)
    image.ScanningSequence = {"SE": "SE", "FFE": "GR"}[kind.technique]
    image.SequenceVariant = "SK"
    image.ScanOptions = "CG" if protocol.phases > 1 else "FS"
    set_acquisition(
        image,
        repetition_time=protocol.repetition_time,
        echo_time=protocol.echo_time,
        field_strength=protocol.field_strength,
        frequency=_MHZ_PER_TESLA,
    )
    image.MRAcquisitionType = protocol.dimension
    image.NumberOfAverages = 1
    image.NumberOfPhaseEncodingSteps = 70
    image.EchoTrainLength = 39 if planar else 112
    image.PercentSampling = 100
    image.PercentPhaseFieldOfView = 100
    image.PixelBandwidth = 1948
    image.ReceiveCoilName = "MULTI COIL"
    image.TransmitCoilName = "BODY"
    image.AcquisitionMatrix = [80, 0, 0, 70]
    image.InPlanePhaseEncodingDirection = "COL"
    image.FlipAngle = decimal([protocol.flip_angle])[0]
    image.AcquisitionNumber = image.SeriesNumber // 100
    image.WindowCenter = 668
    image.WindowWidth = 1161
    image.RescaleIntercept = 0
    image.RescaleSlope = decimal([kind.slope])[0]
    image.RescaleType = kind.rescale_type


def fill_time(image: "Dataset", protocol: PhilipsProtocol, volume: Volume, place: Place) -> None:
    """Write which dynamic an image belongs to and when that was acquired.

    Parameters
    ----------
    image
        The image to fill.
    protocol
        What was set.
    volume, place
        Which volume and slice it is.
    """
    begin = (volume.dynamic - 1) * protocol.dynamic
    start = dt.datetime.strptime(image.StudyTime, "%H%M%S")
    image.AcquisitionTime = (start + dt.timedelta(seconds=begin)).strftime("%H%M%S.%f")[:9]
    image.ContentTime = image.AcquisitionTime
    image.TemporalPositionIdentifier = volume.dynamic
    image.NumberOfTemporalPositions = place.dynamics
    if volume.label:
        image.TriggerTime = decimal([1000 * trigger_time(volume, place.slice_index, protocol)])[0]
    image.AcquisitionDuration = float(place.dynamics * protocol.dynamic)


def fill_private(
    image: "Dataset", protocol: PhilipsProtocol, kind: Kind, volume: Volume, place: Place
) -> None:
    """Write Philips' own elements: slice, dynamic, phase, scaling, label or control.

    Parameters
    ----------
    image
        The image to fill; its public tags are there already.
    protocol, kind, volume, place
        What was set, which series, and which volume and slice of it the image is.
    """
    _fill_imaging(image, protocol, kind, volume, place)
    # The blocks are numbered in the order in which they are made, and readers know them by number.
    blocks = [
        image.private_block(0x2005, f"Philips MR Imaging DD {number:03d}", create=True)
        for number in range(1, 6)
    ]
    _add(
        blocks[0],
        (0x0E, "FL", kind.scale),
        (0x11, "CS", kind.contrast),
        (0x30, "FL", float(image.RepetitionTime)),
        (0xA0, "FL", (volume.dynamic - 1) * protocol.dynamic),
    )
    _add(
        blocks[4],
        (0x09, "DS", "0"),
        (0x0A, "DS", decimal([kind.slope])[0]),
        (0x0B, "LO", kind.rescale_type),
        (0x0F, "SQ", [_frame(protocol, kind)]),
        (0x28, "SL", 2 if kind.labelled else 1),
        (0x29, "CS", volume.label),
        # A constant of the sequence near 2.177 on the real scans; it is not the delay.
        (0x42, "FL", 2.1772613525390625),
    )


def _fill_imaging(
    image: "Dataset", protocol: PhilipsProtocol, kind: Kind, volume: Volume, place: Place
) -> None:
    planar = protocol.dimension == "2D"
    _add(
        image.private_block(0x2001, "Philips Imaging DD 001", create=True),
        (0x08, "IS", volume.phase),
        (0x0A, "IS", place.slice_index + 1),
        (0x0B, "CS", "TRANSVERSAL"),
        (0x10, "CS", "TRIGGERED" if protocol.phases > 1 else "NO"),
        (0x12, "CS", "Y" if kind.labelled else "N"),
        (0x13, "SL", 39 if planar else 7),
        (0x14, "SL", 1),
        (0x17, "SL", protocol.phases if kind.labelled else 1),
        (0x18, "SL", place.slices),
        (0x20, "LO", "FEEPI" if planar else "GraSE"),
        (0x22, "FL", 2.2724928855895996),
        (0x60, "SL", 1),
        (0x7B, "IS", image.AcquisitionNumber),
        (0x81, "IS", place.dynamics),
    )


def _add(block: Any, *elements: tuple[int, str, Any]) -> None:
    for offset, representation, value in elements:
        block.add_new(offset, representation, value)


def _frame(protocol: PhilipsProtocol, kind: Kind) -> "Dataset":
    """Return what an enhanced image would say about the frame, as the scanner nests it."""
    from pydicom.dataset import Dataset

    frame = Dataset()
    frame.AcquisitionContrast = kind.acquisition_contrast
    frame.PulseSequenceName = "FEEPI" if protocol.dimension == "2D" else "GraSE"
    frame.EchoPulseSequence = "GRADIENT" if protocol.dimension == "2D" else "BOTH"
    frame.ParallelReductionFactorInPlane = 2.0
    frame.ParallelAcquisition = "YES"
    frame.ParallelAcquisitionTechnique = "SENSE"
    frame.NumberOfKSpaceTrajectories = protocol.shots_per_volume
    return frame
