"""All runs of an output folder, joined with the participants of the dataset."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cereflow_bids.bids.derivatives import DerivativeWriter
from cereflow_bids.bids.spec import output_specs
from cereflow_bids.bids.status import read_statuses
from cereflow_bids.errors import InputError, UsageError
from cereflow_bids.report.runs import RunRecord, read_run

UNKNOWN = "n/a"


@dataclass(frozen=True)
class Cohort:
    """Every run on disk and what participants.tsv says of the people.

    Attributes
    ----------
    records
        One per run, in the order of their names, whatever their state.
    people
        Columns of participants.tsv by participant (``sub-01``); empty if there is no such file.
    without_runs
        Participants of participants.tsv of whom the output folder knows no run.
    with_report
        Participants whose own report lies in the output folder.
    """

    records: tuple[RunRecord, ...]
    people: Mapping[str, Mapping[str, str]]
    without_runs: tuple[str, ...]
    with_report: frozenset[str] = frozenset()

    @property
    def done(self) -> tuple[RunRecord, ...]:
        """Runs that have results, absolute or relative."""
        return tuple(record for record in self.records if record.state == "done")

    @property
    def absolute(self) -> tuple[RunRecord, ...]:
        """Runs with absolute CBF."""
        return tuple(record for record in self.done if not record.refused)

    def site(self, record: RunRecord) -> str:
        """Return the site of a run from participants.tsv, or ``n/a``."""
        return self.people.get(record.participant, {}).get("site") or UNKNOWN


def read_cohort(bids_dir: Path, out_dir: Path) -> Cohort:
    """Read every run of the output folder and join participants.tsv by ID.

    Parameters
    ----------
    bids_dir
        The raw dataset, for participants.tsv.
    out_dir
        The output folder.

    Raises
    ------
    UsageError
        If there is no run.
    InputError
        If a participant with runs is not in participants.tsv.
    """
    writer = DerivativeWriter(out_dir)
    runs = find_runs(writer)
    if not runs:
        raise UsageError(
            "there is no run to summarise.",
            where=str(out_dir),
            fix="first run `cereflow BIDS_DIR OUTPUT_DIR participant` with the same "
            "output folder.",
        )
    records = tuple(read_run(writer, run) for run in runs)
    people = read_participants(bids_dir / "participants.tsv")
    with_runs = {record.participant for record in records}
    strangers = sorted(with_runs - people.keys())
    if people and strangers:
        raise InputError(
            f"participants.tsv does not list {', '.join(strangers)}, of whom there are results.",
            where="participants.tsv",
            fix="add a line for each with the very same participant_id, or remove their results "
            "from the output folder.",
        )
    with_report = (p for p in with_runs if writer.path("report_html", participant=p).is_file())
    without_runs = tuple(sorted(people.keys() - with_runs))
    return Cohort(records, people, without_runs, frozenset(with_report))


def find_runs(writer: DerivativeWriter) -> list[str]:
    """Return the entities of every run that left a status record or a quality table."""
    ending = output_specs()["quality"].name.removeprefix("{run}")
    tables = writer.out_dir.glob(f"sub-*/**/*{ending}")
    runs = {path.name.removesuffix(ending) for path in tables}
    return sorted(runs | {status.run for status in read_statuses(writer.out_dir)})


def read_participants(path: Path) -> dict[str, dict[str, str]]:
    """Return the rows of participants.tsv by ``sub-XX``; empty if there is no such file.

    Column names are taken in lower case.

    Raises
    ------
    InputError
        If the file has no participant_id, or one of them twice.
    """
    import pandas as pd

    if not path.is_file():
        return {}
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, encoding="utf-8-sig")
    table.columns = table.columns.str.strip().str.lower()
    if "participant_id" not in table.columns:
        raise InputError(
            "there is no column participant_id.",
            where=path.name,
            fix="name the first column participant_id and separate the columns with tabs.",
        )
    ids = "sub-" + table["participant_id"].str.strip().str.removeprefix("sub-")
    twice = sorted(set(ids[ids.duplicated()]))
    if twice:
        raise InputError(
            f"{', '.join(twice)} appears more than once.",
            where=path.name,
            fix="leave one line per participant.",
        )
    rows = table.to_dict(orient="records")
    return {
        str(label): {str(key): str(value).strip() for key, value in row.items()}
        for label, row in zip(ids, rows, strict=True)
    }
