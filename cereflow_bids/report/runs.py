"""What the output folder says about a run: status, sidecar, tables. Nothing is computed here."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cereflow_bids.bids.derivatives import DerivativeWriter
from cereflow_bids.bids.spec import column_dictionary, default_atlas
from cereflow_bids.bids.status import read_status
from cereflow_bids.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

TEXT_COLUMNS = {
    *("name", "hemisphere", "group", "reason", "volume_type", "flags", "rejected"),
    "spatial_cov_category",
}
REDO = "delete the file and run the participant again."


@dataclass(frozen=True)
class RunRecord:
    """One run as it stands on disk.

    Attributes
    ----------
    run
        Entities of the run, e.g. ``sub-01_ses-1_run-2``.
    state
        ``done``, ``failed``, ``pending``, ``running`` or ``waiting``.
    step, message, fix
        From the status record; empty where there is nothing to say.
    sidecar
        Metadata of the CBF map, or of the relative map where absolute CBF was refused.
    refused
        Why there is no absolute CBF; empty where there is.
    quality
        Measures by name; NaN where a measure could not be computed.
    flags
        Names of the alarms that were raised.
    atlases
        By the name of the atlas, the gyral one first, its tables by their key in
        derivatives_spec/outputs.yaml: ``regions`` and, where they exist, ``regions_gm`` (pure
        grey matter) and ``regions_att``.
    confounds
        The table of derivatives_spec/columns.yaml, or None.
    """

    run: str
    state: str
    step: str = ""
    message: str = ""
    fix: str = ""
    sidecar: Mapping[str, Any] = field(default_factory=dict)
    refused: str = ""
    quality: Mapping[str, float] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    atlases: "Mapping[str, Mapping[str, pd.DataFrame]]" = field(default_factory=dict)
    confounds: "pd.DataFrame | None" = None

    @property
    def participant(self) -> str:
        """Participant label with its prefix, e.g. ``sub-01``."""
        return self.run.split("_")[0]

    @property
    def regions(self) -> "pd.DataFrame | None":
        """CBF of the gyral atlas, or None."""
        return self.atlases.get(default_atlas(), {}).get("regions")

    @property
    def regions_gm(self) -> "pd.DataFrame | None":
        """CBF of pure grey matter of the gyral atlas, or None."""
        return self.atlases.get(default_atlas(), {}).get("regions_gm")

    @property
    def session(self) -> str:
        """Session label with its prefix, or an empty string."""
        found = re.search(r"_(ses-[A-Za-z0-9]+)", self.run)
        return found.group(1) if found else ""

    @property
    def acquisition(self) -> Mapping[str, Any]:
        """How the run was acquired, as the sidecar tells it."""
        acquisition: Mapping[str, Any] = self.sidecar.get("Acquisition", {})
        return acquisition

    @property
    def has_att(self) -> bool:
        """Whether arterial transit times were estimated: several delays, and CBF not refused."""
        return self.state == "done" and not self.refused and len(self._measured) > 1

    @property
    def has_abv(self) -> bool:
        """Whether arterial blood volume was sought."""
        names = {parameter["name"] for parameter in self.sidecar.get("Parameters", [])}
        return self.has_att and "ArterialBayesFactor" in names

    @property
    def delays(self) -> list[float]:
        """The different post-labelling delays (or inversion times) in s, in rising order."""
        return sorted(set(self._measured))

    @property
    def _measured(self) -> list[float]:
        """The delay of each measurement; several durations may share one."""
        value = self.parameter("PostLabelingDelay")
        if value is None:
            return []
        return [float(v) for v in (value if isinstance(value, list) else [value])]

    def parameter(self, name: str) -> Any:
        """Return the value of a parameter of the CBF map; None where it has none of that name."""
        rows = self.sidecar.get("Parameters", [])
        return next((row["value"] for row in rows if row["name"] == name), None)


def read_run(writer: DerivativeWriter, run: str) -> RunRecord:
    """Read the record of one run from the output folder.

    Parameters
    ----------
    writer
        Knows where each file lies.
    run
        Entities of the run.

    Raises
    ------
    InputError
        If a finished run lacks a file, or a file cannot be read.
    """
    status = read_status(writer.out_dir, run)
    if status and status.state != "done":
        return RunRecord(run, status.state, status.step, status.message, status.fix)
    cbf, relative = (sidecar_of(writer.path(key, run=run)) for key in ("cbf", "cbf_relative"))
    if not cbf.is_file() and not relative.is_file():
        raise InputError(
            "there is neither a CBF map nor a relative perfusion map with its sidecar.",
            where=cbf.name,
            fix="run the participant again; look into logs/ for the reason it stopped.",
        )
    quality, flags = _quality(writer.path("quality", run=run))
    absolute = cbf.is_file()
    sidecar = read_json(cbf if absolute else relative)
    return RunRecord(
        run=run,
        state="done",
        sidecar=sidecar,
        refused="" if absolute else str(sidecar.get("Refused") or "the reason was not recorded"),
        quality=quality,
        flags=flags,
        atlases=_atlas_tables(writer, run) if absolute else {},
        confounds=read_table(writer.path("confounds", run=run), "confounds"),
    )


def _atlas_tables(writer: DerivativeWriter, run: str) -> "dict[str, dict[str, pd.DataFrame]]":
    """Read the tables of every atlas; without one of the gyral atlas there is no report."""
    main = default_atlas()
    found = {main: writer.path("regions", run)} | writer.by_atlas("regions", run)
    tables = {atlas: {"regions": read_table(path, "regions")} for atlas, path in found.items()}
    for key, columns in (("regions_gm", "regions"), ("regions_att", "regions_att")):
        for atlas, path in writer.by_atlas(key, run).items():
            tables.setdefault(atlas, {})[key] = read_table(path, columns)
    return tables


def read_table(path: Path, key: str) -> "pd.DataFrame":
    """Read a table and hold it against its columns in derivatives_spec/columns.yaml.

    Parameters
    ----------
    path
        A TSV file with ``n/a`` for what is unknown.
    key
        ``regions``, ``regions_att``, ``confounds`` or ``quality``.

    Returns
    -------
    pandas.DataFrame
        Text columns as str (with their ``n/a``), the others as float with NaN.
    """
    import pandas as pd

    if not path.is_file():
        raise InputError("the table is missing.", where=path.name, fix=REDO)
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    missing = [name for name in column_dictionary(key) if name not in table.columns]
    if missing:
        raise InputError(f"the table lacks {', '.join(missing)}.", where=path.name, fix=REDO)
    for name in table.columns:
        if name not in TEXT_COLUMNS:
            try:
                table[name] = table[name].replace({"n/a": "nan", "": "nan"}).astype(float)
            except ValueError as error:
                raise InputError(
                    f"column {name} holds something that is no number: {error}.",
                    where=path.name,
                    fix=REDO,
                ) from error
    return table


def _quality(path: Path) -> tuple[dict[str, float], tuple[str, ...]]:
    table = read_table(path, "quality")
    if len(table) != 1:
        raise InputError(f"{len(table)} rows instead of one.", where=path.name, fix=REDO)
    row = table.iloc[0]
    flags = [flag.strip() for flag in str(row["flags"]).split(";")]
    measures = {str(name): float(row[name]) for name in table.columns if name not in TEXT_COLUMNS}
    return measures, tuple(flag for flag in flags if flag not in ("", "n/a"))


def sidecar_of(image: Path) -> Path:
    """Return where the sidecar of an image lies."""
    return image.with_name(image.name.removesuffix(".nii.gz") + ".json")


def read_json(path: Path) -> dict[str, Any]:
    """Return the content of a sidecar.

    Raises
    ------
    InputError
        If it is missing or no JSON object.
    """
    if not path.is_file():
        raise InputError("the sidecar is missing.", where=path.name, fix=REDO)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InputError(f"no valid JSON: {error}.", where=path.name, fix=REDO) from error
    if not isinstance(content, dict):
        raise InputError("a JSON object was expected.", where=path.name, fix=REDO)
    return content
