"""The files that runs are made of: the index is asked once for all, not once for each run."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cereflow_bids.bids.inheritance import Inheritance

if TYPE_CHECKING:
    from bids import BIDSLayout
    from bids.layout import BIDSFile

IMAGES = (".nii", ".nii.gz")
BESIDE = ("m0scan", "T1w")
"""Suffixes of the images that go with an ``_asl`` image."""


class Files:
    """The images of a dataset, with their metadata.

    Parameters
    ----------
    layout
        The index; it must not change meanwhile.
    """

    def __init__(self, layout: BIDSLayout) -> None:
        self.root = Path(layout.root)
        self.inheritance = Inheritance(self.root)
        self._layout = layout

    def images(self, subject: str, suffix: str) -> list[BIDSFile]:
        """Return a participant's images of one of the suffixes `BESIDE`, by name."""
        return self._beside[subject, suffix]

    def metadata(self, image: BIDSFile) -> dict[str, Any]:
        """Return what the sidecars of an image say, what it inherits included."""
        return {name: tag.value for name, tag in image.tags.items() if tag.is_metadata}

    def chosen(self, **query: Any) -> list[BIDSFile]:
        """Return what a query of pybids finds, ready to be asked for entities and metadata."""
        from bids.layout import BIDSFile
        from sqlalchemy.orm import selectinload

        found = list(self._layout.get(**query))
        # Else every image costs a query of its own when its entities are looked at.
        wanted = self._layout.session.query(BIDSFile).options(selectinload(BIDSFile.tags))
        some = 500
        for begin in range(0, len(found), some):
            paths = [image.path for image in found[begin : begin + some]]
            wanted.filter(BIDSFile.path.in_(paths)).all()
        return found

    @cached_property
    def _beside(self) -> defaultdict[tuple[str, str], list[BIDSFile]]:
        found: defaultdict[tuple[str, str], list[BIDSFile]] = defaultdict(list)
        for suffix in BESIDE:
            for image in self.chosen(suffix=suffix, extension=list(IMAGES)):
                found[str(image.entities.get("subject")), suffix].append(image)
        return found
