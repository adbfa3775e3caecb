"""What was set at a Philips console, and which image is what in the order of acquisition."""

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class PhilipsProtocol:
    """What the operator set; times in seconds. The labelling is not here: no header holds it.

    Attributes
    ----------
    dimension
        ``"3D"`` (GRASE) or ``"2D"`` (EPI).
    shots_per_volume
        Preparations that one volume takes.
    phases
        Readouts after one labelling; more than one makes a multiphase (Look-Locker) scan, the
        only one whose headers tell a delay.
    first_delay, phase_interval, slice_interval
        Multiphase: delay of the first slice in the first phase, and what each further phase and
        each further slice adds.
    cycle
        Multiphase: from one labelling to the next. ``repetition_time`` is then the time between
        two phases, as the scanner has it.
    software
        (0018,1020).
    """

    repetition_time: float = 4.25
    echo_time: float = 0.009
    shots_per_volume: int = 15
    field_strength: float = 3.0
    source_number: int = 1903
    cbf_number: int = 1901
    source_description: str = "WIP SOURCE - 3DpCASL"
    cbf_description: str = "3DpCASL"
    dimension: str = "3D"
    flip_angle: float = 90
    phases: int = 1
    first_delay: float = 0.0
    phase_interval: float = 0.0
    slice_interval: float = 0.0
    cycle: float = 0.0
    software: tuple[str, ...] = ("5.7.1", "5.7.1.1")

    @property
    def dynamic(self) -> float:
        """Seconds from one dynamic, a control and a label, to the next."""
        one = self.cycle if self.phases > 1 else self.shots_per_volume * self.repetition_time
        return 2 * one


# Timing and names of a public scan of release 5.7 (its images are not part of this project).
PCASL_2D = PhilipsProtocol(
    repetition_time=4.55,
    echo_time=0.015311,
    shots_per_volume=1,
    source_number=202,
    cbf_number=201,
    source_description="SOURCE - pCASL",
    cbf_description="pCASL",
    dimension="2D",
)
MULTIPHASE = PhilipsProtocol(
    repetition_time=0.25,
    echo_time=0.010864,
    shots_per_volume=1,
    source_number=302,
    cbf_number=301,
    source_description="SOURCE - ASL_MultiPhase",
    cbf_description="ASL_MultiPhase",
    dimension="2D",
    flip_angle=40,
    phases=8,
    first_delay=0.3,
    phase_interval=0.25,
    slice_interval=0.03,
    cycle=4.0,
)


@dataclass(frozen=True)
class Kind:
    """How the headers of one series differ from another's.

    Attributes
    ----------
    technique
        What comes after ``M`` or ``PERFUSION`` in the image type: ``"SE"`` or ``"FFE"``.
    contrast
        Philips' third value: ``"M"`` or ``"PERFUSION"``.
    slope
        Rescale slope, for display.
    scale
        Scale slope: stored value per floating point value of the scanner.
    labelled
        Whether the images are controls and labels.
    """

    technique: str
    contrast: str
    slope: float
    scale: float
    rescale_type: str = "normalized"
    labelled: bool = False
    acquisition_contrast: str = "PERFUSION"

    @property
    def image_type(self) -> tuple[str, ...]:
        """(0008,0008) of a classic image."""
        return (
            "ORIGINAL",
            "PRIMARY",
            f"{self.contrast}_{self.technique}",
            self.contrast,
            self.technique,
        )


class Volume(NamedTuple):
    """One volume in the order of acquisition; dynamic and phase count from 1."""

    dynamic: int
    phase: int
    label: str


class Place(NamedTuple):
    """Where an image is in its series: slice, from 0, and numbers of slices and dynamics."""

    slice_index: int
    slices: int
    dynamics: int


def volumes(count: int, protocol: PhilipsProtocol, *, labelled: bool) -> list[Volume]:
    """Say what each of `count` volumes is, in the order of acquisition.

    A dynamic is a control with all of its phases, then a label with all of its phases.

    Raises
    ------
    ValueError
        If `count` is not a whole number of dynamics.
    """
    kinds = ("CONTROL", "LABEL") if labelled else ("",)
    phases = protocol.phases if labelled else 1
    each = [(phase, kind) for kind in kinds for phase in range(1, phases + 1)]
    if count % len(each):
        raise ValueError(f"{count} volumes are no whole number of dynamics of {len(each)}")
    return [
        Volume(dynamic, phase, kind)
        for dynamic in range(1, count // len(each) + 1)
        for phase, kind in each
    ]


def trigger_time(volume: Volume, slice_index: int, protocol: PhilipsProtocol) -> float:
    """Return (0018,1060) in seconds: the delay of a multiphase image, else the dynamic's start."""
    if protocol.phases > 1:
        phase = (volume.phase - 1) * protocol.phase_interval
        return protocol.first_delay + phase + slice_index * protocol.slice_interval
    return (volume.dynamic - 1) * protocol.dynamic
