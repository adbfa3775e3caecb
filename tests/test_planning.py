"""Planning a dataset costs the same for each participant, however many there are."""

import json

import pytest
import quick_steps
from sqlalchemy import event
from sqlalchemy.engine import Engine

from cereflow_bids.bids.dataset import Selection, select_runs
from cereflow_bids.bids.index import open_dataset
from cereflow_bids.errors import UsageError


@pytest.fixture
def questions():
    """Return what the index is asked."""
    asked = []

    def note(_connection, _cursor, statement, *_more):
        asked.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield asked
    event.remove(Engine, "before_cursor_execute", note)


def labels(count):
    return tuple(f"{number:02d}" for number in range(count))


def test_the_index_is_asked_once_for_all_runs(tmp_path, questions):
    counts = []
    for count in (2, 12):
        layout = open_dataset(quick_steps.dataset(tmp_path / str(count), labels(count)))
        questions.clear()
        runs, rejected = select_runs(layout, Selection())
        assert (len(runs), rejected) == (count, [])
        assert all(run.t1w.name == f"{run.stem}_T1w.nii.gz" for run in runs)
        counts.append(len(questions))
    assert counts[0] == counts[1]


def test_an_index_for_one_participant_gives_the_same_run(tmp_path, questions):
    bids = quick_steps.dataset(tmp_path / "bids", ("1", "01", "011"))
    (bids / "asl.json").write_text(json.dumps({"Manufacturer": "GE MEDICAL SYSTEMS"}))
    whole, _ = select_runs(open_dataset(bids), Selection(("01",)))
    every = len(open_dataset(bids).files)
    layout = open_dataset(bids, participants=("01",))
    alone, _ = select_runs(layout, Selection(("01",)))
    assert alone == whole
    assert alone[0].acquisition["Manufacturer"] == "GE MEDICAL SYSTEMS"
    # The description, asl.json, and what is the participant's own.
    assert len(layout.files) < every
    assert {path.split("/sub-")[1].split("/")[0] for path in layout.files if "/sub-" in path} == {
        "01"
    }


def test_participants_that_are_not_there_are_told_with_those_that_are(tmp_path):
    bids = quick_steps.dataset(tmp_path / "bids", ("01", "02"))
    layout = open_dataset(bids, participants=("03",))
    with pytest.raises(UsageError, match=r"participant 03 is not .*choose from 01, 02"):
        select_runs(layout, Selection(("03",)))
