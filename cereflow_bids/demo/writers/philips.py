"""Philips ASL as the scanner exports it: source images, the console's CBF map, M0 and T1w.

Modelled on a real classic export of release 5.7 (3D pCASL) and on what is published of the 2D,
multiphase and enhanced exports of that release. The source series holds controls and labels, one
pair per dynamic; in the 3D product the pair of the first dynamic is not background suppressed and
serves as M0. No tag holds the labelling duration; only a multiphase scan tells its delays.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.demo.writers.dicom import new_image, place, save, set_pixels, stack
from cereflow_bids.demo.writers.philips_enhanced import write_frames
from cereflow_bids.demo.writers.philips_headers import (
    fill_acquisition,
    fill_private,
    fill_time,
)
from cereflow_bids.demo.writers.philips_protocol import (
    MULTIPHASE,
    PCASL_2D,
    Kind,
    PhilipsProtocol,
    Place,
    volumes,
)
from cereflow_bids.demo.writers.study import Series, Study

__all__ = [
    "MULTIPHASE",
    "PCASL_2D",
    "PhilipsProtocol",
    "write_cbf",
    "write_m0",
    "write_source",
    "write_t1w",
]

_LARGEST = 4095
_SLOPE = 1.33870573870573
_CBF_SLOPE = 0.1


def write_source(
    folder: Path,
    study: Study,
    volumes: NDArray[np.floating],
    affine: NDArray[np.floating],
    *,
    protocol: PhilipsProtocol | None = None,
    enhanced: bool = False,
) -> list[Path]:
    """Write the SOURCE series: one file per slice, or one enhanced file.

    Parameters
    ----------
    folder, study
        Where the files go; who was scanned, and when.
    volumes
        ``(x, y, z, 2 × phases × dynamics)`` in the scanner's floating point units, not negative,
        in the order of acquisition: control, label, control …, each with all of its phases.
        Stored with 12 bits over the range of all volumes: each series has a scale of its own.
    affine
        Voxel to mm, NIfTI axes, ``(4, 4)``.
    protocol
        What was set at the console.
    enhanced
        Whether to write one file, whose frames are all controls, then all labels.

    Returns
    -------
    list of Path
        The files, in the order of their instance numbers.
    """
    protocol = protocol or PhilipsProtocol()
    name = protocol.source_description
    series = Series(study, protocol.source_number, name, name)
    technique = "FFE" if protocol.dimension == "2D" else "SE"
    kind = Kind(technique, "M", _SLOPE, _LARGEST / float(np.max(volumes)), labelled=True)
    return _write(folder, series, volumes, affine, protocol=protocol, kind=kind, enhanced=enhanced)


def write_cbf(
    folder: Path,
    study: Study,
    cbf: NDArray[np.floating],
    affine: NDArray[np.floating],
    *,
    protocol: PhilipsProtocol | None = None,
    enhanced: bool = False,
) -> list[Path]:
    """Write the console's CBF map: one file per slice, or one enhanced file.

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
    enhanced
        Whether to write one multi-frame file.
    """
    protocol = protocol or PhilipsProtocol()
    series = Series(
        study, protocol.cbf_number, protocol.cbf_description, f"WIP {protocol.cbf_description}"
    )
    kind = Kind(
        technique="FFE",
        contrast="PERFUSION",
        slope=_CBF_SLOPE,
        scale=1 / _CBF_SLOPE,
        rescale_type="US",
    )
    return _write(folder, series, cbf, affine, protocol=protocol, kind=kind, enhanced=enhanced)


def write_m0(
    folder: Path,
    study: Study,
    density: NDArray[np.floating],
    affine: NDArray[np.floating],
    *,
    protocol: PhilipsProtocol | None = None,
    number: int = 2001,
    description: str = "M0 3DpCASL",
    repetition_time: float = 10.0,
) -> list[Path]:
    """Write a separate M0 series, without labelling and suppression, one file per slice.

    Parameters
    ----------
    folder
        Where the files go.
    study
        Who was scanned, and when.
    density
        ``(x, y, z)`` in the scanner's floating point units, not negative.
    affine
        Voxel to mm, NIfTI axes, ``(4, 4)``.
    protocol
        That of the ASL scan.
    number, description, repetition_time
        Series number and description, and the time (s) that the signal has to recover.
    """
    protocol = replace(
        protocol or PhilipsProtocol(), repetition_time=repetition_time, phases=1, flip_angle=90
    )
    kind = Kind(
        technique="FFE" if protocol.dimension == "2D" else "SE",
        contrast="M",
        slope=_SLOPE,
        scale=_LARGEST / float(np.max(density)),
        acquisition_contrast="PROTON_DENSITY",
    )
    series = Series(study, number, description, description)
    return _write(folder, series, density, affine, protocol=protocol, kind=kind)


def write_t1w(
    folder: Path,
    study: Study,
    volume: NDArray[np.floating],
    affine: NDArray[np.floating],
    *,
    number: int = 301,
    description: str = "sT1W_3D_TFE",
) -> list[Path]:
    """Write a T1-weighted 3D TFE series, one file per slice.

    Parameters
    ----------
    folder
        Where the files go.
    study
        Who was scanned, and when.
    volume
        ``(x, y, z)``, any unit, not negative.
    affine
        Voxel to mm, NIfTI axes, ``(4, 4)``.
    number, description
        Of the series.
    """
    protocol = PhilipsProtocol(repetition_time=0.0065, echo_time=0.00293, flip_angle=9)
    kind = Kind(
        technique="FFE",
        contrast="M",
        slope=_SLOPE,
        scale=_LARGEST / float(np.max(volume)),
        acquisition_contrast="T1",
    )
    series = Series(study, number, description, description)
    return _write(folder, series, volume, affine, protocol=protocol, kind=kind)


def _write(
    folder: Path,
    series: Series,
    array: NDArray[np.floating],
    affine: NDArray[np.floating],
    *,
    protocol: PhilipsProtocol,
    kind: Kind,
    enhanced: bool = False,
) -> list[Path]:
    """Write every slice of every volume."""
    layout = stack(array, affine)
    count, slices = layout.pixels.shape[:2]
    members = volumes(count, protocol, labelled=kind.labelled)
    if enhanced:
        return [write_frames(folder, series, layout, members, protocol=protocol, kind=kind)]
    dynamics = members[-1].dynamic
    paths = []
    for number, volume in enumerate(members):
        for index in range(slices):
            image = new_image(series, number * slices + index + 1)
            place(image, layout, layout.positions[index])
            fill_acquisition(image, protocol, kind)
            spot = Place(index, slices, dynamics)
            fill_time(image, protocol, volume, spot)
            fill_private(image, protocol, kind, volume, spot)
            set_pixels(image, layout.pixels[number, index] * kind.scale, bits=12)
            name = f"{series.number}_{image.InstanceNumber:04d}.dcm"
            paths.append(save(image, folder / name))
    return paths
