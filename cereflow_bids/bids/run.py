"""One ASL run, validated: past this point nobody checks metadata again.

Finished results are recognised by the text of these objects. Absolute paths stay out of it, so
that a dataset may be mounted elsewhere the next time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cereflow_bids.bids.parameters import SIDECAR, Parameter
from cereflow_bids.bids.precomputed import Precomputed

VOLUME_TYPES = ("control", "label", "m0scan", "deltam", "cbf", "noRF", "n/a")
LABELED = ("control", "label", "deltam")
"""The types that tell of perfusion."""

LabelingType = Literal["PCASL", "CASL", "PASL"]
M0Source = Literal["separate", "included", "estimate", "control", "refused"]


@dataclass(frozen=True)
class Encoding:
    """How volumes are time-encoded (Hadamard). Times in seconds; blocks by rising delay.

    Attributes
    ----------
    signs
        (n, b) for the n volumes of a cycle: 1 where a block was control, −1 where label.
    delays
        (b,) effective PLD: from the end of a block to the readout.
    durations
        (b,) of each block.
    volumes
        The encoded volumes of the series, one cycle after the other.
    final_delay
        From the last block to the readout, where `delays` were derived from it.
    """

    signs: tuple[tuple[int, ...], ...]
    delays: tuple[float, ...]
    durations: tuple[float, ...]
    volumes: tuple[int, ...]
    final_delay: float | None = None

    @property
    def cycles(self) -> list[tuple[int, ...]]:
        """The volumes of each cycle."""
        n = len(self.signs)
        return [self.volumes[k : k + n] for k in range(0, len(self.volumes), n)]

    @property
    def sentence(self) -> str:
        """What the report says of it."""
        n, b = len(self.signs), len(self.delays)
        return (
            f"Time-encoded labelling: {len(self.cycles)} cycles of {n} volumes were decoded into "
            f"{b} differences each, one per block of label; all volumes of a cycle are in each."
        )


@dataclass(frozen=True)
class Labeling:
    """How blood was labelled. Times in seconds.

    Attributes
    ----------
    kind
        PCASL, CASL or PASL.
    post_labeling_delay
        PLD, or TI for PASL, of the first slice; a tuple, one per measurement, where the run has
        several delays or durations.
    labeling_duration
        τ of (P)CASL, else None; a tuple, one per measurement, where it differs.
    volume_delays, volume_durations
        The same for each volume of the series; what stands there for M0 volumes means nothing.
        Durations are empty for PASL.
    bolus_cutoff
        TI1 of PASL, else None; None for PASL without one.
    readout_flip_angle
        Of each excitation of a Look-Locker readout, degrees; None for one excitation only.
    encoding
        How the volumes are time-encoded; None where they are controls, labels or differences.
    efficiency
        α as it enters the equation, background suppression included.
    t1_blood
        T1 of arterial blood.
    slice_timing
        One offset per slice along `slice_axis`, in the order of the image; None for 3D.
    slice_axis
        Axis of the image.
    """

    kind: LabelingType
    post_labeling_delay: Parameter
    labeling_duration: Parameter | None
    bolus_cutoff: Parameter | None
    efficiency: Parameter
    t1_blood: Parameter
    slice_timing: tuple[float, ...] | None = None
    slice_axis: int = 2
    volume_delays: tuple[float, ...] = ()
    volume_durations: tuple[float, ...] = ()
    readout_flip_angle: Parameter | None = None
    encoding: Encoding | None = None

    @property
    def several_delays(self) -> bool:
        """Whether more than one delay or duration was measured."""
        return isinstance(self.post_labeling_delay.value, tuple)

    def parameters(self) -> list[Parameter]:
        """Return all values with their origins, in the order of a report."""
        rows = () if self.encoding is None else self.encoding.signs
        matrix = tuple("".join("+" if sign > 0 else "−" for sign in row) for row in rows)
        note = "a row per volume of a cycle, a sign per block, the last block first"
        timing = (
            Parameter("SliceTiming", self.slice_timing, "s", note="added to the delay, per slice")
            if self.slice_timing
            else None
        )
        listed = (
            self.post_labeling_delay,
            self.labeling_duration,
            self.bolus_cutoff,
            Parameter("TimeEncodedMatrix", matrix, "", SIDECAR, note) if matrix else None,
            self.readout_flip_angle,
            self.efficiency,
            self.t1_blood,
            timing,
        )
        return [parameter for parameter in listed if parameter is not None]


@dataclass(frozen=True)
class Calibration:
    """Where M0 comes from.

    Attributes
    ----------
    source
        ``separate`` file, ``included`` volumes, ``estimate`` (a number, M0 of blood), mean
        ``control`` of unsuppressed data, or ``refused``.
    m0_file
        The separate M0 image.
    repetition_time
        RepetitionTimePreparation of the M0 images, s.
    echo_times
        (of M0, of ASL), s, where they differ.
    flip_angles
        (of M0, of ASL), degrees, where the readout is Look-Locker.
    same_preparation
        Whether the sidecar of a separate M0 gives the inversion time or delay of the series: as
        after a copy of the protocol, or where M0 is prepared like the series itself.
    estimate
        M0 of blood, in the unit of the ASL images.
    refusal
        Why absolute CBF is refused.
    """

    source: M0Source
    m0_file: Path | None = field(default=None, repr=False)
    repetition_time: Parameter | None = None
    echo_times: tuple[float, float] | None = None
    flip_angles: tuple[float, float] | None = None
    same_preparation: bool = False
    estimate: Parameter | None = None
    refusal: str = ""


@dataclass(frozen=True)
class Person:
    """What the tables of the dataset say of a participant that T1 of blood depends on.

    Attributes
    ----------
    haematocrit
        Fraction, with the table it came from.
    haematocrit_missing
        Whether the tables have haematocrit, but not this one.
    sex
        F, M, or empty.
    age
        Years; None if unknown.
    """

    haematocrit: Parameter | None = None
    haematocrit_missing: bool = False
    sex: str = ""
    age: float | None = None


@dataclass(frozen=True)
class AslRun:
    """One ``_asl`` file with everything that quantification needs.

    Attributes
    ----------
    stem
        Entities without the suffix, e.g. ``sub-01_ses-1_run-2``.
    participant, session
        Labels without prefix.
    asl
        The image, (x, y, z) or (x, y, z, n).
    source
        Path relative to the dataset, for ``Sources``.
    context
        Volume type per volume.
    labeling, calibration
        How blood was labelled, where M0 comes from.
    person
        Who was scanned, as far as it matters.
    acquisition
        What the report tells about scanner and series.
    notes
        Sentences for the report.
    fingerprint
        Name, size and time of change of each input file.
    metadata
        The sidecar as JSON: a change there makes the run new.
    t1w
        The T1w image that goes with the run, if there is one and it is not to be ignored.
    precomputed
        Anatomy that is used instead of it.
    shape
        Of the image, from its header: how much memory its steps take depends on it.
    """

    stem: str
    participant: str
    session: str | None
    asl: Path = field(repr=False)
    source: str
    context: tuple[str, ...]
    labeling: Labeling
    calibration: Calibration
    acquisition: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    fingerprint: tuple[tuple[str, int, int], ...] = ()
    metadata: str = ""
    t1w: Path | None = field(default=None, repr=False)
    precomputed: Precomputed | None = None
    person: Person = field(default_factory=Person)
    shape: tuple[int, ...] = field(default=(), repr=False)

    def volumes(self, kind: str) -> list[int]:
        """Return the indices of the volumes of one type."""
        return [index for index, name in enumerate(self.context) if name == kind]
