"""Siemens images of one slice each: T1w, TSE proton density, research ASL, colour maps."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.demo.writers.dicom import (
    Stack,
    new_image,
    place,
    save,
    set_acquisition,
    set_pixels,
    stack,
)
from cereflow_bids.demo.writers.siemens_xa import time_of_day
from cereflow_bids.demo.writers.study import Series, Study

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


@dataclass(frozen=True)
class SliceProtocol:
    """What the operator set; times in seconds."""

    series_number: int
    series_description: str
    acquisition_type: str = "3D"
    repetition_time: float = 1.9
    echo_time: float = 0.0025
    inversion_time: float = 0.0
    scanning_sequence: str = "GR"
    sequence_name: str = "*tfl3d1_16ns"
    flip_angle: float = 9.0
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "M", "ND", "NORM")


MPRAGE = SliceProtocol(5, "t1_mprage_sag_p2_iso", inversion_time=0.9)
THICK_T1 = SliceProtocol(
    4, "t1_fl2d_sag", "2D", 0.25, 0.0025, sequence_name="*fl2d1", flip_angle=70.0
)
PROTON_DENSITY = SliceProtocol(
    9,
    "pd_tse_tra",
    "2D",
    6.0,
    0.011,
    scanning_sequence="SE",
    sequence_name="*tse2d1_7",
    flip_angle=150.0,
)


def write(
    folder: Path,
    study: Study,
    volume: NDArray[np.floating],
    affine: NDArray[np.floating],
    protocol: SliceProtocol,
) -> list[Path]:
    """Write one file per slice, volume after volume.

    Parameters
    ----------
    folder
        Where the files go.
    study
        Who was scanned, and when.
    volume
        ``(x, y, z)`` or ``(x, y, z, volumes)``, 0 to 4095, rounded.
    affine
        Voxel to mm, NIfTI axes, ``(4, 4)``.
    protocol
        What was set.
    """
    layout = stack(volume, affine)
    paths = []
    for number, slices in enumerate(layout.pixels):
        for index, pixels in enumerate(slices):
            image = _image(study, layout, protocol, number, index)
            set_pixels(image, pixels, bits=12)
            paths.append(save(image, folder / f"{image.InstanceNumber:04d}.dcm"))
    return paths


def write_colour(
    folder: Path,
    study: Study,
    channels: NDArray[np.floating],
    affine: NDArray[np.floating],
    protocol: SliceProtocol,
) -> list[Path]:
    """Write a map in colour, one file per slice.

    Parameters
    ----------
    folder, study, affine, protocol
        As of `write`.
    channels
        ``(x, y, z, 3)``: red, green and blue, 0 to 255, rounded.
    """
    layout = stack(channels, affine)
    paths = []
    for index in range(layout.pixels.shape[1]):
        image = _image(study, layout, protocol, 0, index)
        _set_colour(image, layout.pixels[:, index])
        paths.append(save(image, folder / f"{image.InstanceNumber:04d}.dcm"))
    return paths


def _image(
    study: Study, layout: Stack, protocol: SliceProtocol, number: int, index: int
) -> "Dataset":
    """Return slice `index` of volume `number`, without pixels."""
    name = protocol.series_description
    series = Series(study, protocol.series_number, name, name)
    image = new_image(series, number * layout.pixels.shape[1] + index + 1)
    place(image, layout, layout.positions[index])
    _fill_acquisition(image, protocol)
    image.AcquisitionNumber = number + 1
    image.AcquisitionTime = time_of_day(str(image.StudyTime), number * protocol.repetition_time)
    image.ContentTime = image.AcquisitionTime
    return image


def _fill_acquisition(image: "Dataset", protocol: SliceProtocol) -> None:
    """Write the public acquisition tags."""
    image.ImageType = list(protocol.image_type)
    image.Manufacturer = "SIEMENS"
    image.ManufacturerModelName = "Prisma_fit"
    image.SoftwareVersions = "syngo MR E11"
    image.ScanningSequence = protocol.scanning_sequence
    image.SequenceVariant = "SK"
    image.SequenceName = protocol.sequence_name
    set_acquisition(
        image,
        repetition_time=protocol.repetition_time,
        echo_time=protocol.echo_time,
        field_strength=3.0,
        frequency=41.085122,
    )
    image.MRAcquisitionType = protocol.acquisition_type
    if protocol.inversion_time:
        image.InversionTime = f"{1000 * protocol.inversion_time:g}"
    image.FlipAngle = f"{protocol.flip_angle:g}"
    image.InPlanePhaseEncodingDirection = "ROW"


def _set_colour(image: "Dataset", channels: NDArray[np.floating]) -> None:
    """Store ``(3, rows, columns)`` as red, green and blue, pixel by pixel."""
    whole = np.rint(channels)
    if whole.min() < 0 or whole.max() > 255:
        raise ValueError(f"colours from {whole.min():g} to {whole.max():g} do not fit 0 to 255")
    image.SamplesPerPixel = 3
    image.PhotometricInterpretation = "RGB"
    image.PlanarConfiguration = 0
    image.Rows, image.Columns = whole.shape[1:]
    image.BitsAllocated = image.BitsStored = 8
    image.HighBit = 7
    image.PixelRepresentation = 0
    pixels = np.moveaxis(whole.astype("u1"), 0, -1).tobytes()
    image.PixelData = pixels + b"\0" * (len(pixels) % 2)
    image["PixelData"].VR = "OB"


def research(number: int, kind: str, inversion_time: float) -> SliceProtocol:
    """Return the protocol of one series of the older research ASL.

    Parameters
    ----------
    number
        Series number.
    kind
        ``"ns"`` or ``"ss"``: the inversion is not, or is, confined to the imaging slab.
    inversion_time
        s; in the header it is part of the series' name alone.
    """
    return SliceProtocol(
        number,
        f"{kind}_TE00_TI{round(1000 * inversion_time)}",
        repetition_time=4.0,
        echo_time=0.022,
        scanning_sequence="SE",
        sequence_name="*grase3d1_180",
        flip_angle=180.0,
        image_type=("ORIGINAL", "PRIMARY", "M", "ND"),
    )
