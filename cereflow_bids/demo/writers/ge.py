"""GE 3D pCASL as the product exports it: one series of perfusion weighted, then density slices.

Each delay is a series of its own. The console can add a map of blood flow as one more series.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.demo.writers.dicom import stack
from cereflow_bids.demo.writers.ge_headers import (
    DENSITY,
    PERFUSION,
    GeProtocol,
    Pass,
    write_passes,
)
from cereflow_bids.demo.writers.study import Study

__all__ = ["OLD_SOFTWARE", "GeProtocol", "write", "write_cbf"]

# A release that multiplies the perfusion weighted image by 45.24 instead of 32.
OLD_SOFTWARE = ("15", "LX", "MR Software release:15.0_M4_0910.a")

_CONSOLE_CBF = Pass(("DERIVED", "PRIMARY", "CBF", "CBF"))


def write(
    folder: Path,
    study: Study,
    perfusion: NDArray[np.floating],
    density: NDArray[np.floating],
    affine: NDArray[np.floating],
    *,
    protocol: GeProtocol | None = None,
) -> list[Path]:
    """Write one series: all slices of `perfusion`, then all slices of `density`.

    Parameters
    ----------
    folder
        Where the files go.
    study
        Who was scanned, and when.
    perfusion
        Perfusion weighted image in the scanner's units, that is 32 × number of excitations × ΔM,
        ``(x, y, z)``; −32768 to 32767, rounded.
    density
        Proton density image (saturation recovery of 2 s), same shape and range.
    affine
        Voxel to mm, NIfTI axes, ``(4, 4)``.
    protocol
        What was set at the console.

    Returns
    -------
    list of Path
        The files, in the order of their instance numbers.
    """
    volumes = stack(np.stack([perfusion, density], axis=-1), affine)
    return write_passes(
        folder, study, volumes, (PERFUSION, DENSITY), protocol=protocol or GeProtocol()
    )


def write_cbf(
    folder: Path,
    study: Study,
    cbf: NDArray[np.floating],
    affine: NDArray[np.floating],
    *,
    protocol: GeProtocol | None = None,
) -> list[Path]:
    """Write the console's map of blood flow, a series numbered behind the one it comes from.

    Parameters
    ----------
    folder
        Where the files go.
    study
        Who was scanned, and when.
    cbf
        mL/100 g/min, ``(x, y, z)``; rounded.
    affine
        Voxel to mm, NIfTI axes, ``(4, 4)``.
    protocol
        The protocol of the series that the map was computed from.
    """
    protocol = protocol or GeProtocol()
    console = replace(
        protocol,
        series_number=100 * protocol.series_number,
        series_description=f"CBF: {protocol.series_description}",
    )
    return write_passes(folder, study, stack(cbf, affine), (_CONSOLE_CBF,), protocol=console)
