"""Pairing of baseline and stimulus runs: what is told is paired, nothing is guessed."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cereflow_bids.bids.reactivity_pairs import (
    ACQUISITION_LABELS,
    KEY,
    Pair,
    Scan,
    Unpaired,
    pair_runs,
)

B, S = "baseline", "stimulus"
LABELS = st.sampled_from(sorted(set().union(*ACQUISITION_LABELS.values()) | {"highres", "prep"}))
STEMS = st.builds(
    "sub-{}_ses-{}_acq-{}_run-{}".format,
    st.sampled_from("12"),
    st.sampled_from("12"),
    LABELS,
    st.sampled_from("123"),
)
SCANS = st.lists(
    st.builds(Scan, STEMS, st.sampled_from([None, None, B, S, "none", "control", 3])),
    unique_by=lambda scan: scan.stem,
    max_size=10,
)


class Told(NamedTuple):
    """Runs of one participant as (stem, condition), and the pair they make."""

    name: str
    runs: list[tuple[str, object]]
    pair: tuple[str, str] | None


TOLD = [
    Told("labels", [("sub-1_acq-rest", None), ("sub-1_acq-ACZ", None)], ("rest", "ACZ")),
    Told("listed after", [("sub-1_acq-co2", None), ("sub-1_acq-Pre", None)], ("Pre", "co2")),
    Told("sidecars", [("sub-1_acq-a", S), ("sub-1_acq-b", "Baseline ")], ("b", "a")),
    Told("one of each kind", [("sub-1_acq-rest", None), ("sub-1_acq-b", S)], ("rest", "b")),
    Told("a third run", [("sub-1_acq-pre", None), ("sub-1_acq-post", None), ("sub-1", None)],
         ("pre", "post")),
    Told("unmarked", [("sub-1_acq-pre", None), ("sub-1_acq-post", None),
                      ("sub-1_acq-rest", "none")], ("pre", "post")),
    Told("a label that only begins so", [("sub-1_acq-restHigh", None), ("sub-1_acq-b", None)],
         None),
    Told("a baseline label alone", [("sub-1_acq-rest", None), ("sub-1_acq-b", None)], None),
    Told("sessions do not mix", [("sub-1_ses-1_acq-rest", None), ("sub-1_ses-2_acq-b", None)],
         None),
]  # fmt: skip


@pytest.mark.parametrize("case", TOLD, ids=lambda case: case.name)
def test_what_is_told_is_paired(case):
    found = pair_runs([Scan(*run) for run in case.runs])
    pairs = [(one.baseline.split("acq-")[1], one.stimulus.split("acq-")[1]) for one in found]
    assert pairs == ([case.pair] if case.pair else [])


@pytest.mark.parametrize(
    ("runs", "named", "fix"),
    [
        ([("sub-1_run-1", B), ("sub-1_run-2", B), ("sub-1_run-3", S)],
         ("run-1", "run-2", "run-3"), '"none"'),
        ([("sub-1_run-1", None), ("sub-1_acq-acz", None)], ("run-1", "acq-acz"), '"baseline"'),
        ([("sub-1_run-1", B), ("sub-1_run-2", None)], ("run-1", "run-2"), '"stimulus"'),
        ([("sub-1_acq-rest", S), ("sub-1_run-2", B)], ("acq-rest", KEY), "agree"),
        ([("sub-1_run-1", "control"), ("sub-1_run-2", S)], ("run-1", "'control'"), '"stimulus"'),
    ],
)  # fmt: skip
def test_what_is_unclear_is_named_and_not_guessed(runs, named, fix):
    (found,) = pair_runs([Scan(*run) for run in runs])
    assert isinstance(found, Unpaired)
    assert all(word in found.what for word in named)
    assert fix in found.fix
    assert found.what.endswith(".")
    assert found.fix.endswith(".")


@given(SCANS, st.randoms())
def test_pairs_are_of_one_session_and_do_not_depend_on_order(scans, random):
    found = pair_runs(scans)
    shuffled = list(scans)
    random.shuffle(shuffled)
    assert pair_runs(shuffled) == found
    assert len({one.group for one in found}) == len(found)
    for pair in (one for one in found if isinstance(one, Pair)):
        members = [scan for scan in scans if scan.group == pair.group]
        assert {pair.baseline, pair.stimulus} <= {scan.stem for scan in members}
        assert pair.baseline != pair.stimulus


@given(SCANS)
def test_swapping_every_mark_swaps_every_pair(scans):
    """Stated in sidecars alone; names that nobody knows stand for the runs."""
    swap = {B: S, S: B}
    plain = [Scan(scan.stem.replace("acq-", "acq-x"), scan.condition) for scan in scans]
    turned = [Scan(scan.stem, swap.get(scan.condition, scan.condition)) for scan in plain]
    pairs = [(one.baseline, one.stimulus) for one in pair_runs(plain) if isinstance(one, Pair)]
    back = [(one.stimulus, one.baseline) for one in pair_runs(turned) if isinstance(one, Pair)]
    assert pairs == back
