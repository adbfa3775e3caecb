"""The ways from other templates to the packaged one, made once and kept in the work folder."""

from __future__ import annotations

import hashlib
import zipfile
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from cereflow_bids import __version__
from cereflow_bids.atomic import write_atomically
from cereflow_bids.errors import InputError
from cereflow_bids.resources import template
from cereflow_bids.workflow.images import load
from cereflow_bids.workflow.output_spaces import OtherTemplate
from cereflow_bids.workflow.settings import Settings
from cereflow_bids.workflow.space_maps import load_map, save_map
from cereflow_bids.workflow.step import KILLED_FIX

FOLDER = "templates"


def bridge_paths(settings: Settings) -> dict[str, str]:
    """Return where the way from each other template is kept, by its name."""
    return {one.name: str(_path(one, settings)) for one in settings.spaces.others}


def make_bridges(settings: Settings) -> None:
    """Register the templates that were not registered before; some seconds for each.

    Several calls may do so at once: each writes the same bits, whole or not at all.

    Raises
    ------
    InputError
        If a template cannot be registered.
    """
    missing = [one for one in settings.spaces.others if not _readable(_path(one, settings))]
    if not missing:
        return
    # In a process of its own: the steps are to be forked from one without these libraries.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as worker:
        for one in missing:
            seed = settings.science.seed
            try:
                worker.submit(_make, one, _path(one, settings), seed).result()
            except BrokenExecutor as error:
                raise InputError(
                    "the system killed the process that registered the template.",
                    where=one.name,
                    fix=KILLED_FIX,
                ) from error


def _path(other: OtherTemplate, settings: Settings) -> Path:
    made_from = (__version__, other.digest, settings.science.seed)
    key = hashlib.sha256(repr(made_from).encode()).hexdigest()[:16]
    return settings.work_dir / FOLDER / f"{other.name}-{key}.npz"


def _readable(path: Path) -> bool:
    try:
        load_map(path)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return False
    return True


def _make(other: OtherTemplate, path: Path, seed: int) -> None:
    from cereflow_bids.imaging.template_bridge import bridge

    head, affine = load(other.head)
    mask, mask_affine = load(other.mask)
    try:
        if mask.shape != head.shape or not np.allclose(mask_affine, affine, atol=1e-3):
            raise ValueError("its T1w image and its brain mask lie on different grids")
        brain = np.where(mask > 0.5, head, 0)
        found = bridge(brain, affine, *load(template("T1w")), seed=seed)
    except ValueError as error:
        raise InputError(
            f"the template {other.name} cannot be used: {error}.",
            where="--output-spaces",
            fix="choose another template.",
        ) from error
    write_atomically(path, lambda temporary: save_map(found, temporary))
