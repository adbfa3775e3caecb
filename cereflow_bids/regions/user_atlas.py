"""An atlas that the user brings: label image and table of names, checked before anything runs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.errors import UsageError
from cereflow_bids.regions.atlas import PACKAGED, Atlas
from cereflow_bids.resources import TEMPLATE_SPACE, template

if TYPE_CHECKING:
    import pandas as pd

SIDES = ("L", "R", "n/a")
MAX_LABEL = 1_000_000
MIN_IN_BRAIN = 0.5


def user_atlases(paths: Sequence[Path]) -> tuple[Atlas, ...]:
    """Read and check the atlases of the user.

    Parameters
    ----------
    paths
        NIfTI files of labels in template space, each with its table beside it.

    Raises
    ------
    UsageError
        If one cannot be used, with what is wrong and how to mend it.
    """
    atlases: list[Atlas] = []
    for path in paths:
        atlas = user_atlas(path)
        if atlas.name in (*PACKAGED, *(other.name for other in atlases)):
            raise _wrong(
                f"there is an atlas of the name {atlas.name} already",
                path,
                "rename the file: the name is what follows atlas- in it",
            )
        atlases.append(atlas)
    return tuple(atlases)


def user_atlas(path: Path) -> Atlas:
    """Read and check one atlas; parameters and errors as for `user_atlases`."""
    name = _name(path)
    table = _table_of(path, name)
    labels, affine = _read_labels(path)
    regions = _read_table(table)
    _check_names(regions, labels, table)
    _check_place(labels, affine, path)
    _check_sidecar(table.with_suffix(".json"))
    digest = hashlib.sha256(path.read_bytes() + table.read_bytes()).hexdigest()
    return Atlas(name, path.resolve(), table.resolve(), digest)


def _name(path: Path) -> str:
    if not path.name.endswith((".nii", ".nii.gz")):
        raise _wrong("this is no NIfTI file", path, "give a file that ends in .nii or .nii.gz")
    if not path.is_file():
        raise _wrong("there is no such file", path, "check the path")
    stem = path.name.partition(".nii")[0]
    found = re.search(r"(?:^|_)atlas-([A-Za-z0-9]+)(?:_|$)", stem)
    name = found.group(1) if found else stem.removesuffix("_dseg")
    if not (name.isascii() and name.isalnum()):
        raise _wrong(
            f"{name!r} cannot be the name of an atlas: letters and digits only",
            path,
            "call the file atlas-<name>_dseg.nii.gz",
        )
    return name


def _table_of(path: Path, name: str) -> Path:
    tables = (path.name.partition(".nii")[0] + ".tsv", f"atlas-{name}_dseg.tsv")
    for table in tables:
        if (path.parent / table).is_file():
            return path.parent / table
    raise _wrong(
        "the atlas has no table of names",
        path,
        f"put {' or '.join(dict.fromkeys(tables))} beside it, with the columns index and name",
    )


def _read_labels(path: Path) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    import nibabel as nib

    try:
        image: Any = nib.load(path)
        values = np.asarray(image.dataobj)
    except (OSError, EOFError, ValueError, nib.filebasedimages.ImageFileError) as error:
        raise _wrong(f"it cannot be read ({error})", path, "give a whole NIfTI file") from error
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if values.ndim != 3:
        raise _wrong(
            f"it has {values.ndim} dimensions",
            path,
            "give one volume of labels; probability maps are no labels",
        )
    whole = np.isfinite(values).all() and (values == np.round(values)).all()
    if not whole or values.min() < 0 or values.max() > MAX_LABEL or not values.any():
        raise _wrong(
            "its values are no labels",
            path,
            f"give whole numbers from 0 (background) to {MAX_LABEL}, and some above 0",
        )
    return values.astype(np.int64), image.affine


def _read_table(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise _wrong(f"it cannot be read ({error})", path, "give a TSV file, UTF-8") from error
    missing = [column for column in ("index", "name") if column not in table]
    if missing:
        raise _wrong(
            f"the table lacks the column {' and '.join(missing)}",
            path,
            "columns are separated by tabs, and the first row has their names",
        )
    if not table["index"].str.fullmatch(r"[0-9]{1,7}").all():
        raise _wrong("the column index has something that is no label", path, _WHOLE)
    if "hemisphere" in table and not table["hemisphere"].isin(SIDES).all():
        raise _wrong("hemisphere must be L, R or n/a", path, "write it so, or leave it out")
    return table.assign(index=table["index"].astype(int))


_WHOLE = "write one whole number above 0 for each region, and leave out the background"


def _check_names(regions: pd.DataFrame, labels: NDArray[np.int64], path: Path) -> None:
    if regions.empty or (regions["index"] < 1).any() or regions["index"].duplicated().any():
        raise _wrong("labels must be above 0 and stand in the table once", path, _WHOLE)
    if (regions["name"].str.strip() == "").any():
        raise _wrong("a region has no name", path, "give every region a name")
    sided = ["name", "hemisphere"] if "hemisphere" in regions else ["name"]
    twice = regions.loc[regions.duplicated(sided), "name"]
    if not twice.empty:
        raise _wrong(
            f"several regions have the name {twice.iloc[0]!r} on the same side",
            path,
            "give them names of their own; only L and R of a pair share one",
        )
    unnamed = sorted(set(np.flatnonzero(np.bincount(labels.ravel()))) - {0, *regions["index"]})
    if unnamed:
        shown = ", ".join(str(label) for label in unnamed[:5])
        raise _wrong(
            f"{len(unnamed)} labels of the image are not in the table (such as {shown})",
            path,
            "add a row for each",
        )


def _check_sidecar(path: Path) -> None:
    if not path.is_file():
        return
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _wrong(f"it is no JSON ({error})", path, "mend it, or take it away") from error
    if not isinstance(content, dict):
        raise _wrong("a JSON object was expected", path, "mend it, or take it away")


def _check_place(labels: NDArray[np.int64], affine: NDArray[np.float64], path: Path) -> None:
    """Refuse labels that do not lie in the template's brain: another space, or a wrong header."""
    import nibabel as nib

    brain: Any = nib.load(template("T1w"))
    inside = np.asarray(brain.dataobj) > 0
    places = np.argwhere(labels > 0)
    voxels = np.linalg.inv(brain.affine) @ affine @ np.c_[places, np.ones(len(places))].T
    nearest = np.rint(voxels[:3]).astype(int)
    on_grid = ((nearest >= 0) & (nearest < np.reshape(inside.shape, (3, 1)))).all(axis=0)
    share = inside[tuple(nearest[:, on_grid])].sum() / len(places)
    if share < MIN_IN_BRAIN:
        raise _wrong(
            f"only {100 * share:.0f} % of its labels lie in the brain of {TEMPLATE_SPACE}",
            path,
            f"give an atlas in that space, with a header that says so; {TEMPLATE_SPACE} has its "
            "origin at the anterior commissure and x to the right",
        )


def _wrong(what: str, path: Path, fix: str) -> UsageError:
    return UsageError(f"--atlas: {what}.", where=str(path), fix=f"{fix}.")
