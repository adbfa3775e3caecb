"""GE 3D pCASL: perfusion-weighted (PW) and proton-density (PD) images in one series.

No public sample of the product exists; the tags are those that converters and other packages
read. PW is the sum over the excitations, scaled by a constant that depends on the software.
"""

import re
from collections.abc import Mapping
from typing import Any

from cereflow_bids.intake.protocol import Labeling, Parameter
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


def read(series: Series, converted: Mapping[str, Any]) -> Labeling:
    """Read delay, duration and number of excitations.

    Parameters
    ----------
    series
        One ASL series.
    converted
        dcm2niix's sidecar (unused: it repeats these tags).
    """
    del converted
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
        found["TotalAcquiredPairs"] = number
    return Labeling(found)


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
