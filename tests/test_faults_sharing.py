"""Several calls on one output folder and one work folder at the same time."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import quick_steps
from quick_calls import Ended, Place, Server

from cereflow_bids.bids.status import read_statuses


@pytest.fixture(scope="module")
def servers(tmp_path_factory) -> Iterator[list[Server]]:
    """Return what makes three calls at a time possible."""
    three = [Server(tmp_path_factory.mktemp("server")) for _ in range(3)]
    yield three
    for one in three:
        one.close()


@pytest.fixture(scope="module")
def bids(tmp_path_factory) -> Path:
    return quick_steps.dataset(tmp_path_factory.mktemp("dataset") / "bids", ("01", "02"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory, bids, servers) -> tuple[dict[str, bytes], int]:
    """Return what one call alone leaves, and the number of its changes."""
    place = Place(tmp_path_factory.mktemp("alone"), bids, servers[0])
    ended = place.call()
    assert ended.code == 0
    return place.content(), ended.changes


@pytest.fixture
def place(tmp_path, bids, servers) -> Place:
    return Place(tmp_path, bids, servers[0])


@pytest.fixture
def halfway(place, servers, alone) -> Iterator[Callable[..., Future[Ended]]]:
    """Return a function that starts a call and waits until it has stopped in the middle."""
    with ThreadPoolExecutor(1) as pool:

        def start(*more: str) -> Future[Ended]:
            servers[0].paused.unlink(missing_ok=True)
            call = pool.submit(place.call, "pause", alone[1] // 2, *more)
            deadline = time.monotonic() + 60
            while not servers[0].paused.exists():
                assert not call.done() and time.monotonic() < deadline
                time.sleep(0.01)
            return call

        yield start
        servers[0].go.touch()


def test_the_second_call_leaves_to_the_first_what_it_is_at_work_on(place, servers, alone, halfway):
    first = halfway()
    before = place.content()
    second = place.call(server=servers[1])
    assert second.code == 1
    assert second.journal == []
    assert second.said.count("left out: another call of cereflow") == 2
    assert "To fix: wait until it has ended" in second.said
    assert place.content() == before, "it touched nothing"
    servers[0].go.touch()
    assert first.result(60).code == 0
    assert place.content() == alone[0]
    third = place.call(server=servers[1])
    assert (third.code, third.journal) == (0, [])


def test_another_participant_is_worked_on_at_the_same_time(place, servers, alone, halfway):
    first = halfway("--participant-label", "01")
    second = place.call("none", 0, "--participant-label", "02", server=servers[1])
    assert second.code == 0
    assert "begin sub-02 Deposit" in second.journal
    servers[0].go.touch()
    assert first.result(60).code == 0
    assert place.content() == alone[0]


def test_one_work_folder_for_two_output_folders_is_shared_in_turn(place, servers, alone, halfway):
    first = halfway()
    elsewhere = Place(place.folder / "elsewhere", place.bids, servers[1])
    elsewhere.work = place.work
    second = elsewhere.call()
    assert second.code == 1
    assert second.said.count("in this output folder or in this work folder") == 2
    servers[0].go.touch()
    assert first.result(60).code == 0
    assert elsewhere.call().code == 0
    assert elsewhere.content() == alone[0] == place.content()


@pytest.mark.parametrize("same", [True, False], ids=["same", "different"])
def test_calls_that_race_each_other_leave_what_one_alone_leaves(place, servers, alone, same):
    labels = [(), (), ()] if same else [("01",), ("02",), ("02",)]
    chosen = [("--participant-label", *some) if some else () for some in labels]
    with ThreadPoolExecutor(3) as pool:
        calls = [
            pool.submit(place.call, "none", 0, *more, server=server)
            for more, server in zip(chosen, servers, strict=True)
        ]
    for ended in (call.result() for call in calls):
        assert "Traceback" not in ended.said
        assert ended.code == (1 if "left out" in ended.said else 0), ended.said
    begun = [line for call in calls for line in call.result().journal if line.startswith("begin")]
    assert len(begun) == len(set(begun)), "nothing was done twice"
    assert {status.state for status in read_statuses(place.out)} == {"done"}
    assert place.call(server=servers[0]).code == 0
    assert place.content() == alone[0]
