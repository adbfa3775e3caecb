"""Siemens XA, the interoperability export: classic images, each volume a series of its own."""

from collections.abc import Sequence
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
from cereflow_bids.demo.writers.siemens_xa import fill_maker, slice_shift, time_of_day
from cereflow_bids.demo.writers.siemens_xa_protocol import XaProtocol, print_bytes
from cereflow_bids.demo.writers.study import Series, Study, derived_uid

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def write(
    folder: Path,
    study: Study,
    volumes: NDArray[np.floating],
    affine: NDArray[np.floating],
    *,
    protocol: XaProtocol | None = None,
    delays: Sequence[float] = (),
    comments: Sequence[str] = (),
    with_protocol: bool = True,
) -> list[Path]:
    """Write classic images of one slice, and every volume as a series of its own.

    Parameters
    ----------
    folder
        Where the files go; a folder in it for each volume.
    study
        Who was scanned, and when.
    volumes
        ``(x, y, z, volumes)`` in the order of acquisition; 0 to 4095, rounded.
    affine
        Voxel to mm, NIfTI axes, ``(4, 4)``.
    protocol
        What was set.
    delays
        Delay of each volume, s; the protocol's first for all unless given.
    comments
        Image comment of each volume; the patient's unless given.
    with_protocol
        Keep the protocol print and the delay, which some exports drop.
    """
    protocol = protocol or XaProtocol()
    layout = stack(volumes, affine)
    count = layout.pixels.shape[0]
    delays = delays or [protocol.delays[0]] * count
    paths = []
    for number in range(count):
        series = _VolumeSeries(
            study,
            protocol.first_number + number * protocol.number_step,
            protocol.series_description,
            protocol.protocol_name,
            number,
        )
        for index, pixels in enumerate(layout.pixels[number]):
            image = new_image(series, index + 1)
            place(image, layout, layout.positions[index])
            _fill_classic(image, protocol, number, index)
            if with_protocol:
                _fill_private(image, protocol, layout, index, delays[number])
            if comments:
                image.ImageComments = comments[number]
            set_pixels(image, pixels, bits=12)
            paths.append(save(image, folder / f"{number + 1:03d}" / f"{index + 1:04d}.dcm"))
    return paths


@dataclass(frozen=True)
class _VolumeSeries(Series):
    """A series with one volume: its UID differs even where its number does not."""

    volume: int = 0

    @property
    def uid(self) -> str:
        """Series instance UID."""
        return derived_uid(self.study.uid, str(self.number), f"volume {self.volume}")


def _fill_classic(image: "Dataset", protocol: XaProtocol, number: int, index: int) -> None:
    """Write the public tags of slice `index` of volume `number`."""
    image.ImageType = list(protocol.image_type)
    fill_maker(image)
    image.ScanningSequence = "EP"
    image.SequenceVariant = "SK"
    image.ScanOptions = "FS"
    image.SequenceName = "*epfid2d1_64"
    set_acquisition(
        image,
        repetition_time=protocol.repetition_time,
        echo_time=0.011,
        field_strength=3.0,
        frequency=41.087,
    )
    image.MRAcquisitionType = protocol.acquisition_type
    image.FlipAngle = 90
    image.EchoTrainLength = 48
    image.InPlanePhaseEncodingDirection = "COL"
    image.AcquisitionNumber = number + 1
    elapsed = number * protocol.repetition_time + slice_shift(protocol, index)
    image.AcquisitionTime = time_of_day(str(image.StudyTime), elapsed)
    image.ContentTime = image.AcquisitionTime


def _fill_private(
    image: "Dataset", protocol: XaProtocol, layout: Stack, index: int, delay: float
) -> None:
    """Write the protocol print, the slice's time and the delay where classic images have them."""
    shared = image.private_block(0x0021, "SIEMENS MR SDS 01", create=True)
    shared.add_new(0x19, "OB", print_bytes(protocol, layout, layout.pixels.shape[0]))
    own = image.private_block(0x0021, "SIEMENS MR SDI 02", create=True)
    own.add_new(0x04, "DS", f"{slice_shift(protocol, index):g}")
    own.add_new(0x89, "FD", delay * 1000)
