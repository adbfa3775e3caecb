"""Siemens XA30, the enhanced export: a file per volume.

Modelled on a real enhanced ``ep2d_asl`` export. The delay of a volume is in (0021,1189) of its
frames, ms; the protocol print, in the shared groups, has all delays.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.demo.writers.dicom import (
    Stack,
    decimal,
    new_image,
    save,
    set_pixels,
    stack,
)
from cereflow_bids.demo.writers.siemens_xa_protocol import XaProtocol, print_bytes
from cereflow_bids.demo.writers.study import Series, Study

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

ENHANCED_MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4.1"
SLICE_SECONDS = 0.0375


class _Volume(NamedTuple):
    """One volume: its place in time, its ASL context and its delay, s."""

    number: int
    context: str
    delay: float


def write(
    folder: Path,
    study: Study,
    volumes: NDArray[np.floating],
    affine: NDArray[np.floating],
    contexts: Sequence[str],
    *,
    protocol: XaProtocol | None = None,
    delays: Sequence[float] = (),
    comments: Sequence[str] = (),
) -> list[Path]:
    """Write one enhanced file per volume, all of one series.

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
    contexts
        (0018,9257) of each volume: ``M_ZERO_SCAN``, ``LABEL``, ``CONTROL``; empty for none.
    protocol
        What was set.
    delays
        Delay of each volume, s; the protocol's first for all unless given.
    comments
        Image comment of each volume; the patient's unless given.
    """
    protocol = protocol or XaProtocol()
    layout = stack(volumes, affine)
    count = layout.pixels.shape[0]
    delays = delays or [protocol.delays[0]] * count
    series = Series(
        study, protocol.first_number, protocol.series_description, protocol.protocol_name
    )
    paths = []
    for number, context in enumerate(contexts):
        volume = _Volume(number, context, delays[number])
        image = _enhanced_image(series, protocol, layout, number)
        image.SharedFunctionalGroupsSequence = [_shared_groups(protocol, layout, count)]
        image.PerFrameFunctionalGroupsSequence = [
            _frame(image, protocol, layout, volume, index)
            for index in range(layout.pixels.shape[1])
        ]
        if comments:
            image.ImageComments = comments[number]
        paths.append(save(image, folder / f"{number + 1:04d}.dcm"))
    return paths


def fill_maker(image: "Dataset") -> None:
    """Write who made the scanner, and its software."""
    image.Manufacturer = "Siemens Healthineers"
    image.ManufacturerModelName = "MAGNETOM Prisma Fit"
    image.SoftwareVersions = "syngo MR XA30"


def time_of_day(time: str, seconds: float) -> str:
    """Return the time of day (``HHMMSS.FFFFFF``) `seconds` after `time` (``HHMMSS``)."""
    start = int(time[:2]) * 3600 + int(time[2:4]) * 60 + int(time[4:6])
    minutes, rest = divmod(start + seconds, 60)
    return f"{int(minutes) // 60:02d}{int(minutes) % 60:02d}{rest:09.6f}"


def _enhanced_image(series: Series, protocol: XaProtocol, layout: Stack, number: int) -> "Dataset":
    """Return the top level of the file of volume `number`, with its pixels."""
    from pydicom.uid import UID

    image = new_image(series, number + 1)
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = UID(ENHANCED_MR_IMAGE_STORAGE)
    image.ImageType = list(protocol.image_type)
    fill_maker(image)
    frames, rows, columns = layout.pixels.shape[1:]
    set_pixels(image, layout.pixels[number].reshape(frames * rows, columns), bits=12)
    image.NumberOfFrames = frames
    image.Rows = rows
    image.MagneticFieldStrength = "3"
    image.MRAcquisitionType = protocol.acquisition_type
    image.SpacingBetweenSlices = decimal(layout.spacing[2:])[0]
    image.AcquisitionNumber = 1
    image.AcquisitionDateTime = _moment(image, protocol, number)
    image.NumberOfTemporalPositions = layout.pixels.shape[0]
    image.PulseSequenceName = "*epfid2d1_64"
    image.EchoPlanarPulseSequence = "YES"
    image.ResonantNucleus = "1H"
    image.ComplexImageComponent = "MAGNITUDE"
    image.AcquisitionContrast = "PERFUSION"
    image.ArterialSpinLabelingContrast = protocol.contrast
    image.DimensionIndexSequence = [
        _item(DimensionIndexPointer=tag, FunctionalGroupPointer=0x00209111)
        for tag in (0x00209056, 0x00209057, 0x00209128)
    ]
    return image


def _moment(image: "Dataset", protocol: XaProtocol, number: int, shift: float = 0.0) -> str:
    """Return date and time of volume `number`, or of a slice read `shift` seconds later."""
    elapsed = number * protocol.repetition_time + shift
    return f"{image.StudyDate}{time_of_day(str(image.StudyTime), elapsed)}"


def slice_shift(protocol: XaProtocol, index: int) -> float:
    """Return how long after its volume's start slice `index` is read, s."""
    return SLICE_SECONDS * index if protocol.acquisition_type == "2D" else 0.0


