"""What one sidecar must say of one image: the BIDS rules for ASL that validators let pass."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from cereflow_bids.bids.m0_metadata import LONGEST_TR
from cereflow_bids.bids.metadata import LONGEST_DELAY
from cereflow_bids.bids.parameters import DEFAULT
from cereflow_bids.bids.run import LABELED
from cereflow_bids.bids.sidecar import is_number
from cereflow_bids.perfusion.constants import LABELING_EFFICIENCY

M0_TYPES = ("Separate", "Included", "Estimate", "Absent")

_LONGEST_ECHO = 1.0
# In seconds: what is longer was never converted from milliseconds.
_LONGEST = {
    "PostLabelingDelay": LONGEST_DELAY,
    "LabelingDuration": LONGEST_DELAY,
    "BolusCutOffDelayTime": LONGEST_DELAY,
    "SliceTiming": LONGEST_DELAY,
    "RepetitionTimePreparation": LONGEST_TR,
    "EchoTime": _LONGEST_ECHO,
}
_PER_VOLUME = (
    "PostLabelingDelay",
    "LabelingDuration",
    "RepetitionTimePreparation",
    "EchoTime",
    "FlipAngle",
)
_VOCABULARY = {"ArterialSpinLabelingType": tuple(LABELING_EFFICIENCY), "M0Type": M0_TYPES}
_REQUIRED = {
    "asl": (
        "MagneticFieldStrength",
        "MRAcquisitionType",
        "EchoTime",
        "RepetitionTimePreparation",
        "ArterialSpinLabelingType",
        "PostLabelingDelay",
        "BackgroundSuppression",
        "M0Type",
        "TotalAcquiredPairs",
    ),
    "m0scan": ("EchoTime", "RepetitionTimePreparation", "IntendedFor"),
}
# (key, value) → what an `_asl` with it needs besides.
_REQUIRED_WITH: tuple[tuple[str, Any, tuple[str, ...]], ...] = (
    ("ArterialSpinLabelingType", "PCASL", ("LabelingDuration",)),
    ("ArterialSpinLabelingType", "CASL", ("LabelingDuration",)),
    ("ArterialSpinLabelingType", "PASL", ("BolusCutOffFlag",)),
    ("BolusCutOffFlag", True, ("BolusCutOffDelayTime", "BolusCutOffTechnique")),
    ("MRAcquisitionType", "2D", ("SliceTiming",)),
    ("LookLocker", True, ("FlipAngle",)),
    ("M0Type", "Estimate", ("M0Estimate",)),
)
_NOT_MEASURED = (DEFAULT, "assumed")


class Finding(NamedTuple):
    """One rule broken: its name, what is wrong, and what would mend it."""

    rule: str
    sentence: str
    fix: str


@dataclass(frozen=True)
class RawImage:
    """One ``_asl`` or ``_m0scan`` image with what is said of it.

    Attributes
    ----------
    suffix
        ``"asl"`` or ``"m0scan"``.
    values
        Its metadata, inheritance resolved.
    shape
        Of the image.
    types
        Type of each volume of an ``_asl``; empty if that is not known.
    excused
        BIDS keys that may be absent, because the user was asked for them.
    """

    suffix: str
    values: Mapping[str, Any]
    shape: tuple[int, ...]
    types: tuple[str, ...] = ()
    excused: frozenset[str] = field(default_factory=frozenset)

    def excusing(self, keys: Collection[str]) -> RawImage:
        """Return the same image, with keys that may be absent."""
        return replace(self, excused=frozenset(keys))

    def numbers(self, key: str) -> list[float]:
        """Return the numbers of a key, one or many, and nothing else."""
        value = self.values.get(key)
        several = value if isinstance(value, list) else [value]
        return [float(one) for one in several if one is not None and is_number(one)]


def findings(image: RawImage) -> Iterator[Finding]:
    """Yield each rule that the sidecar of `image` breaks."""
    yield from _required(image)
    yield from _seconds(image)
    yield from _lengths(image)
    yield from _repetition(image)
    if image.suffix == "asl":
        yield from _vocabulary(image)
        yield from _labeling_duration(image)
        yield from _unlabeled_volumes(image)
        yield from _pairs(image)
        yield from _efficiency(image)
        yield from _slice_timing(image)


def _required(image: RawImage) -> Iterator[Finding]:
    wanted = dict.fromkeys(_REQUIRED[image.suffix], "")
    for condition, value, keys in _REQUIRED_WITH if image.suffix == "asl" else ():
        if image.values.get(condition) == value:
            shown = str(value).lower() if value is True else value
            wanted |= dict.fromkeys(keys, f", though {condition} is {shown}")
    for key, reason in wanted.items():
        # An empty list stands: an IntendedFor without entries says of a spare M0 that it is spare.
        if image.values.get(key) in (None, "") and key not in image.excused:
            yield Finding("required", f"{key} is REQUIRED and absent{reason}.", f"add {key}.")


def _vocabulary(image: RawImage) -> Iterator[Finding]:
    for key, known in _VOCABULARY.items():
        if key in image.values and image.values[key] not in known:
            yield Finding(
                "vocabulary",
                f"{key} is {image.values[key]!r}, which BIDS does not know.",
                f"use one of {', '.join(known)}.",
            )


def _seconds(image: RawImage) -> Iterator[Finding]:
    for key, longest in _LONGEST.items():
        numbers = image.numbers(key)
        if numbers and max(numbers) > longest:
            yield Finding(
                "seconds",
                f"{key} is {max(numbers):g}: that looks like milliseconds.",
                f"give {key} in seconds.",
            )
        # A repetition time has a rule of its own.
        if key != "RepetitionTimePreparation" and numbers and min(numbers) < 0:
            yield Finding(
                "seconds", f"{key} is {min(numbers):g}, below 0.", f"give {key} in seconds."
            )


def _lengths(image: RawImage) -> Iterator[Finding]:
    volumes = image.shape[3] if len(image.shape) > 3 else 1
    for key in _PER_VOLUME:
        value = image.values.get(key)
        if isinstance(value, list) and len(value) != volumes:
            yield Finding(
                "per-volume",
                f"{key} has {len(value)} entries for {volumes} volumes.",
                f"give {key} as one number or one number per volume.",
            )


def _repetition(image: RawImage) -> Iterator[Finding]:
    key = "RepetitionTimePreparation"
    wrong = [number for number in image.numbers(key) if number <= 0]
    if wrong:
        yield Finding(
            "repetition-time", f"{key} is {wrong[0]:g}.", f"give {key} in seconds, above 0."
        )


def _labeling_duration(image: RawImage) -> Iterator[Finding]:
    key = "LabelingDuration"
    if image.values.get("ArterialSpinLabelingType") == "PASL" and key in image.values:
        yield Finding(
            "labeling-duration",
            f"{key} is given for PASL, whose bolus has none.",
            f"remove {key}; the bolus of PASL ends at BolusCutOffDelayTime.",
        )
    elif 0 in (image.values.get(key), *_of_volumes(image, key, LABELED)):
        yield Finding(
            "labeling-duration",
            f"{key} is 0 for volumes that were labelled.",
            f"give {key} in seconds, above 0; 0 is for m0scan volumes.",
        )


def _unlabeled_volumes(image: RawImage) -> Iterator[Finding]:
    for key in ("PostLabelingDelay", "LabelingDuration"):
        if any(_of_volumes(image, key, ("m0scan",))):
            yield Finding(
                "m0scan-volumes",
                f"{key} is not 0 for m0scan volumes, which are not labelled.",
                f"write 0 into {key} for each m0scan volume.",
            )


def _of_volumes(image: RawImage, key: str, types: tuple[str, ...]) -> list[float]:
    """Return the entries of an array for volumes of some types; nothing if it does not fit."""
    value = image.values.get(key)
    if not isinstance(value, list) or len(value) != len(image.types):
        return []
    pairs = zip(value, image.types, strict=True)
    return [one for one, kind in pairs if kind in types and is_number(one)]


def _pairs(image: RawImage) -> Iterator[Finding]:
    key = "TotalAcquiredPairs"
    told = image.values.get(key)
    for counted, how in _counted_pairs(image):
        if is_number(told) and is_number(counted) and told != counted:
            yield Finding(
                "pairs", f"{key} is {told:g}, but {how} {counted:g}.", f"set {key} to {counted:g}."
            )
            return


def _counted_pairs(image: RawImage) -> Iterator[tuple[Any, str]]:
    """Yield the number of pairs that the volumes, and the record of their scaling, add up to."""
    control, label, deltam = (image.types.count(kind) for kind in LABELED)
    if control or label:
        yield min(control, label), "the control and label volumes make"
    scaling = image.values.get("CereflowScaling")
    if not deltam or not isinstance(scaling, Mapping):
        return
    yield scaling.get("TotalAcquiredPairs"), "the difference images were scaled for"
    numbers = scaling.get("NumberOfExcitations")
    if is_number(numbers):
        numbers = [numbers] * deltam
    if isinstance(numbers, list) and len(numbers) == deltam and all(map(is_number, numbers)):
        yield sum(numbers), "the excitations of the difference images make"


def _efficiency(image: RawImage) -> Iterator[Finding]:
    key = "LabelingEfficiency"
    origins = image.values.get("CereflowOrigins")
    origin = str(origins.get(key, "")) if isinstance(origins, Mapping) else ""
    if key in image.values and origin.casefold().startswith(_NOT_MEASURED):
        yield Finding(
            "labeling-efficiency",
            f"{key} was not measured (origin: {origin}).",
            f"remove {key}: whoever quantifies chooses the default.",
        )


def _slice_timing(image: RawImage) -> Iterator[Finding]:
    key = "SliceTiming"
    timing, kind = image.values.get(key), image.values.get("MRAcquisitionType")
    if timing is not None and kind == "3D":
        yield Finding(
            "slice-timing",
            f"{key} is given, but a 3D readout has no slice times.",
            f"remove {key}, or correct MRAcquisitionType.",
        )
    axis = "ijk".find(str(image.values.get("SliceEncodingDirection", "k"))[:1])
    counted = isinstance(timing, list) and axis >= 0 and kind == "2D"
    if counted and len(timing or ()) != image.shape[axis]:
        yield Finding(
            "slice-timing",
            f"{key} has {len(timing or ())} entries for {image.shape[axis]} slices.",
            f"give {key} as one time per slice.",
        )
