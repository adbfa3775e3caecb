"""A GE T1w of the head: inversion-prepared fast spoiled gradient echoes, sold as BRAVO."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.demo.writers.dicom import (
    decimal,
    new_image,
    place,
    save,
    set_acquisition,
    set_pixels,
    stack,
)
from cereflow_bids.demo.writers.ge_headers import FREQUENCY, GeProtocol, fill_scanner
from cereflow_bids.demo.writers.study import Series, Study


@dataclass(frozen=True)
class T1wProtocol:
    """What the operator set; times in seconds."""

    repetition_time: float = 0.008156
    echo_time: float = 0.003176
    inversion_time: float = 0.45
    field_strength: float = 3.0
    series_number: int = 3
    series_description: str = "Sag BRAVO"
    software: tuple[str, ...] = GeProtocol.software


def write(
    folder: Path,
    study: Study,
    volume: NDArray[np.floating],
    affine: NDArray[np.floating],
    *,
    protocol: T1wProtocol | None = None,
) -> list[Path]:
    """Write one T1w series.

    Parameters
    ----------
    folder
        Where the files go.
    study
        Who was scanned, and when.
    volume
        ``(x, y, z)``, 0 to 32767, rounded.
    affine
        Voxel to mm, NIfTI axes, ``(4, 4)``.
    protocol
        What was set at the console.

    Returns
    -------
    list of Path
        The files, in the order of their instance numbers.
    """
    protocol = protocol or T1wProtocol()
    layout = stack(volume, affine)
    description = protocol.series_description
    series = Series(study, protocol.series_number, description, description)
    paths = []
    for index, position in enumerate(layout.positions):
        image = new_image(series, index + 1)
        image.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
        place(image, layout, position)
        fill_scanner(image, protocol.software)
        image.ScanningSequence = "GR"
        image.SequenceVariant = ["SS", "SP", "SK"]
        image.ScanOptions = ["FAST_GEMS", "EDR_GEMS", "FILTERED_GEMS", "ACC_GEMS"]
        set_acquisition(
            image,
            repetition_time=protocol.repetition_time,
            echo_time=protocol.echo_time,
            field_strength=protocol.field_strength,
            frequency=FREQUENCY,
        )
        image.InversionTime = decimal([1000 * protocol.inversion_time])[0]
        image.FlipAngle = 12
        image.AcquisitionNumber = 1
        image.InStackPositionNumber = index + 1
        block = image.private_block(0x0019, "GEMS_ACQU_01", create=True)
        block.add_new(0x9C, "LO", "bravo")
        block.add_new(0x9E, "LO", "efgre3d")
        set_pixels(image, layout.pixels[0, index], bits=16)
        paths.append(save(image, folder / f"i{image.InstanceNumber:04d}.MRDCM"))
    return paths
