"""The T1w image of a participant, prepared once for all runs that go with it."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, TraitedSpec, traits

from cereflow_bids.bids.status import UNFINISHED, read_status, write_status
from cereflow_bids.errors import InputError
from cereflow_bids.workflow.images import load, load_input, save
from cereflow_bids.workflow.space_maps import save_map
from cereflow_bids.workflow.step import told
from cereflow_bids.workflow.stopping import Stoppable

IMAGES = ("head", "brain", "gm", "wm", "csf")
MAPS = ("to_template", "to_t1w")
NO_ANATOMY = dict.fromkeys((*IMAGES, *MAPS, "notes"), "")
"""What runs without a T1w image are handed."""


def prepare(t1w: Path, folder: Path, *, seed: int, threads: int) -> dict[str, str]:
    """Prepare a T1w image; ``head``, ``brain``, ``gm``, ``wm``, ``csf``, maps, and ``notes``.

    All but the notes are empty where the image cannot be used: the runs then go without it, and
    their records say why.
    """
    from cereflow_bids.imaging.t1w import Template, prepare_t1w
    from cereflow_bids.resources import template

    brain, affine = load(template("T1w"))
    gm, wm = (load(template(name))[0] / 255 for name in ("GM", "WM"))
    notes = folder / "notes.json"
    try:
        image, own_affine = load_input(t1w, t1w.name)
        if image.ndim != 3:
            raise ValueError(f"the T1w image has {image.ndim} dimensions")
        found = prepare_t1w(
            image, own_affine, Template(brain, gm, wm, affine), threads=threads, seed=seed
        )
    except (ValueError, InputError) as error:
        reason = str(error) if isinstance(error, ValueError) else error.what.rstrip(".")
        notes.write_text(json.dumps([f"The T1w image was not used: {reason}."]), encoding="utf-8")
        return NO_ANATOMY | {"notes": str(notes)}
    notes.write_text(json.dumps(found.notes), encoding="utf-8")
    images = {"head": found.head, "brain": found.mask.astype(np.uint8)}
    images |= {name: getattr(found, name) for name in ("gm", "wm", "csf")}
    saved = {name: save(data, own_affine, folder / f"{name}.nii") for name, data in images.items()}
    maps = {name: save_map(getattr(found, name), folder / f"{name}.npz") for name in MAPS}
    return saved | maps | {"notes": str(notes)}


class _AnatomyIn(BaseInterfaceInputSpec):
    t1w = traits.File(exists=True, mandatory=True)
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
        inputs = self.inputs
        try:
            self._tell(state="running")
            self._results["anatomy"] = prepare(
                Path(inputs.t1w), Path(runtime.cwd), seed=inputs.seed, threads=inputs.threads
            )
        except Exception as error:
            message, fix = told(error)
            with contextlib.suppress(OSError):
                self._tell(state="failed", message=message, fix=fix)
            raise
        return runtime

    def _tell(self, **changes: Any) -> None:
        out_dir = Path(self.inputs.out_dir)
        for run in self.inputs.runs:
            known = read_status(out_dir, run)
            if known is not None and known.state in UNFINISHED:
                write_status(out_dir, replace(known, step=type(self).__name__, **changes))
