"""How many volumes an image has, and what its aslcontext.tsv says each of them is."""

from __future__ import annotations

import csv
import zlib
from pathlib import Path
from typing import Any

from cereflow_bids.bids.annex import require_content
from cereflow_bids.bids.run import VOLUME_TYPES
from cereflow_bids.errors import InputError


def image_shape(path: Path, where: str) -> tuple[int, ...]:
    """Return the shape of an image, (x, y, z) or (x, y, z, n), from its header alone.

    Raises
    ------
    InputError
        If it cannot be read or has another number of dimensions.
    """
    require_content(path, where)
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError

    try:
        image: Any = nib.load(path)
    except (ImageFileError, OSError, EOFError, zlib.error) as error:
        raise InputError(
            "the image cannot be read: it is truncated or no NIfTI.",
            where=where,
            fix="copy or convert it again.",
        ) from error
    shape = image.shape
    if len(shape) not in (3, 4):
        raise InputError(
            f"the image has {len(shape)} dimensions.", where=where, fix="give a 3D or 4D image."
        )
    return tuple(int(n) for n in shape)


def volume_count(shape: tuple[int, ...]) -> int:
    """Return the number of volumes: 1 for (x, y, z)."""
    return shape[3] if len(shape) > 3 else 1


def read_context(table: Path | None, where: str, n_volumes: int) -> tuple[Path, tuple[str, ...]]:
    """Return the ``aslcontext.tsv`` of a run and the type of each volume.

    Parameters
    ----------
    table
        The ``aslcontext.tsv`` of a run, None if it has none.
    where
        The run, for messages.
    n_volumes
        Volumes of its image.

    Raises
    ------
    InputError
        If there is no table, it has unknown types, or it does not fit the image.
    """
    if table is None:
        raise InputError(
            "there is no aslcontext.tsv for it.",
            where=where,
            fix="add it: one column volume_type, one row per volume.",
        )
    require_content(table, str(Path(where).with_name(table.name)))
    try:
        with table.open(encoding="utf-8-sig", newline="") as text:
            rows = list(csv.DictReader(text, delimiter="\t", restval=""))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            "aslcontext.tsv is no table.", where=where, fix="write it anew, as UTF-8 text."
        ) from error
    context = tuple(str(row.get("volume_type", "")).strip() for row in rows)
    bad = sorted(set(context) - set(VOLUME_TYPES))
    if not context or bad:
        raise InputError(
            f"aslcontext.tsv has no volume_type column, or unknown types ({', '.join(bad)}).",
            where=where,
            fix=f"use {', '.join(VOLUME_TYPES)}.",
        )
    if len(context) != n_volumes:
        raise InputError(
            f"aslcontext.tsv lists {len(context)} volumes, the image has {n_volumes}.",
            where=where,
            fix="list every volume once.",
        )
    return table, context
