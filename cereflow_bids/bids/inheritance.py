"""Which files of a dataset apply to an image: BIDS' inheritance principle, without an index."""

from __future__ import annotations

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
        self._dataset = dataset
        self._folders: dict[Path, list[_Name]] = {}

    @cached_property
    def images(self) -> list[Path]:
        """All NIfTI images of the participants, in order."""
        return sorted(self._dataset.glob("sub-*/**/*.nii*"))

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
        inside = image.parent.relative_to(self._dataset).parents
        levels = [self._dataset / part for part in reversed(inside)] + [image.parent]
        found = []
        for level in levels:
            wanted = [
                name
                for name in self._listed(level)
                if (name.suffix, name.extension) == (suffix, extension) and name.entities <= own
            ]
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

    def _listed(self, folder: Path) -> list[_Name]:
        if folder not in self._folders:
            self._folders[folder] = [
                _parsed(path) for path in folder.iterdir() if "." in path.name
            ]
        return self._folders[folder]


def _parsed(path: Path) -> _Name:
    stem, dot, extension = path.name.partition(".")
    *entities, suffix = stem.split("_")
    return _Name(path, frozenset(entities), suffix, dot + extension)
