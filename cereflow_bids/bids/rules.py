"""BIDS rules for raw ASL datasets that validators do not enforce, file by file.

Only headers, sidecars and tables are read, no pixels, and no index is built.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from cereflow_bids.bids.inheritance import Inheritance
from cereflow_bids.bids.sidecar import read_values
from cereflow_bids.bids.sidecar_rules import Finding, RawImage, findings
from cereflow_bids.bids.volumes import image_shape, read_context, volume_count
from cereflow_bids.errors import InputError

SUFFIXES = ("asl", "m0scan")


class Violation(NamedTuple):
    """One file that breaks one rule; `file` is its path inside the dataset."""

    file: str
    rule: str
    sentence: str
    fix: str

    def __str__(self) -> str:
        """Return all of it on one line."""
        return f"{self.file} ({self.rule}): {self.sentence} To fix: {self.fix}"


class _Read(NamedTuple):
    """An image with what is said of it, or what makes it unreadable."""

    suffix: str
    image: RawImage | None
    flaws: tuple[Finding, ...]


def violations(
    dataset: Path, excused: Mapping[str, Collection[str]] | None = None
) -> list[Violation]:
    """Check the ASL runs and M0 scans of a raw dataset, including its links between files.

    Parameters
    ----------
    dataset
        Root of the dataset; it is only read.
    excused
        Path of a run in the dataset → BIDS keys that may be absent from its sidecar.

    Returns
    -------
    list of Violation
        In the order of the files; empty if no rule is broken.
    """
    inheritance = Inheritance(dataset)
    read = {
        path.relative_to(dataset).as_posix(): _read(inheritance, path, suffix)
        for suffix in SUFFIXES
        for path in inheritance.named(suffix)
    }
    for file, keys in (excused or {}).items():
        if file in read and (image := read[file].image) is not None:
            read[file] = read[file]._replace(image=image.excusing(keys))
    calibrated = {
        target
        for file, (suffix, image, _) in read.items()
        if suffix == "m0scan" and image is not None
        for target in _targets(image.values.get("IntendedFor"), file)
    }
    found = [
        Violation(file, *finding)
        for file, one in read.items()
        for finding in _of_image(one, file in calibrated)
    ]
    return sorted([*found, *_dangling(dataset, inheritance)])


def _read(inheritance: Inheritance, path: Path, suffix: str) -> _Read:
    """Read what is known of one image; what cannot be read is a flaw, not an end."""
    flaws = []
    try:
        shape = image_shape(path, path.name)
        values = inheritance.metadata(path)
    except InputError as error:
        return _Read(suffix, None, (Finding("unreadable", _sentence(error), error.fix),))
    types: tuple[str, ...] = ()
    if suffix == "asl":
        tables = inheritance.applicable(path, "aslcontext", ".tsv")
        try:
            _, types = read_context(tables[-1] if tables else None, path.name, volume_count(shape))
        except InputError as error:
            flaws.append(Finding("aslcontext", _sentence(error), error.fix))
    return _Read(suffix, RawImage(suffix, values, shape, types), tuple(flaws))


def _sentence(error: InputError) -> str:
    """Return what is wrong as a sentence of its own; names of files keep their small letters."""
    first = error.what.partition(" ")[0]
    return first.capitalize() + error.what[len(first) :] if first.isalpha() else error.what


def _of_image(read: _Read, calibrated: bool) -> Iterator[Finding]:
    yield from read.flaws
    if read.image is not None:
        yield from findings(read.image)
        if read.suffix == "asl":
            yield from _m0_type(read.image, calibrated)


def _m0_type(image: RawImage, calibrated: bool) -> Iterator[Finding]:
    """Compare M0Type with the M0 images that are there."""
    kind, included = image.values.get("M0Type"), "m0scan" in image.types
    if kind == "Separate" and not calibrated:
        yield Finding(
            "m0-type",
            "M0Type is Separate, but no m0scan is intended for this run.",
            "name this run in IntendedFor of its m0scan, or correct M0Type.",
        )
    if kind == "Included" and image.types and not included:
        yield Finding(
            "m0-type",
            "M0Type is Included, but no volume is an m0scan.",
            "correct aslcontext.tsv or M0Type.",
        )
    if kind == "Absent" and (calibrated or included):
        there = "volumes of this run are m0scan" if included else "an m0scan is intended for it"
        yield Finding(
            "m0-type",
            f"M0Type is Absent, but {there}.",
            f"set M0Type to {'Included' if included else 'Separate'}.",
        )


# -- links ---------------------------------------------------------------------------------------


def _dangling(dataset: Path, inheritance: Inheritance) -> Iterator[Violation]:
    """Yield each link of the dataset that leads to no file; any sidecar can have IntendedFor."""
    linked = _linked_datasets(dataset)
    for image in inheritance.images:
        file = image.relative_to(dataset).as_posix()
        try:
            links = _links(inheritance.metadata(image).get("IntendedFor"))
        except InputError:
            continue  # Told as unreadable where it is ASL or M0; elsewhere no matter of ours.
        for link in links:
            name, _, _ = link.removeprefix("bids:").partition(":")
            if link.startswith("bids:") and name:
                there = name in linked
            else:
                target = _target(link, file)
                there = target is not None and _inside(target) and (dataset / target).is_file()
            if not there:
                yield Violation(
                    file,
                    "intended-for",
                    f"IntendedFor names {_last(link)}, which is not there.",
                    "write bids:: and the path of an image inside the dataset.",
                )


def _linked_datasets(dataset: Path) -> Collection[str]:
    """Return the names of other datasets that BIDS URIs may begin with."""
    description = dataset / "dataset_description.json"
    try:
        links: Any = read_values(description).get("DatasetLinks")
    except (FileNotFoundError, InputError):
        return ()  # A study in the making has none yet; a damaged one is the validator's matter.
    return tuple(links) if isinstance(links, Mapping) else ()


def _links(value: Any) -> list[str]:
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]


def _targets(value: Any, file: str) -> Iterator[str]:
    for link in _links(value):
        target = _target(link, file)
        if target is not None:
            yield target


def _target(link: str, file: str) -> str | None:
    """Return the path inside the dataset that a link of `file` leads to, None for other datasets.

    Parameters
    ----------
    link
        A BIDS URI, or a path relative to the participant's folder as older datasets have it.
    file
        Path inside the dataset of the image whose sidecar has the link.
    """
    if link.startswith("bids::"):
        return link.removeprefix("bids::")
    if link.startswith("bids:"):
        return None
    return str(PurePosixPath(file).parts[0] / PurePosixPath(link))


def _inside(target: str) -> bool:
    path = PurePosixPath(target)
    return not path.is_absolute() and ".." not in path.parts


def _last(link: str) -> str:
    return link.rpartition("/")[2] or link
