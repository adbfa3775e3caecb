"""GE's private elements: eASL's blocks of labelling, and numbers in whatever type they come."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cereflow_bids.intake.vendors.ge_easl import (
    DELAYS,
    FIRST_DELAY,
    LINEARITY,
    TOTAL_DURATION,
    Timing,
    blocks,
    consistent,
    timing,
)
from cereflow_bids.intake.vendors.ge_header import number, sequence

SEVEN = Timing(first_delay=1.0, total_duration=3.5, delays=7, linearity=0.0)


def header(**values: Any) -> dict[Any, Any]:
    """Return a header of four private elements, with some of them replaced."""
    told = {"first": "1.0", "total": "3.5", "delays": "7", "linearity": "0"} | values
    tags = dict(zip(told, (FIRST_DELAY, TOTAL_DURATION, DELAYS, LINEARITY), strict=True))
    return {
        tags[key]: SimpleNamespace(value=value) for key, value in told.items() if value is not None
    }


@pytest.mark.parametrize(
    ("set_up", "delays", "durations"),
    [
        (
            SEVEN,
            (1.0, 1.222, 1.478, 1.781, 2.153, 2.635, 3.317),
            (0.222, 0.256, 0.303, 0.372, 0.481, 0.682, 1.183),
        ),
        # Two delay sets that are in public use for three blocks.
        (replace(SEVEN, first_delay=0.7, delays=3), (0.7, 1.273, 2.158), (0.573, 0.885, 2.042)),
        (replace(SEVEN, delays=3), (1.0, 1.573, 2.458), (0.573, 0.885, 2.042)),
        (replace(SEVEN, linearity=1.0), tuple(np.arange(7) * 0.5 + 1), (0.5,) * 7),
        (replace(SEVEN, delays=1), (1.0,), (3.5,)),
    ],
)
def test_blocks_of_known_protocols(set_up, delays, durations):
    found = blocks(set_up)
    np.testing.assert_allclose(found[0], delays, atol=1.1e-3)
    np.testing.assert_allclose(found[1], durations, atol=1.1e-3)


@pytest.mark.parametrize("linearity", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("count", [3, 7])
def test_blocks_follow_each_other_and_fill_the_labelling(linearity, count):
    delays, durations = blocks(replace(SEVEN, linearity=linearity, delays=count))
    assert consistent(delays, durations)
    np.testing.assert_allclose(np.diff(delays), durations[:-1], atol=1.1e-3)
    assert sum(durations) == pytest.approx(3.5, abs=5e-3)


def test_blocks_of_equal_signal_leave_equal_signal():
    delays, durations = (np.array(values) for values in blocks(SEVEN))
    left = (1 - np.exp(-durations / 1.65)) * np.exp(-delays / 1.65)
    assert np.ptp(left) < 0.01 * left.mean()


def test_durations_between_the_two_are_blended():
    even, equal, between = (
        np.array(blocks(replace(SEVEN, linearity=value))[1]) for value in (1.0, 0.0, 0.25)
    )
    np.testing.assert_allclose(between, 0.25 * even + 0.75 * equal, atol=1.1e-3)


@pytest.mark.parametrize("delays", [(1.0, 1.5, 2.5), (1.0, 1.9, 2.8)])
def test_gaps_and_overlaps_between_blocks_are_noticed(delays):
    assert not consistent(delays, (0.5, 0.5, 0.5))


def test_what_the_operator_set_is_read():
    assert timing(header()) == SEVEN
    assert timing(header(first="1000", total="3500")) == SEVEN
    assert timing(header(first=b"1.0 ", linearity=b"0\0")) == SEVEN
    assert timing(header(linearity="0.5")).linearity == 0.5


@pytest.mark.parametrize(
    "wrong",
    [
        {"first": None},
        {"linearity": None},
        {"total": "0"},
        {"delays": "6.5"},
        {"delays": "200"},
        {"linearity": "7"},
        {"first": "1000"},
        {"total": "much"},
        {"total": "nan"},
    ],
)
def test_what_cannot_be_a_timing_is_none(wrong):
    assert timing(header(**wrong)) is None


def test_low_field_has_blood_of_its_own():
    low = header() | {"MagneticFieldStrength": SimpleNamespace(value="1.5")}
    assert timing(low).t1_blood == 1.4


def test_numbers_come_as_text_bytes_or_numbers():
    told = {key: SimpleNamespace(value=value) for key, value in enumerate(("2", b"2 ", 2.0, None))}
    assert [number(told, key) for key in range(5)] == [2.0, 2.0, 2.0, None, None]
    assert number({0: SimpleNamespace(value=0)}, 0) is None
    assert number({0: SimpleNamespace(value=0)}, 0, positive=False) == 0


def test_name_of_the_sequence():
    tags = {
        (0x0019, 0x109C): SimpleNamespace(value="3DASL"),
        (0x0019, 0x109E): SimpleNamespace(value=b"easl\0"),
    }
    assert sequence(tags) == "3dasl easl"
    assert sequence({}) == ""
