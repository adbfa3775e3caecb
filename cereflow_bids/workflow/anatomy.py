"""The T1w image of a participant, prepared once for all runs that go with it."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from cereflow_bids.workflow.images import load, save
from cereflow_bids.workflow.space_maps import save_map

IMAGES = ("head", "brain", "gm", "wm", "csf")
MAPS = ("to_template", "to_t1w")
NO_ANATOMY = dict.fromkeys((*IMAGES, *MAPS, "notes"), "")
"""What runs without a T1w image are handed."""


def prepare(t1w: Path, folder: Path, *, seed: int, threads: int) -> dict[str, str]:
    """Prepare a T1w image; ``head``, ``brain``, ``gm``, ``wm``, ``csf``, maps, and ``notes``.

    All but the notes are empty where the image cannot be used: the runs then go without it, and
    their records say why.
    """
    from nibabel.filebasedimages import ImageFileError

    from cereflow_bids.imaging.t1w import Template, prepare_t1w
    from cereflow_bids.resources import template

    brain, affine = load(template("T1w"))
    gm, wm = (load(template(name))[0] / 255 for name in ("GM", "WM"))
    notes = folder / "notes.json"
    try:
        image, own_affine = load(t1w)
        if image.ndim != 3:
            raise ValueError(f"the T1w image has {image.ndim} dimensions")
        found = prepare_t1w(
            image, own_affine, Template(brain, gm, wm, affine), threads=threads, seed=seed
        )
    except (ValueError, ImageFileError, OSError, EOFError, zlib.error) as error:
        reason = str(error) if isinstance(error, ValueError) else "it is truncated or no NIfTI"
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


class _AnatomyOut(TraitedSpec):
    anatomy = traits.Dict(traits.Str(), traits.Str())


class Anatomy(SimpleInterface):
    """Prepare a T1w image."""

    input_spec = _AnatomyIn
    output_spec = _AnatomyOut

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        self._results["anatomy"] = prepare(
            Path(inputs.t1w), Path(runtime.cwd), seed=inputs.seed, threads=inputs.threads
        )
        return runtime
