"""Taking participants, so that two calls never work on the same one, in output or work folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from cereflow_bids.bids.calls import Call, claims
from cereflow_bids.bids.overview import CALLS
from cereflow_bids.bids.status import Status, read_status
from cereflow_bids.workflow.settings import Settings


@contextmanager
def taken(participants: Iterable[str], settings: Settings) -> Iterator[dict[str, Call]]:
    """Take participants while the block runs, and say which of them other calls have.

    Parameters
    ----------
    participants
        Labels without prefix.
    settings
        Where output and work folder are.

    Yields
    ------
    dict of str to Call
        The participants that are not free, and the call that has each.
    """
    busy: dict[str, Call] = {}
    with (
        claims(settings.out_dir.joinpath(*CALLS)) as output,
        claims(settings.work_dir / "calls") as work,
    ):
        for participant in sorted(set(participants)):
            name = f"sub-{participant}"
            holder = output.take(name)
            if holder is None and (holder := work.take(name)) is not None:
                output.release(name)
            if holder is not None:
                busy[participant] = holder
        yield busy


def left_out(stem: str, participant: str, holder: Call, settings: Settings) -> Status:
    """Return what to tell of a run that another call has; its record is not ours to write."""
    known = read_status(settings.out_dir, stem)
    if known is not None and known.state == "done":
        return known
    return Status(
        stem,
        participant,
        "waiting" if known is None else known.state,
        message=f"left out: another call of cereflow, which began {holder.since}, is at work on "
        f"sub-{participant}, in this output folder or in this work folder.",
        fix="wait until it has ended (cereflow-status tells), then run again what is not done.",
    )
