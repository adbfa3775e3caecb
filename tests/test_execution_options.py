"""What the options of execution leave behind, and that a work folder is cleaned of ours only."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import quick_steps
from quick_calls import Place, Server

from cereflow_bids.bids.status import read_statuses

LABELS = ("01", "02", "03")
STEPS = ("motion", "reference", "standard_space", "tissue", "perfusion", "deposit")


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    one = Server(tmp_path_factory.mktemp("server"))
    yield one
    one.close()


@pytest.fixture
def place(tmp_path, server) -> Place:
    return Place(tmp_path, quick_steps.dataset(tmp_path / "bids", LABELS), server)


def damage(place: Place, label: str) -> None:
    """Let the image be one that planning cannot tell from a whole one."""
    path = place.bids / f"sub-{label}" / "perf" / f"sub-{label}_asl.nii.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), 0)[:-40])


def states(place: Place) -> dict[str, str]:
    return {one.participant: one.state for one in read_statuses(place.out)}


def test_time_and_memory_of_every_step_are_recorded(place):
    assert place.call("none", 0, "--resource-monitor").code == 0
    found = {path.stem: json.loads(path.read_text()) for path in resources(place)}
    expected = {f"participants.sub_{label}.{step}" for label in LABELS for step in STEPS}
    expected |= {f"participants.sub_{label}_T1w" for label in LABELS}
    assert set(found) == expected | {f"reports.sub_{label}" for label in LABELS}
    for one in found.values():
        assert one["wall_s"] > 0
        assert one["processor_s"] >= 0
        assert one["peak_mb"] is None or 10 < one["peak_mb"] < 5000


def resources(place: Place) -> list[Path]:
    return sorted((place.out / "logs" / "resources").glob("*.json"))


def test_nothing_is_measured_or_drawn_unless_asked_for(place):
    assert place.call().code == 0
    assert not resources(place)
    assert not list((place.out / "logs").glob("graph-*"))


def test_the_graph_of_steps_is_drawn(place):
    assert place.call("none", 0, "--write-graph").code == 0
    text = (place.out / "logs" / "graph-participants.dot").read_text()
    assert text.startswith("digraph participants{")
    for step in STEPS:
        assert f"participants_sub_01_{step} ->" in text or f"participants_sub_01_{step};" in text
    assert (place.out / "logs" / "graph-reports.dot").is_file()


def test_the_work_folder_is_cleaned_of_ours_only(place):
    others = [
        place.work / "mine.txt",
        place.work / "participants" / "sub_99" / "of_another_dataset.txt",
        place.work / "deep" / "er" / "mine.txt",
        place.work / "reactivity" / "sub_011" / "of_another_dataset.txt",
    ]
    ours = [
        place.work / "reactivity" / name / "earlier.txt" for name in ("sub_01", "sub_02_ses_1")
    ]
    for path in (*others, *ours):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("kept")
    assert place.call("none", 0, "--clean-workdir").code == 0
    left = sorted(path for path in place.work.rglob("*") if path.is_file())
    assert left == sorted(others)
    # The outputs are complete without it.
    again = place.call("none", 0, "--clean-workdir")
    assert (again.code, again.journal) == (0, [])


def test_what_failed_keeps_its_intermediate_results(place):
    damage(place, "02")
    assert place.call("none", 0, "--clean-workdir").code == 1
    assert states(place) == {"01": "done", "02": "failed", "03": "done"}
    kept = sorted(path.name for path in (place.work / "participants").iterdir())
    assert kept == ["sub_02", "sub_02_T1w"]


def test_a_crash_leaves_a_file_and_the_others_go_on(place):
    damage(place, "02")
    ended = place.call()
    assert ended.code == 1
    assert states(place) == {"01": "done", "02": "failed", "03": "done"}
    crashes = [path.name for path in (place.out / "logs").glob("crash-*")]
    assert sum(name.endswith(".txt") and "-motion" in name for name in crashes) == 1


@pytest.mark.parametrize("processes", ["1", "2"])
def test_no_output_tells_the_account_of_whoever_ran_it(tmp_path, monkeypatch, processes):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "jdoe")
    server = Server(tmp_path)
    place = Place(tmp_path, quick_steps.dataset(tmp_path / "bids", ("01",)), server)
    damage(place, "01")
    ended = place.call("none", 0, "--ignore", "t1w", "--nprocs", processes)
    server.close()
    assert ended.code == 1
    assert len(list((place.out / "logs").glob("crash-*-motion-*.txt"))) == 1
    for path in place.out.rglob("*"):
        assert "jdoe" not in path.name
        assert not path.is_file() or b"jdoe" not in path.read_bytes()


def test_the_first_crash_stops_the_others_if_asked_to(place):
    damage(place, "01")
    ended = place.call("none", 0, "--stop-on-first-crash")
    assert ended.code == 1
    assert set(states(place).values()) == {"failed"}
    told = {one.participant: one.message for one in read_statuses(place.out)}
    assert all("another run failed first" in told[label] for label in ("02", "03"))
    assert "another run" not in told["01"]
    # Without the option, the rest is done.
    place.call()
    assert states(place) == {"01": "failed", "02": "done", "03": "done"}
