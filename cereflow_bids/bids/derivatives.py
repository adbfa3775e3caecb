"""The one writer of outputs: names from derivatives_spec/, every file whole or not there."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from cereflow_bids import __version__
from cereflow_bids.atomic import write_atomically
from cereflow_bids.bids.spec import (
    OutputSpec,
    column_dictionary,
    default_atlas,
    default_space,
    output_specs,
)

if TYPE_CHECKING:
    import pandas as pd

# BIDS has no derivatives of perfusion yet: the validator does not know these names.
IGNORED = (
    *("*.html", "*.pdf", "group_cbf.*", "logs/", "**/figures"),
    *(
        "**/*_cbf.*",
        "**/*_cvr.*",
        "**/*_aslref.*",
        "**/*_deltam.*",
        "**/*_att.*",
        "**/*_abv.*",
        "**/*_timeseries.*",
        "**/*_xfm.*",
    ),
    *("**/perf/*_probseg.*", "**/perf/*_M0map.*", "**/perf/*_dseg.*", "**/perf/*_mask.*"),
)


class DerivativeWriter:
    """Writes the files of derivatives_spec/ into one output folder.

    Parameters
    ----------
    out_dir
        The derivatives folder.
    """

    def __init__(self, out_dir: Path) -> None:
        self.out_dir = Path(out_dir)

    def path(
        self, key: str, run: str = "", participant: str = "", *, atlas: str = "", space: str = ""
    ) -> Path:
        """Return where an output lies.

        Parameters
        ----------
        key
            Key in derivatives_spec/outputs.yaml.
        run
            Entities of the run, e.g. ``sub-01_ses-1_run-2``.
        participant
            Label, with or without ``sub-``; taken from `run` where it is not given.
        atlas
            Name of the atlas, where there is one file for each; the gyral one if not given.
        space
            Standard space with its resolution, where there is one file for each, such as
            ``MNI152NLin2009aSym_res-2``, which is meant if none is given.
        """
        spec = output_specs()[key]
        subject = (
            f"sub-{participant.removeprefix('sub-')}" if participant else run.partition("_")[0]
        )
        where = space or default_space()
        name = spec.name.format(
            run=run,
            participant=subject,
            atlas=atlas or default_atlas(),
            space=where,
            template=where.partition("_")[0],
        )
        return self.out_dir / _folder(spec, run, subject) / name

    def by_atlas(self, key: str, run: str) -> dict[str, Path]:
        """Return the files that there are of an output, by the name of the atlas."""
        before, after = self.path(key, run, atlas="*").name.split("*")
        names = {
            path.name[len(before) : -len(after)]: path
            for path in self.path(key, run).parent.glob(f"{before}*{after}")
        }
        return {name: names[name] for name in sorted(names) if name.isalnum()}

    def write_image(
        self,
        key: str,
        run: str,
        data: ArrayLike,
        affine: ArrayLike,
        sidecar: Mapping[str, Any] | None = None,
        *,
        atlas: str = "",
        space: str = "",
    ) -> Path:
        """Write a NIfTI image and its sidecar; floats as float32, masks and labels as integers."""
        import nibabel as nib

        array = np.asarray(data)
        kinds = {"b": np.uint8, "i": np.int32, "u": np.int32}
        kind = kinds.get(array.dtype.kind, np.float32)
        image = nib.Nifti1Image(array.astype(kind), np.asarray(affine))
        image.header.set_xyzt_units("mm", "sec")
        path = self.path(key, run, atlas=atlas, space=space)
        write_atomically(path, lambda temporary: nib.save(image, temporary))
        spec = output_specs()[key]
        content = {"Description": spec.description} | ({"Units": spec.units} if spec.units else {})
        _write_json(_sidecar_of(path), content | dict(sidecar or {}))
        return path

    def write_table(self, key: str, run: str, table: pd.DataFrame, *, atlas: str = "") -> Path:
        """Write a TSV with the columns of derivatives_spec/columns.yaml, and its dictionary.

        Raises
        ------
        ValueError
            If the columns are not those of the contract.
        """
        columns = column_dictionary(output_specs()[key].columns)
        if list(table.columns) != list(columns):
            raise ValueError(f"columns of {key} are {list(table.columns)}, not {list(columns)}")
        text = table.to_csv(sep="\t", index=False, na_rep="n/a", float_format="%.6g")
        path = self.path(key, run, atlas=atlas)
        write_atomically(path, lambda temporary: temporary.write_bytes(text.encode()))
        _write_json(_sidecar_of(path), columns)
        return path

    def write_text(self, key: str, text: str, run: str = "", participant: str = "") -> Path:
        """Write a text file, UTF-8."""
        return self.write_bytes(key, text.encode(), run, participant)

    def write_bytes(self, key: str, content: bytes, run: str = "", participant: str = "") -> Path:
        """Write a file that is made elsewhere, such as a figure or a report."""
        path = self.path(key, run, participant)
        write_atomically(path, lambda temporary: temporary.write_bytes(content))
        return path

    def write_with(
        self, key: str, run: str, write: Callable[[Path], object], *, space: str = ""
    ) -> Path:
        """Let a library write the file: it is given a temporary path with the right ending."""
        path = self.path(key, run, space=space)
        write_atomically(path, write)
        return path

    def write_dataset_description(self, links: Mapping[str, str] | None = None) -> None:
        """Write dataset_description.json and .bidsignore, unless they say the same already.

        Parameters
        ----------
        links
            Where the datasets lie that URIs name, by name; those of earlier calls are kept.
        """
        path = self.out_dir / "dataset_description.json"
        content = {
            "Name": "cereflow_bids: ASL perfusion derivatives",
            "BIDSVersion": "1.10.0",
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "cereflow_bids", "Version": __version__}],
        }
        known = _known_links(path) | dict(links or {})
        _write_json(path, content | ({"DatasetLinks": known} if known else {}))
        ignore = self.out_dir / ".bidsignore"
        lines = "\n".join(IGNORED) + "\n"
        if not ignore.exists() or ignore.read_text(encoding="utf-8") != lines:
            write_atomically(ignore, lambda temporary: temporary.write_text(lines))


def _known_links(path: Path) -> dict[str, str]:
    """Return the links of a dataset_description.json; none where it is not there or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    links = content.get("DatasetLinks") if isinstance(content, dict) else None
    return links if isinstance(links, dict) else {}


def _folder(spec: OutputSpec, run: str, subject: str) -> Path:
    if spec.folder == "root":
        return Path()
    if spec.folder == "figures":
        return Path(subject, "figures")
    session = [part for part in run.split("_") if part.startswith("ses-")]
    return Path(subject, *session, spec.folder)


def _sidecar_of(path: Path) -> Path:
    return path.with_name(path.name.split(".")[0] + ".json")


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _plain(value: Any) -> Any:
    """Turn NumPy values into JSON's, and numbers that are not into ``n/a``."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return "n/a"
    return value
