"""The spaces that maps are written in, as the user names them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cereflow_bids.errors import UsageError
from cereflow_bids.resources import TEMPLATE_SPACE

NATIVE = ("native", "asl", "aslref")
T1W = "T1w"
RESOLUTIONS = (1, 2)
_STANDARD = re.compile(r"([A-Za-z0-9]+)(?::res-0?(\d+))?")


@dataclass(frozen=True, order=True)
class Standard:
    """A template on one of its grids; voxel edges in mm."""

    template: str
    resolution: int = 2

    @property
    def label(self) -> str:
        """What file names have after ``space-``."""
        return f"{self.template}_res-{self.resolution}"

    @property
    def packaged(self) -> bool:
        """Whether the template is the one that tissues and atlases lie on."""
        return self.template == TEMPLATE_SPACE


@dataclass(frozen=True)
class OtherTemplate:
    """A template that is not packaged.

    Attributes
    ----------
    name
        As templateflow has it.
    digest
        Of its files.
    head, mask
        T1w with skull, and brain mask, voxels of 1 mm.
    grids
        By resolution, an image whose grid it is.
    """

    name: str
    digest: str
    head: Path = field(repr=False)
    mask: Path = field(repr=False)
    grids: dict[int, Path] = field(repr=False)


@dataclass(frozen=True)
class OutputSpaces:
    """Where maps are written besides the run's own grid, where they always are.

    Attributes
    ----------
    standards
        Templates with their resolution.
    t1w
        Along the axes of the T1w image, where there is one.
    asked
        Whether the user named them.
    others
        The templates among them that are not packaged.
    """

    standards: tuple[Standard, ...] = (Standard(TEMPLATE_SPACE),)
    t1w: bool = True
    asked: bool = False
    others: tuple[OtherTemplate, ...] = ()

    def other(self, template: str) -> OtherTemplate:
        """Return a template that is not packaged by its name."""
        return next(one for one in self.others if one.name == template)


def read_spaces(words: Sequence[str]) -> OutputSpaces:
    """Return the spaces that a command line names; the default ones where it names none.

    Parameters
    ----------
    words
        Such as ``native``, ``T1w`` and ``MNI152NLin2009aSym:res-1``.

    Raises
    ------
    UsageError
        If a word is no space, or a template cannot be had.
    """
    if not words:
        return OutputSpaces()
    rest = [word for word in words if word not in (*NATIVE, T1W)]
    standards = tuple(sorted({_standard(word) for word in rest}))
    wanted: dict[str, list[int]] = {}
    for one in standards:
        if not one.packaged:
            wanted.setdefault(one.template, []).append(one.resolution)
    others: tuple[OtherTemplate, ...] = ()
    if wanted:
        from cereflow_bids.workflow.template_files import find_templates

        others = find_templates(wanted)
    return OutputSpaces(standards, T1W in words, True, others)


def _standard(word: str) -> Standard:
    found = _STANDARD.fullmatch(word)
    if found is None or word.lower() in {name.lower() for name in (*NATIVE, T1W, "anat", "func")}:
        raise UsageError(
            f"{word!r} is no output space.",
            where="--output-spaces",
            fix=f"give native, T1w, or a template such as {TEMPLATE_SPACE}:res-1; capitals count.",
        )
    resolution = int(found[2] or 2)
    if resolution not in RESOLUTIONS:
        raise UsageError(
            f"{word!r}: there are no grids of that resolution.",
            where="--output-spaces",
            fix=f"give {found[1]}:res-1 or {found[1]}:res-2, for voxels of 1 or 2 mm.",
        )
    return Standard(found[1], resolution)
