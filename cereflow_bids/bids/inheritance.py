"""Which files of a dataset apply to an image: BIDS' inheritance principle, without an index."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from cereflow_bids.bids.sidecar import read_values


class _Name(NamedTuple):
    path: Path
    entities: frozenset[str]
    suffix: str
    extension: str


class Inheritance:
    """The files of one raw dataset that others inherit from; every folder is listed once."""

    def __init__(self, dataset: Path) -> None:
        self.dataset = dataset
        self._folders: dict[Path, defaultdict[tuple[str, str], list[_Name]]] = {}

    @cached_property
    def images(self) -> list[Path]:
        """All NIfTI images of the participants, in order."""
        return sorted(self.dataset.glob("sub-*/**/*.nii*"))

    def named(self, suffix: str) -> list[Path]:
        """Return the images of one suffix, such as ``"asl"``."""
        return [path for path in self.images if _parsed(path).suffix == suffix]

    def applicable(self, image: Path, suffix: str, extension: str) -> list[Path]:
        """Return the files of a suffix and extension that apply to an image, the nearest last.

        Parameters
        ----------
        image
            An image of the dataset.
        suffix
            Suffix of the wanted files, such as ``"aslcontext"``.
        extension
            Their extension with its dot.
        """
        own = _parsed(image).entities
        inside = image.parent.relative_to(self.dataset).parents
        levels = [self.dataset / part for part in reversed(inside)] + [image.parent]
        found = []
        for level in levels:
            named = self._listed(level)[suffix, extension]
            wanted = [name for name in named if name.entities <= own]
            found += sorted(wanted, key=lambda name: len(name.entities))
        return [name.path for name in found]

    def metadata(self, image: Path) -> dict[str, Any]:
        """Return the sidecar of an image, what it inherits included.

        Raises
        ------
        InputError
            If a sidecar is no JSON object.
        """
        values: dict[str, Any] = {}
        for path in self.applicable(image, _parsed(image).suffix, ".json"):
            values |= read_values(path)
        return values

    def _listed(self, folder: Path) -> defaultdict[tuple[str, str], list[_Name]]:
        """Return the files of a folder by suffix and extension."""
        if folder not in self._folders:
            self._folders[folder] = defaultdict(list)
            for path in sorted(folder.iterdir()):
                if "." in path.name:
                    name = _parsed(path)
                    self._folders[folder][name.suffix, name.extension].append(name)
        return self._folders[folder]


def _parsed(path: Path) -> _Name:
    stem, dot, extension = path.name.partition(".")
    *entities, suffix = stem.split("_")
    return _Name(path, frozenset(entities), suffix, dot + extension)
