"""Philips pCASL/PASL SOURCE images: the header holds neither delay nor duration.

Order differs by export: classic images come control, label, control, label …, enhanced ones may
come all controls first. Each image is tagged in (2005,1429), with its repeat in (0020,0100).
"""

import re
from collections.abc import Mapping
from typing import Any

from cereflow_bids.intake.protocol import Labeling, Parameter
from cereflow_bids.intake.series import Series

_TYPES = {"LABEL": "label", "CONTROL": "control", "M_ZERO_SCAN": "m0scan"}
_STANDARD_TYPES = {"PSEUDOCONTINUOUS": "PCASL", "CONTINUOUS": "CASL", "PULSED": "PASL"}


def read(series: Series, converted: Mapping[str, Any]) -> Labeling:
    """Read the labelling type and the tags of the volumes.

    Parameters
    ----------
    series
        One ASL series.
    converted
        dcm2niix's sidecar (unused: it has no ASL field for this vendor).
    """
    del converted
    found: dict[str, Parameter] = {}
    stated = _STANDARD_TYPES.get(str(series.header.get("ArterialSpinLabelingContrast", "")))
    if stated:
        found["ArterialSpinLabelingType"] = Parameter(stated, "header (0018,9250)")
    elif named := _type_in(f"{series.description} {series.protocol_name}"):
        found["ArterialSpinLabelingType"] = Parameter(named, "inferred from the series' name")
    types = tuple(_TYPES.get(tag.context.upper(), "n/a") for tag in series.tags)
    return Labeling(found, types or None)


def _type_in(name: str) -> str | None:
    for pattern, kind in ((r"p(seudo)?_?-?casl", "PCASL"), (r"pasl|pulsed|star", "PASL")):
        if re.search(pattern, name, re.IGNORECASE):
            return kind
    return "CASL" if re.search(r"casl", name, re.IGNORECASE) else None
