"""GE 3D pCASL: perfusion-weighted (PW) and proton-density (PD) images in one series.

No public sample of the product exists; the tags are those that converters and other packages
read. PW is the sum over the excitations, scaled by a constant that depends on the software.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from cereflow_bids.errors import InputError
from cereflow_bids.intake.labeling import Labeling, Parameter, Part
from cereflow_bids.intake.series import Series

DELAY = "InversionTime"
LABELING_DURATION = (0x0043, 0x10A5)
EXCITATIONS = (0x0027, 0x1062)
# Seconds of saturation recovery before the PD image.
SATURATION_RECOVERY = 2.0
SCALING = 32.0
OLD_SCALING = 45.24
LAST_OLD_SOFTWARE = 15
MOST_EXCITATIONS = 100


def read(series: Series) -> Labeling:
    """Read delay, duration, number of excitations, and which image is which."""
    header = series.header
    found = {
        # The PD pass is marked CASL although it is not labelled at all: the product is pCASL.
        "ArterialSpinLabelingType": Parameter("PCASL", "header (GE 3D ASL product)"),
        "BackgroundSuppression": Parameter(True, "inferred (the GE product always suppresses)"),
    }
    for key, tag, name in (
        ("PostLabelingDelay", DELAY, "(0018,0082)"),
        ("LabelingDuration", LABELING_DURATION, "(0043,10A5)"),
    ):
        milliseconds = _number(header, tag)
        if milliseconds:
            found[key] = Parameter(round(milliseconds / 1000, 6), f"header {name}")
    if (number := excitations(series)) is not None:
        found["NumberOfExcitations"] = number
    kinds = dict.fromkeys(is_perfusion(image.image_type) for image in series.images)
    size = series.images[0].size
    return Labeling(
        found,
        volume_types=tuple("deltam" if perfusion else "m0scan" for perfusion in kinds),
        part=Part(f"{series.description} {series.protocol_name} {size}", "delay"),
        divisor=scaling(series),
    )


def arrange(
    labeling: Labeling, sidecars: Sequence[Mapping[str, Any]], counts: Sequence[int]
) -> list[tuple[int, int]]:
    """Bring dcm2niix's images, one of PW and one of PD, into the acquired order."""
    kinds = ["deltam" if is_perfusion(one["ImageType"]) else "m0scan" for one in sidecars]
    if sorted(kinds) != ["deltam", "m0scan"] or set(counts) != {1}:
        raise InputError(
            "The series does not hold one perfusion-weighted and one proton-density image.",
            fix="export the whole 3D ASL series, with both of its passes.",
        )
    return [(kinds.index(kind), 0) for kind in labeling.volume_types or ()]


def excitations(series: Series) -> Parameter | None:
    """Return the number of excitations (NEX) that PW is summed over, if a header holds it."""
    for tag, name in ((EXCITATIONS, "(0027,1062)"), ("NumberOfAverages", "(0018,0083)")):
        value = _number(series.header, tag)
        # Some converters and anonymisers store the float's bits as an integer.
        if value and 1 <= value <= MOST_EXCITATIONS:
            return Parameter(round(value), f"header {name}, number of excitations")
    return None


def scaling(series: Series) -> float:
    """Return the constant by which the scanner multiplies PW."""
    text = " ".join(str(part) for part in _texts(series.header.get("SoftwareVersions", "")))
    release = re.search(r"release:\D*(\d+)", text) or re.search(r"(\d+)", text)
    old = release is not None and int(release[1]) <= LAST_OLD_SOFTWARE
    return OLD_SCALING if old else SCALING


def is_perfusion(image_type: tuple[str, ...] | list[str]) -> bool:
    """Tell the PW image from the PD image by its image type."""
    kinds = {str(part).upper() for part in image_type}
    return "DERIVED" in kinds or any(kind.startswith("PERFUSION") for kind in kinds)


def _texts(value: Any) -> list[Any]:
    return [value] if isinstance(value, str) else list(value)


def _number(header: Any, tag: Any) -> float | None:
    if tag not in header:
        return None
    value = header[tag].value
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace").strip()
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if number > 0 else None
