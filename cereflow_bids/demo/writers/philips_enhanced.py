"""Philips ASL as one enhanced (multi-frame) DICOM file per series.

The frames lie in the file as all controls, then all labels; repeat, phase, label and scaling are
told per frame, partly in the scanner's own sequence (2005,140F).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cereflow_bids.demo.writers.dicom import Stack, decimal, new_image, save, set_pixels
from cereflow_bids.demo.writers.philips_headers import fill_acquisition
from cereflow_bids.demo.writers.philips_protocol import (
    Kind,
    PhilipsProtocol,
    Place,
    Volume,
    trigger_time,
)
from cereflow_bids.demo.writers.study import Series

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

ENHANCED_MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4.1"
_STACK_ID, _IN_STACK, _TEMPORAL = 0x00209056, 0x00209057, 0x00209128
_FRAME_CONTENT = 0x00209111
_LABEL_TYPE, _PHASE_NUMBER = 0x20051429, 0x20011008
_CREATORS = {
    _PHASE_NUMBER: "Philips Imaging DD 001",
    _LABEL_TYPE: "Philips MR Imaging DD 005",
}
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
    """Write all volumes of one series into one file in `folder`.

    Parameters
    ----------
    folder, series
        Where the file goes, and whose it is.
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
    _fill_top(image, protocol, kind, slices=slices, dynamics=members[-1].dynamic)
    image.SharedFunctionalGroupsSequence = [_shared(layout, protocol)]
    image.PerFrameFunctionalGroupsSequence = [
        _frame(layout, members[number], place, protocol=protocol, kind=kind)
        for number in order
        for place in (Place(index, slices, members[-1].dynamic) for index in range(slices))
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
    *,
    slices: int,
    dynamics: int,
) -> None:
    """Write what the whole file shares and no functional group holds."""
    from pydicom.uid import UID

    frequency = float(image.ImagingFrequency)
    for name in _MOVED:
        if name in image:
            del image[name]
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
    image.ImagingFrequency = frequency
    image.ResonantNucleus = "1H"


def _dimensions(kind: Kind) -> tuple[int, ...]:
    labelled = (_PHASE_NUMBER, _LABEL_TYPE) if kind.labelled else ()
    return (_STACK_ID, _IN_STACK, _TEMPORAL, *labelled)


def _pointer(tag: int) -> "Dataset":
    if tag not in _CREATORS:
        return _item(DimensionIndexPointer=tag, FunctionalGroupPointer=_FRAME_CONTENT)
    return _item(
        DimensionIndexPointer=tag,
        FunctionalGroupPointer=_OWN,
        DimensionIndexPrivateCreator=_CREATORS[tag],
        FunctionalGroupPrivateCreator=_CREATORS[_LABEL_TYPE],
    )


def _shared(layout: Stack, protocol: PhilipsProtocol) -> "Dataset":
    """Return the functional groups that all frames share."""
    thickness = decimal(layout.spacing[2:])[0]
    return _item(
        MRTimingAndRelatedParametersSequence=[
            _item(
                RepetitionTime=decimal([1000 * protocol.repetition_time])[0],
                FlipAngle=decimal([protocol.flip_angle])[0],
                EchoTrainLength=39 if protocol.dimension == "2D" else 112,
            )
        ],
        MRFOVGeometrySequence=[
            _item(
                InPlanePhaseEncodingDirection="COLUMN",
                MRAcquisitionFrequencyEncodingSteps=80,
                MRAcquisitionPhaseEncodingStepsInPlane=70,
                PercentSampling=100,
                PercentPhaseFieldOfView=100,
            )
        ],
        PlaneOrientationSequence=[
            _item(ImageOrientationPatient=decimal(layout.orientation.ravel()))
        ],
        PixelMeasuresSequence=[
            _item(
                PixelSpacing=decimal((layout.spacing[1], layout.spacing[0])),
                SliceThickness=thickness,
                SpacingBetweenSlices=thickness,
            )
        ],
    )


def _frame(
    layout: Stack, volume: Volume, place: Place, *, protocol: PhilipsProtocol, kind: Kind
) -> "Dataset":
    """Return the functional groups of one frame: one slice of `volume`."""
    indices = [1, place.slice_index + 1, volume.dynamic]
    indices += [volume.phase, 1 + (volume.label == "LABEL")] if kind.labelled else []
    frame = _item(
        MREchoSequence=[_item(EffectiveEchoTime=1000 * protocol.echo_time)],
        FrameContentSequence=[
            _item(
                StackID="1",
                InStackPositionNumber=place.slice_index + 1,
                TemporalPositionIndex=volume.dynamic,
                DimensionIndexValues=indices,
            )
        ],
        PlanePositionSequence=[
            _item(ImagePositionPatient=decimal(layout.positions[place.slice_index]))
        ],
        PixelValueTransformationSequence=[
            _item(
                RescaleIntercept=0,
                RescaleSlope=decimal([kind.slope])[0],
                RescaleType=kind.rescale_type,
            )
        ],
    )
    # Readers know the sequence by its number, whichever blocks come before its own.
    frame.add_new(_OWNER, "LO", "Philips MR Imaging DD 005")
    frame.add_new(_OWN, "SQ", [_own_item(volume, place, protocol=protocol, kind=kind)])
    return frame


def _item(**values: Any) -> "Dataset":
    """Return a data set with these elements, keyword → value."""
    from pydicom.dataset import Dataset

    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def _own_item(volume: Volume, place: Place, *, protocol: PhilipsProtocol, kind: Kind) -> "Dataset":
    """Return the item of (2005,140F), which repeats what a classic image would tell."""
    own = _item(
        EchoTime=decimal([1000 * protocol.echo_time])[0],
        FlipAngle=decimal([protocol.flip_angle])[0],
        TemporalPositionIdentifier=volume.dynamic,
        NumberOfTemporalPositions=place.dynamics,
    )
    if volume.label:
        own.TriggerTime = decimal([1000 * trigger_time(volume, place.slice_index, protocol)])[0]
    first = own.private_block(0x2001, "Philips Imaging DD 001", create=True)
    first.add_new(0x08, "IS", volume.phase)
    first.add_new(0x0A, "IS", place.slice_index + 1)
    blocks = [
        own.private_block(0x2005, f"Philips MR Imaging DD {number:03d}", create=True)
        for number in range(1, 6)
    ]
    blocks[0].add_new(0x0E, "FL", kind.scale)
    blocks[0].add_new(0xA0, "FL", (volume.dynamic - 1) * protocol.dynamic)
    blocks[4].add_new(0x0A, "DS", decimal([kind.slope])[0])
    blocks[4].add_new(0x29, "CS", volume.label)
    return own
