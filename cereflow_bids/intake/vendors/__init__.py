"""What each vendor's headers say about the labelling."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cereflow_bids.intake.headers.series import Series
from cereflow_bids.intake.parameters.labeling import Labeling
from cereflow_bids.intake.vendors import ge, philips, siemens

Reader = Callable[[Series], Labeling]
Arranger = Callable[[Labeling, Sequence[Mapping[str, Any]], Sequence[int]], list[tuple[int, int]]]

READERS: dict[str, Reader] = {
    "ge": ge.read,
    "philips": philips.read,
    "siemens": siemens.read,
}

# Only for vendors whose series dcm2niix parts into several images.
ARRANGERS: dict[str, Arranger] = {"ge": ge.arrange, "philips": philips.arrange}
