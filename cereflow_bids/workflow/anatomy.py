"""The T1w image of a participant, prepared once for all runs that go with it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, TraitedSpec, traits

from cereflow_bids.bids.precomputed import Precomputed
from cereflow_bids.bids.status import UNFINISHED, read_status, write_status
from cereflow_bids.errors import InputError
from cereflow_bids.imaging.t1w import Known
from cereflow_bids.workflow.images import load, load_input, save, save_json
from cereflow_bids.workflow.origin import Origin
from cereflow_bids.workflow.precomputed import Ready, read_precomputed
from cereflow_bids.workflow.space_maps import save_map
from cereflow_bids.workflow.spaces import bids_uri
from cereflow_bids.workflow.step import told
from cereflow_bids.workflow.stopping import Stoppable

IMAGES = ("head", "brain", "gm", "wm", "csf")
MAPS = ("to_template", "to_t1w")
NO_ANATOMY = dict.fromkeys((*IMAGES, *MAPS, "notes", "origin"), "")
"""What runs without a T1w image are handed."""


def prepare(t1w: Path, folder: Path, *, seed: int, threads: int) -> dict[str, str]:
    """Prepare a T1w image; ``head``, ``brain``, ``gm``, ``wm``, ``csf``, maps, notes and origin.

    All but the notes are empty where the image cannot be used: the runs then go without it, and
    their records say why.
    """
    stem = t1w.name.partition("_T1w.")[0]

    def read() -> Ready:
        image, affine = load_input(t1w, t1w.name)
        if image.ndim != 3:
            raise ValueError(f"the T1w image has {image.ndim} dimensions")
        return Ready(image, affine, Known(), ())

    origin = Origin(stem, (bids_uri(t1w),))
    return _prepared(read, "T1w image", origin, folder, seed=seed, threads=threads)


def prepare_precomputed(
    given: Precomputed, folder: Path, *, seed: int, threads: int
) -> dict[str, str]:
    """Prepare what other software has made of a T1w image; returns the same as `prepare`."""
    read = partial(read_precomputed, given)
    origin = Origin(given.stem, given.uris, given.origin, given.dataset)
    what = f"precomputed anatomy ({given.origin})"
    return _prepared(read, what, origin, folder, seed=seed, threads=threads)


def _prepared(
    read: Callable[[], Ready],
    what: str,
    origin: Origin,
    folder: Path,
    **choices: int,
) -> dict[str, str]:
    from cereflow_bids.imaging.t1w import Template, prepare_t1w
    from cereflow_bids.resources import template

    brain, affine = load(template("T1w"))
    gm, wm = (load(template(name))[0] / 255 for name in ("GM", "WM"))
    standard = Template(brain, gm, wm, affine)
    notes = folder / "notes.json"
    try:
        ready = read()
        found = prepare_t1w(ready.image, ready.affine, standard, known=ready.known, **choices)
    except (ValueError, InputError) as error:
        reason = str(error) if isinstance(error, ValueError) else error.what.rstrip(".")
        told = [f"The {what} was not used: {reason}."]
        return NO_ANATOMY | {"notes": save_json(told, notes)}
    images = {"head": found.head, "brain": found.mask.astype(np.uint8)}
    images |= {name: getattr(found, name) for name in ("gm", "wm", "csf")}
    saved = {
        name: save(data, ready.affine, folder / f"{name}.nii") for name, data in images.items()
    }
    saved |= {name: save_map(getattr(found, name), folder / f"{name}.npz") for name in MAPS}
    return saved | {
        "notes": save_json([*ready.notes, *found.notes], notes),
        "origin": save_json(asdict(origin), folder / "origin.json"),
    }


class _AnatomyIn(BaseInterfaceInputSpec):
    t1w = traits.Str(desc="image of the dataset; empty if there is none")
    precomputed = traits.Any(desc="Precomputed, or None")
    files = traits.Dict(traits.Str(), traits.Str(), desc="of it, so that their content counts")
    seed = traits.Int(mandatory=True)
    version = traits.Str(mandatory=True, desc="version of the code that made the result")
    threads = traits.Int(1, usedefault=True, nohash=True)
    runs = traits.List(traits.Str(), nohash=True, desc="that go with it")
    out_dir = traits.Str(mandatory=True, nohash=True, desc="where their records go")


class _AnatomyOut(TraitedSpec):
    anatomy = traits.Dict(traits.Str(), traits.Str())


class Anatomy(Stoppable):
    """Prepare a T1w image, and say so in the records of the runs that go with it."""

    input_spec = _AnatomyIn
    output_spec = _AnatomyOut

    def _run_interface(self, runtime: Any) -> Any:
        try:
            self._tell(state="running")
            self._results["anatomy"] = self._prepare(Path(runtime.cwd))
        except Exception as error:
            message, fix = told(error)
            with contextlib.suppress(OSError):
                self._tell(state="failed", message=message, fix=fix)
            raise
        return runtime

    def _prepare(self, folder: Path) -> dict[str, str]:
        """Prepare what was precomputed or, where that is unfit, the T1w image of the dataset."""
        inputs = self.inputs
        choices = {"seed": inputs.seed, "threads": inputs.threads}
        if inputs.precomputed is None:
            return prepare(Path(inputs.t1w), folder, **choices)
        given = replace(
            inputs.precomputed, files={part: Path(path) for part, path in inputs.files.items()}
        )
        found = prepare_precomputed(given, folder, **choices)
        if found["head"] or not inputs.t1w:
            return found
        reasons = json.loads(Path(found["notes"]).read_text(encoding="utf-8"))
        found = prepare(Path(inputs.t1w), folder, **choices)
        if found["head"]:
            reasons.append(f"Instead of it {Path(inputs.t1w).name} of the dataset was used.")
        notes = json.loads(Path(found["notes"]).read_text(encoding="utf-8"))
        return found | {"notes": save_json([*reasons, *notes], folder / "notes.json")}

    def _tell(self, **changes: Any) -> None:
        out_dir = Path(self.inputs.out_dir)
        for run in self.inputs.runs:
            known = read_status(out_dir, run)
            if known is not None and known.state in UNFINISHED:
                write_status(out_dir, replace(known, step=type(self).__name__, **changes))
