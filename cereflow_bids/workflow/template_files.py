"""Templates that are not packaged, through templateflow."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import io
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cereflow_bids.errors import InputError, UsageError
from cereflow_bids.resources import TEMPLATE_SPACE
from cereflow_bids.workflow.images import load
from cereflow_bids.workflow.output_spaces import OtherTemplate

_OPTION = "--output-spaces"
_HOME = "TEMPLATEFLOW_HOME"


def find_templates(wanted: Mapping[str, Sequence[int]]) -> tuple[OtherTemplate, ...]:
    """Return templates with their files, fetched where the machine does not hold them.

    Parameters
    ----------
    wanted
        Voxel edges in mm by name.

    Raises
    ------
    UsageError
        If there is no such template, or it cannot be had.
    """
    client = _client()
    known = client.templates()
    return tuple(_find(client, known, name, edges) for name, edges in sorted(wanted.items()))


def _client() -> Any:
    """Return a client; importing templateflow makes its folder, and says much about that."""
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            from templateflow import TemplateFlowClient

            client = TemplateFlowClient()
            client.cache.ensure()
    except OSError as error:
        raise UsageError(
            f"templateflow cannot make or read its folder ({error}).",
            where=_OPTION,
            fix=f"set {_HOME} to a folder that holds the templates, or that may be written to; or "
            f"ask for {TEMPLATE_SPACE}, which is packaged.",
        ) from error
    return client


def _find(client: Any, known: Sequence[str], name: str, edges: Sequence[int]) -> OtherTemplate:
    if name not in known:
        near = difflib.get_close_matches(name, {TEMPLATE_SPACE, *known}, n=3)
        meant = f"perhaps {' or '.join(near)} is meant; " if near else ""
        raise UsageError(
            f"the folder of templateflow lists no template {name!r}.",
            where=_OPTION,
            fix=f"{meant}native, T1w and {TEMPLATE_SPACE} are always there, and templateflow has "
            f"{', '.join(known) or 'none'}; a folder made by hand lists only what is in it.",
        )
    head = _get(client, name, 1, suffix="T1w", desc=None)
    mask = _get(client, name, 1, suffix="mask", desc="brain")
    if head is None or mask is None:
        raise UsageError(
            f"{name!r} has no single T1w image of 1 mm with a brain mask: it is a surface, no "
            "human brain, or comes by cohorts.",
            where=_OPTION,
            fix="choose another template.",
        )
    grids = {edge: _grid(client, name, edge, mask) for edge in edges}
    files = dict.fromkeys((head, mask, *grids.values()))
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    return OtherTemplate(name, digest, head, mask, grids)


def _grid(client: Any, name: str, edge: int, fine: Path) -> Path:
    """Return an image on the grid of a resolution; the fine one where there is no other."""
    found = fine if edge == 1 else _get(client, name, edge, suffix="mask", desc="brain") or fine
    edges = np.linalg.norm(_load(found, name)[1][:3, :3], axis=0)
    if not np.allclose(edges, 1 if found == fine else edge, rtol=0.05):
        told = " x ".join(f"{one:.2f}" for one in edges)
        raise UsageError(
            f"{name}:res-{edge} is a grid of {told} mm.",
            where=_OPTION,
            fix="choose another resolution or template.",
        )
    return found


def _get(client: Any, name: str, resolution: int, **entities: str | None) -> Path | None:
    """Return the one file with these entities, None where there is none or are several."""
    asked = {"resolution": resolution, "extension": ".nii.gz", **entities}
    if len(client.ls(name, **asked)) != 1:
        return None
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            found = Path(client.get(name, **asked))
    except (OSError, RuntimeError) as error:
        raise _not_fetched(name, error) from error
    _load(found, name)
    return found


def _not_fetched(name: str, error: Exception) -> UsageError:
    parts = ("suffix='T1w', desc=None", "suffix='mask', desc='brain'")
    calls = ", ".join(f"get('{name}', resolution=[1, 2], {part})" for part in parts)
    folder = os.environ.get(_HOME, "DIR")
    return UsageError(
        f"the template {name} is not on this machine and cannot be fetched "
        f"({type(error).__name__}).",
        where=_OPTION,
        fix=f"on a machine with network, run once: {_HOME}={folder} python -c "
        f'"from templateflow.api import get; {calls}"; then set {_HOME} to that folder here, in a '
        "container also bind it.",
    )


def _load(path: Path, name: str) -> tuple[Any, Any]:
    """Return an image of a template and its matrix."""
    try:
        data, affine = load(path)
    except Exception as error:
        # nibabel raises many kinds; a file of no bytes was listed and never fetched.
        raise InputError(
            f"a file of the template {name} cannot be read ({type(error).__name__}).",
            where=path.name,
            fix=f"remove it from {_HOME}, and fetch it again.",
        ) from error
    if data.ndim != 3:
        raise InputError(
            f"a file of the template {name} has {data.ndim} dimensions.",
            where=path.name,
            fix="choose another template.",
        )
    return data, affine
