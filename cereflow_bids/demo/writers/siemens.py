"""Siemens VE11C: one mosaic per volume, the protocol in the private headers.

Modelled on real ``tgse_pcasl`` and ``tgse_pasl`` exports. In the former the post-labelling delay
is ``adFree[2]`` (µs) and the labelling duration is the number of radio-frequency blocks in
``adFree[3]`` times 18.4 ms; no public tag holds either.
"""

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.demo.writers import csa
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
from cereflow_bids.demo.writers.siemens_protocol import SiemensProtocol, protocol_print
from cereflow_bids.demo.writers.study import Series, Study

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SLICE_MILLISECONDS = 37.5


def write(
    folder: Path,
    study: Study,
    volumes: NDArray[np.floating],
    affine: NDArray[np.floating],
    *,
    protocol: SiemensProtocol | None = None,
) -> list[Path]:
    """Write one mosaic per volume.

    Parameters
    ----------
    folder
        Where the files go.
    study
        Who was scanned, and when.
    volumes
        ``(x, y, z, volumes)`` in the order of acquisition; 0 to 4095, rounded.
    affine
        Voxel to mm, NIfTI axes, ``(4, 4)``.
    protocol
        What was set at the console.

    Returns
    -------
    list of Path
        The files, in the order of acquisition.
    """
    protocol = protocol or SiemensProtocol()
    layout = stack(volumes, affine)
    series = Series(study, protocol.series_number, protocol.series_description, protocol.name)
    count, slices = layout.pixels.shape[:2]
    paths = []
    for number in range(count):
        image = new_image(series, number * slices + 1)
        mosaic = _mosaic(layout.pixels[number])
        corner = _mosaic_corner(layout, mosaic.shape)
        place(image, layout, corner)
        image.SliceLocation = decimal([float(layout.normal @ layout.positions[0])])[0]
        _fill_acquisition(image, protocol, number)
        _fill_private(image, protocol, layout, corner, count)
        set_pixels(image, mosaic, bits=12)
        paths.append(save(image, folder / f"{image.InstanceNumber:04d}.dcm"))
    return paths


