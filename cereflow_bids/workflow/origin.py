"""Where the anatomy came from that a run was given."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cereflow_bids.bids.parameters import Parameter


@dataclass(frozen=True)
class Origin:
    """Where the anatomy came from.

    Attributes
    ----------
    stem
        Entities of the T1w image, after which what was made of it is named.
    sources
        BIDS URIs of the files.
    generated_by, dataset
        Of precomputed anatomy: who made it, and the name of the dataset in URIs.
    """

    stem: str
    sources: tuple[str, ...]
    generated_by: str = ""
    dataset: str = ""

    def parameters(self) -> list[dict[str, Any]]:
        """Return what the record of a run says of it; of a T1w image the sources say enough."""
        if not self.dataset:
            return []
        note = "T1w image and what was there of brain and tissues; see the notes"
        where = f"precomputed: {self.dataset}"
        return [Parameter("Anatomy", self.generated_by, "", where, note).as_json()]


def read_origin(anatomy: Mapping[str, str]) -> Origin | None:
    """Return the origin of prepared anatomy; None where there is none."""
    if not anatomy["origin"]:
        return None
    content = json.loads(Path(anatomy["origin"]).read_text(encoding="utf-8"))
    return Origin(**content | {"sources": tuple(content["sources"])})
