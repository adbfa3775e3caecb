"""Atlases: label images with a table of names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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
        TSV with index, name, hemisphere (L, R or n/a) and group.
    """

    name: str
    labels: Path
    table: Path

    def regions(self) -> pd.DataFrame:
        """Return the table of names, one row per label."""
        import pandas as pd

        columns = ["index", "name", "hemisphere", "group"]
        return pd.read_csv(self.table, sep="\t", keep_default_na=False)[columns]


def packaged_atlas(name: str = "DesikanKilliany") -> Atlas:
    """Return an atlas that comes with the package."""
    folder = RESOURCES / "atlases" / name
    return Atlas(
        name,
        folder / f"tpl-{TEMPLATE_SPACE}_res-01_atlas-{name}_dseg.nii.gz",
        folder / f"atlas-{name}_dseg.tsv",
    )
