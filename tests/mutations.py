"""Vendor ZIPs made wrong in structure and in content, the same ones for the same seed."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import dicom_mutations
import numpy as np
from archive_mutations import DAMAGES, PACKINGS, WORD, Members, zipped
from numpy.typing import NDArray

from cereflow_bids.demo.writers import ge, philips, siemens, siemens_xa
from cereflow_bids.demo.writers.study import Identity, Study

VENDORS = ("ge", "philips", "philips_enhanced", "siemens", "siemens_xa")
_AFFINE = np.diag([4.0, 4.0, 6.0, 1.0])
_SHAPE = (8, 8, 4)
_BRIGHTNESS = {
    "ge": np.array([1.0, 4.0]),
    "philips": np.array([20.0, 19.8, 1.0, 0.9]),
    "philips_enhanced": np.array([20.0, 19.8, 1.0, 0.9]),
    "siemens": np.array([4.0, 0.8, 0.9, 1.0, 0.9, 1.0]),
    "siemens_xa": np.array([4.0, 0.9, 1.0, 0.9, 1.0]),
}
_CONTEXTS = ("M_ZERO_SCAN", "LABEL", "CONTROL", "LABEL", "CONTROL")
# What a folder or a file of a patient may be called.
_NAMES = (
    f"../../../{WORD}",
    f"/{WORD}ESCAPED",
    f"C:\\{WORD}",
    f"..\\..\\{WORD}",
    f"{WORD}\n\x1b[31m{WORD}",
    f"{WORD}/" * 60,
    f"__MACOSX/._{WORD}",
    f"{WORD}.jar",
    f"张伟_{WORD}/序列",
    f"{WORD}/\udcff".encode("utf-8", "surrogateescape").decode("cp437"),
    "%s%n{0.__class__}",
    "-rf",
    "",
)


@dataclass(frozen=True)
class Case:
    """One upload and how it came about.

    Attributes
    ----------
    number
        Its number under its seed.
    vendor
        Whose scan it was made of.
    changes
        Names of what was done to it.
    content
        The file.
    """

    number: int
    vendor: str
    changes: tuple[str, ...]
    content: bytes


def mutations(seed: int, count: int) -> Iterator[Case]:
    """Yield `count` cases; each can be made again by :func:`case` alone."""
    for number in range(count):
        yield case(seed, number)


def case(seed: int, number: int) -> Case:
    """Return the case of a number."""
    chance = random.Random(f"{seed}/{number}")
    vendor = chance.choice(VENDORS)
    members = list(base(vendor))
    changes: list[str] = []
    kind = chance.random()
    if kind < 0.5:
        members = _change_images(members, chance, changes)
    if kind >= 0.4:
        for _ in range(chance.randint(1, 2)):
            change = chance.choice(MEMBER_CHANGES)
            changes.append(change.__name__.strip("_"))
            members = change(members, chance)
    pack = chance.choice(PACKINGS)
    changes.append(pack.__name__.strip("_"))
    content = pack(members, chance)
    if kind >= 0.7:
        damage = chance.choice(DAMAGES)
        changes.append(damage.__name__.strip("_"))
        content = damage(content, chance)
    return Case(number, vendor, tuple(changes), content)


def sound(vendor: str) -> bytes:
    """Return the upload of which all others of a vendor are made."""
    return zipped(list(base(vendor)), random.Random(0))


@cache
def base(vendor: str) -> tuple[tuple[str, bytes], ...]:
    """Return the files of a small sound scan, each text and name of which is a canary."""
    study = replace(
        Study(Identity.canary(f"F{VENDORS.index(vendor)}"), "20200203", "101112"),
        description=f"{WORD} STUDY",
    )
    # Brightness of the volumes as the vendor's order has it, so that a sound scan is understood.
    volumes = np.random.default_rng(7).uniform(100, 900, (*_SHAPE, 1)) * _BRIGHTNESS[vendor]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder)
        _write(vendor, target, study, volumes)
        paths = sorted(path for path in target.rglob("*") if path.is_file())
        return tuple((f"{WORD}^{vendor}/{path.name}", path.read_bytes()) for path in paths)


def _write(vendor: str, folder: Path, study: Study, volumes: NDArray[np.float64]) -> None:
    if vendor == "ge":
        ge.write(folder, study, volumes[..., 0], volumes[..., 1], _AFFINE)
    elif vendor == "siemens":
        siemens.write(folder, study, volumes, _AFFINE)
    elif vendor == "siemens_xa":
        siemens_xa.write(folder, study, volumes, _AFFINE, _CONTEXTS)
    else:
        enhanced = vendor.endswith("enhanced")
        philips.write_source(folder, study, volumes, _AFFINE, enhanced=enhanced)


def _change_images(members: Members, chance: random.Random, changes: list[str]) -> Members:
    """Do the same kind of thing to one image, some, or all; the ones that break fall out."""
    change = chance.choice(dicom_mutations.MUTATIONS)
    share = chance.choice((0.0, 0.3, 1.0))
    chosen = chance.randrange(len(members))
    changes.append(f"{change.__name__} ({share:.0%})")
    # The same state for each: all images get the same change, as a faulty exporter makes it.
    state = chance.getstate()
    found = []
    for number, (name, content) in enumerate(members):
        hit = number == chosen or chance.random() < share
        if share == 1.0:
            chance.setstate(state)
        found.append((name, change(content, chance) if hit else content))
    return found


def _drop(members: Members, chance: random.Random) -> Members:
    kept = chance.randrange(len(members)) if members else 0
    return chance.sample(members, kept)


def _repeat(members: Members, chance: random.Random) -> Members:
    return members + chance.choices(members, k=chance.randint(1, 8)) if members else members


def _shuffle(members: Members, chance: random.Random) -> Members:
    return chance.sample(members, len(members))


def _swap_contents(members: Members, chance: random.Random) -> Members:
    contents = chance.sample([content for _, content in members], len(members))
    return [(name, content) for (name, _), content in zip(members, contents, strict=True)]


def _rename(members: Members, chance: random.Random) -> Members:
    found = list(members)
    for _ in range(chance.randint(1, 3)):
        if found:
            place = chance.randrange(len(found))
            found[place] = (chance.choice(_NAMES), found[place][1])
    return found


def _mix_vendors(members: Members, chance: random.Random) -> Members:
    return members + list(base(chance.choice(VENDORS)))


def _add_garbage(members: Members, chance: random.Random) -> Members:
    nested = zipped(list(members[:2]), chance)
    garbage = chance.choice(
        (
            b"",
            b"\0",
            WORD.encode() * 40,
            chance.randbytes(3000),
            bytes(128) + b"DICM",
            bytes(128) + b"DICM" + chance.randbytes(500),
            b"\x89PNG\r\n\x1a\n" + chance.randbytes(100),
            b"PK\x03\x04" + chance.randbytes(100),
            b"\x1f\x8b\x08" + chance.randbytes(100),
            b"Rar!\x1a\x07" + bytes(50),
            nested,
            nested[: len(nested) // 2],
            zipped([("a", nested)], chance),
        )
    )
    place = chance.randrange(len(members) + 1)
    return [*members[:place], (f"{WORD}{chance.random()}", garbage), *members[place:]]


def _nest(members: Members, chance: random.Random) -> Members:
    for _ in range(chance.randint(1, 6)):
        members = [(f"{WORD}.zip", chance.choice(PACKINGS)(members, chance))]
    return members


MEMBER_CHANGES: tuple[Callable[[Members, random.Random], Members], ...] = (
    _drop,
    _repeat,
    _shuffle,
    _swap_contents,
    _rename,
    _mix_vendors,
    _add_garbage,
    _nest,
)