def _mosaic(volume: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lay the slices of ``(slices, rows, columns)`` out in a square, row by row."""
    slices, rows, columns = volume.shape
    tiles = int(np.ceil(np.sqrt(slices)))
    full = np.zeros((tiles * tiles, rows, columns))
    full[:slices] = volume
    return (
        full.reshape(tiles, tiles, rows, columns)
        .transpose(0, 2, 1, 3)
        .reshape(tiles * rows, tiles * columns)
    )


def _mosaic_corner(layout: Stack, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the first pixel of a mosaic whose centre is the centre of the first slice, mm."""
    rows, columns = layout.pixels.shape[2:]
    row_shift = (shape[1] - columns) / 2 * layout.spacing[0] * layout.orientation[0]
    column_shift = (shape[0] - rows) / 2 * layout.spacing[1] * layout.orientation[1]
    return layout.positions[0] - row_shift - column_shift


def _fill_acquisition(image: "Dataset", protocol: SiemensProtocol, number: int) -> None:
    """Write the public acquisition tags of volume `number`."""
    image.ImageType = list(protocol.image_type)
    image.Manufacturer = "SIEMENS"
    image.ManufacturerModelName = "Prisma_fit"
    image.SoftwareVersions = "syngo MR E11"
    image.ScanningSequence = "EP"
    image.SequenceVariant = "SK"
    image.ScanOptions = "FS"
    image.SequenceName = protocol.sequence_name
    image.AngioFlag = "N"
    set_acquisition(
        image,
        repetition_time=protocol.repetition_time,
        echo_time=protocol.echo_time,
        field_strength=protocol.field_strength,
        frequency=41.085122,
    )
    image.MRAcquisitionType = protocol.acquisition_type
    image.NumberOfAverages = 1
    image.NumberOfPhaseEncodingSteps = 82
    image.EchoTrainLength = 41
    image.PercentSampling = "85.4167"
    image.PercentPhaseFieldOfView = 100
    image.PixelBandwidth = 2170
    image.TransmitCoilName = "Body"
    image.AcquisitionMatrix = [96, 0, 0, 82]
    image.InPlanePhaseEncodingDirection = "COL"
    image.FlipAngle = 120
    image.VariableFlipAngleFlag = "N"
    image.AcquisitionNumber = number + 1
    start = dt.datetime.strptime(image.StudyTime, "%H%M%S")
    elapsed = dt.timedelta(seconds=number * protocol.segments * protocol.repetition_time)
    image.AcquisitionTime = (start + elapsed).strftime("%H%M%S.%f")
    image.ContentTime = image.AcquisitionTime
    image.WindowCenter = 1027
    image.WindowWidth = 2862


def _fill_private(
    image: "Dataset",
    protocol: SiemensProtocol,
    layout: Stack,
    corner: NDArray[np.float64],
    count: int,
) -> None:
    """Write Siemens' own elements: mosaic size, both private headers and the coil."""
    slices = layout.pixels.shape[1]
    header = image.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    header.add_new(0x08, "CS", "IMAGE NUM 4")
    header.add_new(0x09, "LO", "1.0")
    header.add_new(0x0A, "US", slices)
    header.add_new(0x15, "FD", [float(value) for value in corner])
    header.add_new(0x29, "FD", _slice_times(protocol, slices))
    block = image.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(0x08, "CS", "IMAGE NUM 4")
    block.add_new(0x09, "LO", image.StudyDate)
    block.add_new(0x10, "OB", _even(csa.encode(_image_entries(protocol, layout, corner))))
    block.add_new(0x18, "CS", "MR")
    block.add_new(0x19, "LO", image.StudyDate)
    block.add_new(0x20, "OB", _even(csa.encode(_series_entries(protocol, layout, count))))
    text = image.private_block(0x0051, "SIEMENS MR HEADER", create=True)
    text.add_new(0x08, "CS", "IMAGE NUM 4")
    text.add_new(0x09, "LO", "1.0")
    text.add_new(0x0F, "LO", "HE1-4")
    text.add_new(0x13, "SH", "+LPH")
    text.add_new(0x16, "LO", "/".join(protocol.image_type[2:]))


def _slice_times(protocol: SiemensProtocol, slices: int) -> list[float]:
    """Return when each slice is read, ms: together in 3D, one after the other in 2D."""
    step = 0.0 if protocol.acquisition_type == "3D" else SLICE_MILLISECONDS
    return [step * number for number in range(slices)]


def _even(content: bytes) -> bytes:
    return content + b"\0" * (len(content) % 2)


def _image_entries(
    protocol: SiemensProtocol, layout: Stack, corner: NDArray[np.float64]
) -> list[csa.Entry]:
    """Return what the private image header says about the mosaic."""
    slices = layout.pixels.shape[1]
    return [
        csa.Entry("EchoLinePosition", "IS", [41]),
        csa.Entry("UsedChannelString", "UT", ["XXXXXXXXXXXXXXXX"]),
        csa.Entry("ICE_Dims", "LO", ["X_1_1_1_1_1_1_1_1_1_1_1_1377"]),
        csa.Entry("B_value", "IS"),
        csa.Entry("ProtocolSliceNumber", "IS", [0]),
        csa.Entry("RealDwellTime", "IS", [2400]),
        csa.Entry("BandwidthPerPixelPhaseEncode", "FD"),
        csa.Entry("AcquisitionMatrixText", "SH", ["82*96"]),
        csa.Entry("PhaseEncodingDirectionPositive", "IS", [1]),
        csa.Entry("NumberOfImagesInMosaic", "US", [slices]),
        csa.Entry("SliceNormalVector", "FD", [float(value) for value in layout.normal], 3),
        csa.Entry("SlicePosition_PCS", "FD", [float(value) for value in corner], 3),
        csa.Entry("MultistepIndex", "IS", [0]),
        csa.Entry("ImaCoilString", "LO", ["HE1-4"]),
        csa.Entry("MosaicRefAcqTimes", "FD", _slice_times(protocol, slices), 0),
        csa.Entry("ImageType4MF", "CS", protocol.image_type[:4], 0),
    ]


def _series_entries(protocol: SiemensProtocol, layout: Stack, count: int) -> list[csa.Entry]:
    """Return the private series header: a little of the coil, and the whole protocol."""
    return [
        csa.Entry("UsedPatientWeight", "IS", [70]),
        csa.Entry("MrProtocolVersion", "IS", [51130001]),
        csa.Entry("ReadoutOS", "FD", [2.0]),
        csa.Entry("CoilString", "LO", ["HE1-4"]),
        csa.Entry("MrPhoenixProtocol", "UN", [protocol_print(protocol, layout, count)]),
        csa.Entry("ArterialSpinLabelingContrast", "CS", ["PULSED"]),
    ]
