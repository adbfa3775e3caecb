"""What the DICOM of every vendor shares: headers, geometry, pixels and files."""

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from cereflow_bids.demo.writers.study import Series, Study, derived_uid

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"


@dataclass(frozen=True)
class Stack:
    """A volume series laid out as DICOM wants it: slices of rows of columns.

    Attributes
    ----------
    pixels
        ``(volumes, slices, rows, columns)``; columns run to the patient's left, rows to the back,
        slices upwards.
    orientation
        Direction cosines of a row and of a column, DICOM (LPS) axes, shape ``(2, 3)``.
    positions
        Centre of the first pixel of every slice, mm, DICOM axes, shape ``(slices, 3)``.
    spacing
        Column, row and slice distance, mm, in the order of the array's columns, rows, slices.
    """

    pixels: NDArray[np.float64]
    orientation: NDArray[np.float64]
    positions: NDArray[np.float64]
    spacing: tuple[float, float, float]

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector from slice to slice, shape ``(3,)``."""
        return np.cross(self.orientation[0], self.orientation[1])


def stack(volumes: NDArray[np.floating], affine: NDArray[np.floating]) -> Stack:
    """Lay out `volumes` for DICOM, keeping every voxel where it is in the head.

    Parameters
    ----------
    volumes
        ``(x, y, z)`` or ``(x, y, z, volumes)``.
    affine
        Voxel to mm, NIfTI (RAS) axes, ``(4, 4)``; without shear.
    """
    array = np.asarray(volumes, dtype=float)
    array = array[..., np.newaxis] if array.ndim == 3 else array
    change = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(affine), nib.orientations.axcodes2ornt("LPS")
    )
    turned = nib.orientations.apply_orientation(array, change)
    world = affine @ nib.orientations.inv_ornt_aff(change, array.shape[:3])
    world = np.diag([-1.0, -1.0, 1.0, 1.0]) @ world
    spacing = np.linalg.norm(world[:3, :3], axis=0)
    slices = np.arange(turned.shape[2])
    return Stack(
        pixels=np.transpose(turned, (3, 2, 1, 0)),
        orientation=(world[:3, :2] / spacing[:2]).T,
        positions=world[:3, 3] + slices[:, np.newaxis] * world[:3, 2],
        spacing=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
    )


def decimal(values: Iterable[float]) -> list[str]:
    """Format numbers for DICOM's decimal string, which holds 16 characters at most."""
    from pydicom.valuerep import format_number_as_ds

    return [format_number_as_ds(float(value)) for value in values]


def new_image(series: Series, instance: int) -> "Dataset":
    """Return an MR image with identity, study and series filled in.

    Parameters
    ----------
    series
        The series it belongs to.
    instance
        Instance number, from 1.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(MR_IMAGE_STORAGE)
    meta.MediaStorageSOPInstanceUID = UID(derived_uid(series.uid, str(instance)))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = Dataset()
    image.file_meta = meta
    image.SpecificCharacterSet = "ISO_IR 100"
    image.SOPClassUID = MR_IMAGE_STORAGE
    image.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    image.Modality = "MR"
    _fill_study(image, series.study)
    image.SeriesInstanceUID = series.uid
    image.SeriesNumber = series.number
    image.SeriesDescription = series.description
    image.ProtocolName = series.protocol
    image.InstanceNumber = instance
    image.FrameOfReferenceUID = derived_uid(series.study.uid, "frame")
    image.BodyPartExamined = "BRAIN"
    image.PatientPosition = "HFS"
    return image


def set_acquisition(
    image: "Dataset",
    *,
    repetition_time: float,
    echo_time: float,
    field_strength: float,
    frequency: float,
) -> None:
    """Write what every 3D scan of hydrogen tells of its timing and its magnet.

    Parameters
    ----------
    image
        The image to fill.
    repetition_time, echo_time
        s.
    field_strength
        T.
    frequency
        At which the vendor's magnets work, MHz per T.
    """
    image.RepetitionTime, image.EchoTime = decimal((1000 * repetition_time, 1000 * echo_time))
    image.MagneticFieldStrength = decimal([field_strength])[0]
    image.ImagingFrequency = decimal([frequency * field_strength])[0]
    image.ImagedNucleus = "1H"
    image.EchoNumbers = 1
    image.MRAcquisitionType = "3D"


def place(image: "Dataset", volume: Stack, position: NDArray[np.float64]) -> None:
    """Write where the pixels of `image` lie.

    Parameters
    ----------
    image
        The image to fill.
    volume
        Its stack, for orientation and spacing.
    position
        Centre of its first pixel, mm, DICOM axes, ``(3,)``.
    """
    image.ImagePositionPatient = decimal(position)
    image.ImageOrientationPatient = decimal(volume.orientation.ravel())
    image.PixelSpacing = decimal((volume.spacing[1], volume.spacing[0]))
    image.SliceThickness = decimal(volume.spacing[2:])[0]
    image.SpacingBetweenSlices = decimal(volume.spacing[2:])[0]
    image.SliceLocation = decimal([float(volume.normal @ position)])[0]


def set_pixels(image: "Dataset", pixels: NDArray[np.floating], *, bits: int) -> None:
    """Store `pixels` as whole numbers.

    Parameters
    ----------
    image
        The image to fill.
    pixels
        ``(rows, columns)``; rounded, never clipped.
    bits
        Bits stored: 12 (unsigned) or 16 (signed).

    Raises
    ------
    ValueError
        If a value does not fit.
    """
    signed = bits == 16
    low, high = (-(2**15), 2**15 - 1) if signed else (0, 2**bits - 1)
    whole = np.rint(pixels)
    if whole.min() < low or whole.max() > high:
        raise ValueError(
            f"pixels from {whole.min():g} to {whole.max():g} do not fit {low} to {high}"
        )
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.Rows, image.Columns = whole.shape
    image.BitsAllocated = 16
    image.BitsStored = bits
    image.HighBit = bits - 1
    image.PixelRepresentation = int(signed)
    image.PixelData = whole.astype("<i2" if signed else "<u2").tobytes()
    image["PixelData"].VR = "OW"


def save(image: "Dataset", path: Path) -> Path:
    """Write `image` to `path`, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save_as(path, enforce_file_format=True)
    return path


def pack(folder: Path, archive: Path) -> Path:
    """Put all files below `folder` into the ZIP `archive`, as a user would upload them.

    The same files give the same bytes, whenever they were written.
    """
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix())
            entry.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(entry, path.read_bytes(), compresslevel=1)
    return archive


def _fill_study(image: "Dataset", study: Study) -> None:
    """Write the identity and the visit into `image`."""
    who = study.identity
    image.PatientName = who.patient_name
    image.PatientID = who.patient_id
    image.PatientBirthDate = who.birth_date
    image.PatientSex = study.sex
    image.PatientAge = study.age
    image.PatientComments = who.comment
    image.AccessionNumber = who.accession_number
    image.InstitutionName = who.institution
    image.InstitutionAddress = who.institution_address
    image.InstitutionalDepartmentName = who.department
    image.StationName = who.station
    image.DeviceSerialNumber = who.serial_number
    image.OperatorsName = who.operator
    image.PerformingPhysicianName = who.physician
    image.ReferringPhysicianName = who.physician
    image.ImageComments = who.comment
    image.StudyInstanceUID = study.uid
    image.StudyID = "1"
    image.StudyDescription = study.description
    for kind in ("Study", "Series", "Acquisition", "Content"):
        setattr(image, f"{kind}Date", study.date)
        setattr(image, f"{kind}Time", study.time)