def _item(**elements: Any) -> "Dataset":
    from pydicom.dataset import Dataset

    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return item


def _shared_groups(protocol: XaProtocol, layout: Stack, count: int) -> "Dataset":
    """Return what all frames share: timing, coil-free modifiers and the protocol print."""
    timing = _item(
        RepetitionTime=decimal([1000 * protocol.repetition_time])[0],
        EchoTrainLength=48,
        FlipAngle="90",
    )
    modifier = _item(PixelBandwidth="3005", TransmitterFrequency=123.262373)
    geometry = _item(
        InPlanePhaseEncodingDirection="COLUMN",
        PercentPhaseFieldOfView="100",
        PercentSampling="100",
    )
    shared = _item(
        MRTimingAndRelatedParametersSequence=[timing],
        MRImagingModifierSequence=[modifier],
        MRFOVGeometrySequence=[geometry],
    )
    item = _item()
    item.private_block(0x0021, "SIEMENS MR SDS 01", create=True).add_new(
        0x19, "OB", print_bytes(protocol, layout, count)
    )
    shared.private_block(0x0021, "SIEMENS MR SDS 01", create=True).add_new(0xFE, "SQ", [item])
    return shared


def _frame(
    image: "Dataset", protocol: XaProtocol, layout: Stack, volume: _Volume, index: int
) -> "Dataset":
    """Return the functional groups of slice `index` of a volume."""
    frame = _item(
        MREchoSequence=[_item(EffectiveEchoTime=11.0)],
        MRImageFrameTypeSequence=[
            _item(FrameType=list(protocol.image_type), ComplexImageComponent="MAGNITUDE")
        ],
        FrameContentSequence=[_content(image, protocol, volume.number, index)],
        PlanePositionSequence=[_item(ImagePositionPatient=decimal(layout.positions[index]))],
        PlaneOrientationSequence=[
            _item(ImageOrientationPatient=decimal(layout.orientation.ravel()))
        ],
        PixelMeasuresSequence=[_measures(layout)],
        PixelValueTransformationSequence=[
            _item(RescaleIntercept="0", RescaleSlope="1", RescaleType="US")
        ],
    )
    if volume.context:
        pulse = _item(ASLPulseTrainDuration=round(1000 * protocol.labeling_duration))
        frame.MRArterialSpinLabelingSequence = [
            _item(ASLContext=volume.context, ASLSlabSequence=[pulse])
        ]
    # The scanner puts this owner second, whether or not there is a first.
    inner, owner = _item(), "SIEMENS MR SDI 02"
    for item in (inner, frame):
        item.add_new(0x00210011, "LO", owner)
    inner.add_new(0x00211104, "DS", f"{slice_shift(protocol, index):g}")
    inner.add_new(0x00211189, "FD", volume.delay * 1000)
    frame.add_new(0x002111FE, "SQ", [inner])
    return frame


def _content(image: "Dataset", protocol: XaProtocol, number: int, index: int) -> "Dataset":
    """Return when a frame was read, and its place among slices and volumes."""
    moment = _moment(image, protocol, number, slice_shift(protocol, index))
    return _item(
        FrameAcquisitionDateTime=moment,
        FrameReferenceDateTime=moment,
        StackID="1",
        InStackPositionNumber=index + 1,
        TemporalPositionIndex=number + 1,
        DimensionIndexValues=[1, index + 1, number + 1],
    )


def _measures(layout: Stack) -> "Dataset":
    return _item(
        SliceThickness=decimal(layout.spacing[2:])[0],
        SpacingBetweenSlices=decimal(layout.spacing[2:])[0],
        PixelSpacing=decimal((layout.spacing[1], layout.spacing[0])),
    )
