"""Atlases: label images with a table of names."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cereflow_bids.resources import RESOURCES, TEMPLATE_SPACE

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Atlas:
    """An atlas on the template grid.

    Attributes
    ----------
    name
        BIDS ``atlas`` entity.
    labels
        NIfTI of integer labels, 1 mm.
    table
        TSV with index and name, perhaps hemisphere (L, R or n/a) and group.
    digest
        Of the content of both files, where they are not packaged.
    """

    name: str
    labels: Path
    table: Path
    digest: str = ""

    @property
    def about(self) -> dict[str, Any]:
        """Return version, origin, licence and references; empty where nothing is told."""
        sidecar = self.table.with_suffix(".json")
        if not sidecar.is_file():
            return {}
        content: dict[str, Any] = json.loads(sidecar.read_text(encoding="utf-8"))
        return content

    def regions(self) -> pd.DataFrame:
        """Return the table of names, one row per label."""
        import pandas as pd

        texts = {"name": str, "hemisphere": str, "group": str}
        table = pd.read_csv(self.table, sep="\t", keep_default_na=False, dtype=texts)
        for column, usual in (("hemisphere", "n/a"), ("group", self.name)):
            if column not in table:
                table[column] = usual
        return table[["index", *texts]]


GYRAL = "DesikanKilliany"
TERRITORIES = "ArterialTerritories"
BORDER_ZONES = "ArterialBorderZones"
PACKAGED = (
    GYRAL,
    "Lobes",
    "Subcortical",
    TERRITORIES,
    "ArterialTerritoriesProximalDistal",
    BORDER_ZONES,
)


def packaged_atlas(name: str = GYRAL) -> Atlas:
    """Return an atlas that comes with the package."""
    folder = RESOURCES / "atlases" / (GYRAL if name == GYRAL else "Derived")
    return Atlas(
        name,
        folder / f"tpl-{TEMPLATE_SPACE}_res-01_atlas-{name}_dseg.nii.gz",
        folder / f"atlas-{name}_dseg.tsv",
    )


def packaged_atlases() -> tuple[Atlas, ...]:
    """Return all atlases that come with the package, the gyral one first."""
    return tuple(packaged_atlas(name) for name in PACKAGED)
