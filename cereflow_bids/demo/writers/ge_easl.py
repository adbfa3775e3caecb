"""GE eASL: several delays from one time-encoded labelling, decoded by the scanner.

The user gets three series: the decoded images of each delay with the density image behind them,
a map of blood flow and a map of transit delays. Neither (0018,0082) nor (0043,10A5) holds the
delays and durations; what the operator set is in "user data" 4 to 7.
"""

from dataclasses import dataclass, replace
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

_FIRST_DELAY, _TOTAL_DURATION, _DELAYS, _LINEARITY = range(4, 8)
_FLOW = Pass(("DERIVED", "PRIMARY", "CBF", "CBF"))
_TRANSIT = Pass(("DERIVED", "PRIMARY", "ASL", "TRANSIT_DELAY"))


@dataclass(frozen=True)
class EaslProtocol(GeProtocol):
    """What the operator set; times in seconds.

    Attributes
    ----------
    first_delay, total_duration
        Shortest post-labelling delay, and the sum of all blocks of labelling.
    delays
        Number of blocks: 3 or 7.
    linearity
        1: blocks of equal duration; 0: blocks of equal signal.
    unit
        In which the header holds the times: 1 for seconds, 1000 for milliseconds.
    told
        Whether the header holds them at all.
    """

    post_labeling_delay: float = 0.7
    labeling_duration: float = 4.0
    excitations: int = 8
    repetition_time: float = 6.5
    series_description: str = "eASL"
    sequence: str = "easl"
    first_delay: float = 1.0
    total_duration: float = 3.5
    delays: int = 7
    linearity: float = 0.0
    unit: float = 1.0
    told: bool = True


def write_raw(
    folder: Path,
    study: Study,
    perfusion: NDArray[np.floating],
    density: NDArray[np.floating],
    affine: NDArray[np.floating],
    *,
    protocol: EaslProtocol | None = None,
) -> list[Path]:
    """Write "Raw": the decoded image of each delay, shortest first, then the density image.

    Parameters
    ----------
    folder
        Where the files go.
    study
        Who was scanned, and when.
    perfusion
        Decoded images in the scanner's units, ``(x, y, z, delays)``; −32768 to 32767, rounded.
    density
        Proton density image, ``(x, y, z)``, same range.
    affine
        Voxel to mm, NIfTI axes, ``(4, 4)``.
    protocol
        What was set at the console.
    """
    protocol = protocol or EaslProtocol()
    volumes = np.concatenate([perfusion, density[..., np.newaxis]], axis=-1)
    return write_passes(
        folder,
        study,
        stack(volumes, affine),
        (*[PERFUSION] * protocol.delays, DENSITY),
        protocol=_named(protocol, "Raw", protocol.series_number),
        user_data=_user_data(protocol),
    )


def write_flow(
    folder: Path,
    study: Study,
    cbf: NDArray[np.floating],
    affine: NDArray[np.floating],
    *,
    protocol: EaslProtocol | None = None,
) -> list[Path]:
    """Write "Transit corrected Flow": `cbf` in mL/100 g/min, ``(x, y, z)``, rounded."""
    protocol = protocol or EaslProtocol()
    return write_passes(
        folder,
        study,
        stack(cbf, affine),
        (_FLOW,),
        protocol=_named(protocol, "Transit corrected Flow", 100 * protocol.series_number),
        user_data=_user_data(protocol),
    )


def write_transit_delay(
    folder: Path,
    study: Study,
    delay: NDArray[np.floating],
    affine: NDArray[np.floating],
    *,
    protocol: EaslProtocol | None = None,
) -> list[Path]:
    """Write "Transit delay": `delay` in s, ``(x, y, z)``; the file holds whole milliseconds."""
    protocol = protocol or EaslProtocol()
    return write_passes(
        folder,
        study,
        stack(1000 * np.asarray(delay, dtype=float), affine),
        (_TRANSIT,),
        protocol=_named(protocol, "Transit delay", 100 * protocol.series_number + 1),
        user_data=_user_data(protocol),
    )


def _named(protocol: EaslProtocol, what: str, number: int) -> EaslProtocol:
    """Return the protocol of the series that holds `what`."""
    description = f"{protocol.series_description}: {what}"
    return replace(protocol, series_number=number, series_description=description)


def _user_data(protocol: EaslProtocol) -> dict[int, float]:
    """Return what the operator set, under the numbers of its "user data"."""
    if not protocol.told:
        return {}
    return {
        _FIRST_DELAY: protocol.unit * protocol.first_delay,
        _TOTAL_DURATION: protocol.unit * protocol.total_duration,
        _DELAYS: float(protocol.delays),
        _LINEARITY: protocol.linearity,
    }
