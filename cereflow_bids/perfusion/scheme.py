"""How blood was labelled and when it was looked at: what every kinetic model needs to know."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from cereflow_bids.perfusion.constants import PARTITION_COEFFICIENT, T1_TISSUE

LabelingKind = Literal["PCASL", "CASL", "PASL"]
KineticModel = Literal["consensus", "full"]


@dataclass(frozen=True)
class LabelingScheme:
    """Times of the measurements of one run and the constants of the model. Times in seconds.

    A measurement is the mean of all differences with the same delay and duration.

    Attributes
    ----------
    kind
        PCASL, CASL or PASL.
    delay
        (n,) PLD of each measurement; TI for PASL. May be 0.
    duration
        (n,) τ of each measurement; for PASL the bolus duration (TI1 of QUIPSS II and Q2TIPS).
    efficiency
        α, background suppression included.
    t1_blood
        T1b.
    repeats
        (n,) how many differences each measurement is the mean of; all 1 if not given.
    model
        ``consensus``: tissue T1 equals blood T1 (Woods 2024); ``full``: Buxton 1998.
    t1_tissue
        T1t of the full model.
    partition_coefficient
        λ, mL/g.
    readout_flip_angle
        Degrees, of a Look-Locker readout: the measurements of one duration are then excitations
        of one train, in the order of their delays. None for one excitation per labelling.

    Raises
    ------
    ValueError
        If the lengths differ or a value is impossible.
    """

    kind: LabelingKind
    delay: tuple[float, ...]
    duration: tuple[float, ...]
    efficiency: float
    t1_blood: float
    repeats: tuple[int, ...] = field(default=())
    model: KineticModel = "consensus"
    t1_tissue: float = T1_TISSUE
    partition_coefficient: float = PARTITION_COEFFICIENT
    readout_flip_angle: float | None = None

    def __post_init__(self) -> None:
        n = len(self.delay)
        if not self.repeats:
            object.__setattr__(self, "repeats", (1,) * n)
        if n == 0 or len(self.duration) != n or len(self.repeats) != n:
            raise ValueError(
                f"{n} delays, {len(self.duration)} durations, {len(self.repeats)} repeats"
            )
        _check("delay", self.delay, np.asarray(self.delay) >= 0)
        _check("duration", self.duration, np.asarray(self.duration) > 0)
        _check("repeats", self.repeats, np.asarray(self.repeats) > 0)
        for name in ("efficiency", "t1_blood", "t1_tissue", "partition_coefficient"):
            _check(name, getattr(self, name), np.asarray(getattr(self, name)) > 0)

    @property
    def size(self) -> int:
        """Number of measurements."""
        return len(self.delay)

    @property
    def pulsed(self) -> bool:
        """Whether labelling is pulsed (PASL)."""
        return self.kind == "PASL"


def _check(name: str, value: object, good: np.ndarray) -> None:
    if not np.all(good & np.isfinite(np.asarray(value, dtype=float))):
        raise ValueError(f"{name} is {value}: impossible")
