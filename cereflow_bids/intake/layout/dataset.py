"""The files at the top of the dataset: description, participants, README, pending list."""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cereflow_bids import __version__
from cereflow_bids.atomic import write_text_atomically
from cereflow_bids.errors import UsageError
from cereflow_bids.intake.headers.series import Patient
from cereflow_bids.intake.privacy import OLDEST, published_age

_OURSELVES = "cereflow_bids"
BIDS_VERSION = "1.10.0"
CONSOLE = Path("derivatives") / "console"
_PACKED = {".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".dcm"}
_COLUMNS = ("participant_id", "age", "sex")
_DICTIONARY = {
    "participant_id": {"Description": "Label of the participant"},
    "age": {
        "Description": f"Age at the (first) study; {OLDEST}+ stands for every age above {OLDEST}",
        "Units": "year",
    },
    "sex": {
        "Description": "Sex as the scanner's operator entered it",
        "Levels": {"M": "male", "F": "female", "O": "other"},
    },
}
_README = """\
# Arterial spin labelling dataset

Converted from vendor DICOM by cereflow_bids {version}. Each `_asl.json` tells under
"CereflowOrigins" where every labelling parameter comes from: the DICOM header, the command line,
or an inference from the images. Names, dates and identifiers were left out; the file that joins
labels to patients is kept outside this folder. An anatomical image is defaced only where its
sidecar says so under "CereflowDefaced".

`derivatives/console` holds CBF maps that the scanner's own software computed, as exported.
They are kept for comparison and are not raw data.
"""


def check_target(folder: Path) -> None:
    """Refuse a target that is neither new, nor empty, nor a BIDS dataset.

    Raises
    ------
    UsageError
        If anything else is there.
    """
    if folder.is_dir():
        if (folder / "dataset_description.json").is_file() or not any(folder.iterdir()):
            return
        what = "The folder holds something that is not a BIDS dataset."
    elif folder.exists():
        what = "The last argument is a file, but it must be the folder of the BIDS dataset."
    elif folder.suffix.lower() in _PACKED:
        what = "The last argument, the folder of the dataset, is named like an archive."
    else:
        return
    raise UsageError(
        what,
        where="BIDS",
        fix="give the inputs first and a new, empty or BIDS folder last.",
    )


def to_json(content: Any) -> str:
    """Return `content` as JSON text that people can read."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def is_ours(folder: Path) -> bool:
    """Tell whether this package made the dataset."""
    path = folder / "dataset_description.json"
    if not path.is_file():
        return False
    try:
        makers = json.loads(path.read_text(encoding="utf-8")).get("GeneratedBy", [])
        return any(one.get("Name") == _OURSELVES for one in makers)
    except (ValueError, AttributeError, TypeError):
        return False


def write_description(folder: Path) -> None:
    """Write what tells what the dataset is, before anything else is in it."""
    described = {
        "Name": "Arterial spin labelling dataset",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "raw",
        "GeneratedBy": [{"Name": _OURSELVES, "Version": __version__}],
    }
    _write_unless_there(folder / "dataset_description.json", to_json(described))
    _write_unless_there(folder / "README.md", _README.format(version=__version__))
    _write_unless_there(folder / "participants.json", to_json(_DICTIONARY))


def write_participants(
    folder: Path, participants: Mapping[str, Patient], keep_ages: bool = False
) -> None:
    """Write or update the table of participants.

    Parameters
    ----------
    folder
        The dataset.
    participants
        Label → patient, for those converted now; rows of others stay as they are.
    keep_ages
        Whether ages above 89 are written as they are.
    """
    rows = _read_rows(folder / "participants.tsv")
    for label, patient in participants.items():
        row = rows.setdefault(f"sub-{label}", dict.fromkeys(_COLUMNS, "n/a"))
        row |= {"participant_id": f"sub-{label}", "sex": patient.sex or "n/a"}
        row["age"] = _age(row.get("age", "n/a"), patient, keep_ages)
    write_text_atomically(folder / "participants.tsv", _table([rows[key] for key in sorted(rows)]))


def _age(earlier: str, patient: Patient, keep: bool) -> str:
    """Return the age to show: that of the first study, hidden or shown as is asked for now."""
    hidden = published_age(OLDEST + 1)
    if earlier == "n/a" or (earlier == hidden and keep):
        return published_age(patient.age, keep=keep)
    return earlier if keep or not earlier.isdecimal() else published_age(int(earlier))


def write_console_description(folder: Path) -> None:
    """Describe the folder of the console's maps, if there is one."""
    if (folder / CONSOLE).is_dir():
        described = {
            "Name": "CBF maps computed by the scanner's console",
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "derivative",
            "GeneratedBy": [
                {"Name": "scanner console", "Description": "Vendor software, as exported"},
                {"Name": _OURSELVES, "Version": __version__},
            ],
        }
        _write_unless_there(folder / CONSOLE / "dataset_description.json", to_json(described))


def labels_in(folder: Path) -> set[str]:
    """Return the participant labels that the dataset already has."""
    rows = _read_rows(folder / "participants.tsv")
    names = {path.name for path in folder.glob("sub-*")} | set(rows)
    return {name.removeprefix("sub-") for name in names}


def _write_unless_there(path: Path, text: str) -> None:
    if not path.exists():
        write_text_atomically(path, text)


def _read_rows(path: Path) -> dict[str, dict[str, str]]:
    if not path.exists():
        return {}
    with path.open(encoding="utf-8-sig", newline="") as source:
        return {row["participant_id"]: row for row in csv.DictReader(source, delimiter="\t")}


def _table(rows: list[dict[str, str]]) -> str:
    columns = list(dict.fromkeys([*_COLUMNS, *(key for row in rows for key in row)]))
    sink = io.StringIO()
    writer = csv.DictWriter(
        sink, columns, delimiter="\t", lineterminator="\n", restval="n/a", extrasaction="ignore"
    )
    writer.writeheader()
    writer.writerows(rows)
    return sink.getvalue()
