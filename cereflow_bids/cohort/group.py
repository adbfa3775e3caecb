"""The group level: one long table, its dictionary, and a report as HTML and PDF."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from cereflow_bids.bids.derivatives import DerivativeWriter
from cereflow_bids.bids.spec import column_dictionary
from cereflow_bids.cohort.content import group_content
from cereflow_bids.cohort.gather import read_cohort
from cereflow_bids.cohort.long_table import as_csv, long_table
from cereflow_bids.report.rendering import render_html, render_pdf


@dataclass(frozen=True)
class GroupResult:
    """What the group level wrote, and how many runs stood behind it.

    Attributes
    ----------
    table, dictionary, html, pdf
        The files.
    n_participants
        Participants with at least one run, whatever became of it.
    n_absolute, n_refused, n_failed, n_pending, n_unfinished
        Runs with absolute CBF, with relative perfusion only, failed, waiting for a parameter,
        and waiting or running.
    """

    table: Path
    dictionary: Path
    html: Path
    pdf: Path
    n_participants: int
    n_absolute: int
    n_refused: int
    n_failed: int
    n_pending: int
    n_unfinished: int

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files, for people first."""
        return (self.html, self.pdf, self.table, self.dictionary)

    def summary(self) -> str:
        """Return who was summarised and what became of every run, in one line.

        For example ``2 participants, 3 runs: 2 with absolute CBF, 1 failed.``
        """
        parts = [
            f"{count} {words}"
            for count, words in (
                (self.n_absolute, "with absolute CBF"),
                (self.n_refused, "with relative perfusion only"),
                (self.n_failed, "failed"),
                (self.n_pending, "waiting for a parameter"),
                (self.n_unfinished, "not finished"),
            )
            if count or words == "with absolute CBF"
        ]
        people = f"{self.n_participants} participant{'s' if self.n_participants != 1 else ''}"
        total = self.n_runs
        return f"{people}, {total} run{'s' if total != 1 else ''}: {', '.join(parts)}."

    @property
    def n_runs(self) -> int:
        """All runs, whatever became of them."""
        return (
            self.n_absolute + self.n_refused + self.n_failed + self.n_pending + self.n_unfinished
        )


def build_group(bids_dir: Path, out_dir: Path) -> GroupResult:
    """Summarise every run of an output folder.

    Parameters
    ----------
    bids_dir
        The raw dataset; its participants.tsv is joined by ID.
    out_dir
        The output folder of the participant level. ``group_cbf.csv``, ``group_cbf.json``,
        ``group.html`` and ``group.pdf`` are written there.

    Raises
    ------
    InputError
        If there is no run, a finished run lacks a file, or participants.tsv does not list a
        participant with runs.
    """
    cohort = read_cohort(Path(bids_dir), Path(out_dir))
    table = long_table(cohort)
    html = render_html("group.html.j2", **group_content(cohort, table))
    pdf = render_pdf(html)
    writer = DerivativeWriter(Path(out_dir))
    dictionary = json.dumps(column_dictionary("group"), indent=2, ensure_ascii=False) + "\n"
    states = Counter(record.state for record in cohort.records)
    return GroupResult(
        table=writer.write_text("group_table", as_csv(table)),
        dictionary=writer.write_text("group_dictionary", dictionary),
        html=writer.write_text("group_html", html),
        pdf=writer.write_bytes("group_pdf", pdf),
        n_participants=len({record.participant for record in cohort.records}),
        n_absolute=len(cohort.absolute),
        n_refused=len(cohort.done) - len(cohort.absolute),
        n_failed=states["failed"],
        n_pending=states["pending"],
        n_unfinished=len(cohort.records) - sum(states[s] for s in ("done", "failed", "pending")),
    )
