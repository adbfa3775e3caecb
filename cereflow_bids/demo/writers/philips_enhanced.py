"""Philips ASL as one enhanced (multi-frame) DICOM file per series.

The frames lie in the file as all controls, then all labels; repeat, phase, label and scaling are
told per frame, partly in the scanner's own sequence (2005,140F).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cereflow_bids.demo.writers.dicom import Stack, decimal, new_image, save, set_pixels
from cereflow_bids.demo.writers.philips_headers import fill_acquisition
from cereflow_bids.demo.writers.philips_protocol import (
    Kind,
    PhilipsProtocol,
    Volume,
    trigger_time,
)
from cereflow_bids.demo.writers.study import Series

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

ENHANCED_MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4.1"
_STACK_ID, _IN_STACK, _TEMPORAL = 0x00209056, 0x00209057, 0x00209128
_FRAME_CONTENT = 0x00209111
_LABEL_TYPE, _PHASE_NUMBER = 0x20051429, 0x20011008
_OWNER, _OWN = 0x20050014, 0x2005140F
# What an enhanced image tells per frame or per group, not at the top.
_MOVED = (
    "RepetitionTime",
    "EchoTime",
    "FlipAngle",
    "NumberOfAverages",
    "EchoTrainLength",
    "EchoNumbers",
    "ScanningSequence",
    "SequenceVariant",
    "ScanOptions",
    "MRAcquisitionType",
    "InPlanePhaseEncodingDirection",
    "AcquisitionMatrix",
    "NumberOfPhaseEncodingSteps",
    "PercentPhaseFieldOfView",
    "PercentSampling",
    "PixelBandwidth",
    "ImagingFrequency",
    "ImagedNucleus",
    "RescaleIntercept",
    "RescaleSlope",
    "RescaleType",
    "WindowCenter",
    "WindowWidth",
    "AcquisitionTime",
    "AcquisitionDate",
    "ReceiveCoilName",
    "TransmitCoilName",
)


def write_frames(
    folder: Path,
    series: Series,
    layout: Stack,
    members: Sequence[Volume],
    *,
    protocol: PhilipsProtocol,
    kind: Kind,
) -> Path:
    """Write all volumes of one series into one file.

    Parameters
    ----------
    folder
        Where the file goes.
    series
        Whose it is.
    layout
        Pixels (floating point values of the scanner) and geometry.
    members
        What each volume is, in the order of acquisition.
    protocol, kind
        What was set, and which series it is.
    """
    slices = len(layout.positions)
    order = sorted(range(len(members)), key=lambda n: (members[n].label, *members[n]))
    image = new_image(series, 1)
    fill_acquisition(image, protocol, kind)
    classic = {name: image[name] for name in _MOVED if name in image}
    for name in classic:
        del image[name]
    _fill_top(image, protocol, kind, classic, slices=slices, dynamics=members[-1].dynamic)
    image.SharedFunctionalGroupsSequence = [_shared(layout, protocol)]
    image.PerFrameFunctionalGroupsSequence = [
        _frame(
            layout, members[number], index, protocol=protocol, kind=kind, last=members[-1].dynamic
        )
        for number in order
        for index in range(slices)
    ]
    pixels = layout.pixels[order].reshape(-1, *layout.pixels.shape[2:]) * kind.scale
    set_pixels(image, pixels.reshape(-1, pixels.shape[-1]), bits=12)
    image.NumberOfFrames = len(pixels)
    image.Rows = pixels.shape[1]
    return save(image, folder / f"{series.number}_0001.dcm")


def _fill_top(
    image: "Dataset",
    protocol: PhilipsProtocol,
    kind: Kind,
    classic: dict[str, "DataElement"],
    *,
    slices: int,
    dynamics: int,
) -> None:
    """Write what the whole file shares and no functional group holds."""
    from pydicom.uid import UID

    image.file_meta.MediaStorageSOPClassUID = UID(ENHANCED_MR_IMAGE_STORAGE)
    image.SOPClassUID = UID(ENHANCED_MR_IMAGE_STORAGE)
    image.ImageType = ["ORIGINAL", "PRIMARY", "PERFUSION", "NONE"]
    image.ComplexImageComponent = "MAGNITUDE" if kind.labelled else "REAL"
    image.AcquisitionContrast = kind.acquisition_contrast
    image.AcquisitionDateTime = f"{image.StudyDate}{image.StudyTime}.00000"
    image.AcquisitionDuration = float(dynamics * protocol.dynamic)
    image.MRAcquisitionType = protocol.dimension
    image.PulseSequenceName = "FEEPI" if protocol.dimension == "2D" else "GraSE"
    image.EchoPulseSequence = "GRADIENT" if protocol.dimension == "2D" else "BOTH"
    image.VolumetricProperties = "VOLUME"
    image.DimensionIndexSequence = [_pointer(tag) for tag in _dimensions(kind)]
    block = image.private_block(0x2001, "Philips Imaging DD 001", create=True)
    for offset, representation, value in (
        (0x10, "CS", "TRIGGERED" if protocol.phases > 1 else "NO"),
        (0x12, "CS", "Y" if kind.labelled else "N"),
        (0x17, "SL", protocol.phases if kind.labelled else 1),
        (0x18, "SL", slices),
        (0x20, "LO", image.PulseSequenceName),
        (0x81, "IS", dynamics),
    ):
        block.add_new(offset, representation, value)
    image.ImagingFrequency = float(classic["ImagingFrequency"].value)
    image.ResonantNucleus = "1H"


def _dimensions(kind: Kind) -> tuple[int, ...]:
    labelled = (_PHASE_NUMBER, _LABEL_TYPE) if kind.labelled else ()
    return (_STACK_ID, _IN_STACK, _TEMPORAL, *labelled)


def _pointer(tag: int) -> "Dataset":
    from pydicom.dataset import Dataset

    item = Dataset()
    item.DimensionIndexPointer = tag
    private = tag >> 16 in (0x2001, 0x2005)
    item.FunctionalGroupPointer = _OWN if private else _FRAME_CONTENT
    if private:
        item.DimensionIndexPrivateCreator = {
            _PHASE_NUMBER: "Philips Imaging DD 001",
            _LABEL_TYPE: "Philips MR Imaging DD 005",
        }[tag]
        item.FunctionalGroupPrivateCreator = "Philips MR Imaging DD 005"
    return item


def _shared(layout: Stack, protocol: PhilipsProtocol) -> "Dataset":
    """Return the functional groups that all frames share."""
    from pydicom.dataset import Dataset

    shared = Dataset()
    timing = Dataset()
    timing.RepetitionTime = decimal([1000 * protocol.repetition_time])[0]
    timing.FlipAngle = decimal([protocol.flip_angle])[0]
    timing.EchoTrainLength = 39 if protocol.dimension == "2D" else 112
    shared.MRTimingAndRelatedParametersSequence = [timing]
    geometry = Dataset()
    geometry.InPlanePhaseEncodingDirection = "COLUMN"
    geometry.MRAcquisitionFrequencyEncodingSteps = 80
    geometry.MRAcquisitionPhaseEncodingStepsInPlane = 70
    geometry.PercentSampling = 100
    geometry.PercentPhaseFieldOfView = 100
    shared.MRFOVGeometrySequence = [geometry]
    orientation = Dataset()
    orientation.ImageOrientationPatient = decimal(layout.orientation.ravel())
    shared.PlaneOrientationSequence = [orientation]
    measures = Dataset()
    measures.PixelSpacing = decimal((layout.spacing[1], layout.spacing[0]))
    measures.SliceThickness = decimal(layout.spacing[2:])[0]
    measures.SpacingBetweenSlices = decimal(layout.spacing[2:])[0]
    shared.PixelMeasuresSequence = [measures]
    return shared


def _frame(
    layout: Stack,
    volume: Volume,
    index: int,
    *,
    protocol: PhilipsProtocol,
    kind: Kind,
    last: int,
) -> "Dataset":
    """Return the functional groups of one frame: slice `index` of `volume`.

    `last` is the number of dynamics.
    """
    from pydicom.dataset import Dataset

    frame = Dataset()
    echo = Dataset()
    echo.EffectiveEchoTime = 1000 * protocol.echo_time
    frame.MREchoSequence = [echo]
    content = Dataset()
    content.StackID = "1"
    content.InStackPositionNumber = index + 1
    content.TemporalPositionIndex = volume.dynamic
    content.DimensionIndexValues = [1, index + 1, volume.dynamic]
    if kind.labelled:
        content.DimensionIndexValues += [volume.phase, 1 + (volume.label == "LABEL")]
    frame.FrameContentSequence = [content]
    position = Dataset()
    position.ImagePositionPatient = decimal(layout.positions[index])
    frame.PlanePositionSequence = [position]
    rescaling = Dataset()
    rescaling.RescaleIntercept = 0
    rescaling.RescaleSlope = decimal([kind.slope])[0]
    rescaling.RescaleType = kind.rescale_type
    frame.PixelValueTransformationSequence = [rescaling]
    # Readers know the sequence by its number, whichever blocks come before its own.
    frame.add_new(_OWNER, "LO", "Philips MR Imaging DD 005")
    own = _own(volume, index, protocol=protocol, kind=kind)
    own.NumberOfTemporalPositions = last
    frame.add_new(_OWN, "SQ", [own])
    return frame


def _own(volume: Volume, index: int, *, protocol: PhilipsProtocol, kind: Kind) -> "Dataset":
    """Return the item of (2005,140F), which repeats what a classic image would tell."""
    from pydicom.dataset import Dataset

    own = Dataset()
    own.EchoTime = decimal([1000 * protocol.echo_time])[0]
    own.FlipAngle = decimal([protocol.flip_angle])[0]
    own.TemporalPositionIdentifier = volume.dynamic
    if volume.label:
        own.TriggerTime = decimal([1000 * trigger_time(volume, index, protocol)])[0]
    first = own.private_block(0x2001, "Philips Imaging DD 001", create=True)
    first.add_new(0x08, "IS", volume.phase)
    first.add_new(0x0A, "IS", index + 1)
    blocks = [
        own.private_block(0x2005, f"Philips MR Imaging DD {number:03d}", create=True)
        for number in range(1, 6)
    ]
    blocks[0].add_new(0x0E, "FL", kind.scale)
    blocks[0].add_new(0xA0, "FL", (volume.dynamic - 1) * protocol.dynamic)
    blocks[4].add_new(0x0A, "DS", decimal([kind.slope])[0])
    blocks[4].add_new(0x29, "CS", volume.label)
    return own
