"""What each vendor's headers say about the labelling."""

from collections.abc import Callable, Mapping
from typing import Any

from cereflow_bids.intake.protocol import Labeling
from cereflow_bids.intake.series import Series
from cereflow_bids.intake.vendors import ge, philips, siemens

Reader = Callable[[Series, Mapping[str, Any]], Labeling]

READERS: dict[str, Reader] = {
    "ge": ge.read,
    "philips": philips.read,
    "siemens": siemens.read,
}
