"""The participant level killed, torn, out of disk or asked to stop at any moment, and run again.

Whatever happens, what lies there is whole, and the next call makes of it what an undisturbed one
would have made, without repeating a step that was finished.
"""

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import quick_steps
from quick_calls import Ended, Place, Server

from cereflow_bids.bids.calls import call_at_work
from cereflow_bids.bids.overview import CALLS
from cereflow_bids.bids.status import read_statuses

# A few in every run; `CEREFLOW_KILLS=60` for a fine sweep.
MOMENTS = int(os.environ.get("CEREFLOW_KILLS", "5"))


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    one = Server(tmp_path_factory.mktemp("server"))
    yield one
    one.close()


@pytest.fixture(scope="module")
def bids(tmp_path_factory) -> Path:
    return quick_steps.dataset(tmp_path_factory.mktemp("dataset") / "bids")


@pytest.fixture
def place(tmp_path, bids, server) -> Place:
    return Place(tmp_path, bids, server)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, bids, server) -> tuple[dict[str, bytes], int]:
    """Return what a whole call leaves, and the number of changes that it makes."""
    whole = Place(tmp_path_factory.mktemp("undisturbed"), bids, server)
    ended = whole.call()
    assert ended.code == 0, ended.said
    assert ended.journal[-1] == "begin sub-01 Report"
    content = whole.content()
    assert "sub-01.pdf" in content
    assert len([name for name in content if name.endswith(".nii.gz")]) == 4
    assert not [name for name in content if name.startswith("logs/calls")]
    return content, ended.changes


def assert_whole(place: Place, expected: dict[str, bytes]) -> None:
    """Check that what bears the name of an output is one, to the last byte."""
    for name, content in place.content().items():
        if name.startswith("sub-") and "/." not in name and not name.startswith("sub-01."):
            assert content == expected[name], name
            if name.endswith(".gz"):
                gzip.decompress(content)


def assert_goes_on(place: Place, expected: dict[str, bytes], before: Ended) -> None:
    """Run again, and compare with an undisturbed call."""
    again = place.call()
    assert again.code == 0, again.said
    assert place.content() == expected
    finished = {line.removeprefix("end ") for line in before.journal if line.startswith("end")}
    repeated = finished & {line.removeprefix("begin ") for line in again.journal}
    # The last that ended may not have been recorded; the deposit is cheap and always made.
    last = [line.removeprefix("end ") for line in before.journal if line.startswith("end")][-1:]
    assert repeated <= {*last, "sub-01 Deposit"}


def moments(changes: int, number: int, shift: float) -> int:
    """Spread over the whole call, at other places for each kind of harm.

    The last changes only remove the signs that a call is at work: nothing is written any more.
    """
    return 1 + int((number + shift) / MOMENTS * 0.96 * changes)


@pytest.mark.parametrize("number", range(MOMENTS))
@pytest.mark.parametrize(("kind", "shift"), [("kill", 0.2), ("torn", 0.5)])
def test_killed_and_run_again(place, undisturbed, kind, shift, number):
    expected, changes = undisturbed
    ended = place.call(kind, moments(changes, number, shift))
    assert ended.code in (-9, -25), "it was killed"
    assert_whole(place, expected)
    assert_goes_on(place, expected, ended)


@pytest.mark.parametrize("number", range(MOMENTS))
def test_a_full_disk_is_said_and_leaves_nothing_half_written(place, undisturbed, number):
    expected, changes = undisturbed
    ended = place.call("full", moments(changes, number, 0.8))
    assert ended.code == 1
    assert "disk is full" in ended.said
    assert "To fix: make room" in ended.said
    assert "Traceback" not in ended.said
    assert_whole(place, expected)
    left = [name for name in place.content() if "/." in name]
    assert left == [], "what could not be written is gone"
    assert_goes_on(place, expected, ended)


@pytest.mark.parametrize(("kind", "code"), [("int", 130), ("term", 143)])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_request_to_stop_is_obeyed_in_good_order(place, undisturbed, kind, code, part):
    expected, changes = undisturbed
    ended = place.call(kind, int(part * changes))
    assert ended.code == code
    assert "Traceback" not in ended.said
    assert "run the same command again" in ended.said
    for status in read_statuses(place.out):
        assert status.state in ("stopped", "done")
        if status.state == "stopped":
            assert ("by the user" if kind == "int" else "by the system") in status.message
            assert not list(place.out.rglob("*_cbf.nii.gz"))
    assert call_at_work(place.out.joinpath(*CALLS), "sub-01") is None
    assert_goes_on(place, expected, ended)


def test_a_report_older_than_its_runs_is_written_anew(place):
    assert place.call().code == 0
    report = place.out / "sub-01.html"
    report.write_text("of before")
    assert place.call().journal == []
    assert report.read_text() == "of before", "newer than its records"
    # As if a call had been killed behind the last step and before the report.
    os.utime(report, ns=(0, 0))
    assert place.call().journal == ["begin sub-01 Report"]
    assert "sub-01" in report.read_text()
