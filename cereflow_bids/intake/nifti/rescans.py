"""A protocol that ran more than once, where every volume is a series of its own."""

from __future__ import annotations

from dataclasses import replace

from cereflow_bids.intake.nifti.assembly import PAIRED, Assembly, assemble
from cereflow_bids.intake.parameters import acquisitions


def one_per_scan(found: Assembly) -> list[Assembly]:
    """Take volumes apart that are series of their own, where their protocol ran more than once.

    Parameters
    ----------
    found
        An acquisition; each scan of it begins with an M0, by which it is told.

    Returns
    -------
    list of Assembly
        One per scan of the protocol, each saying so, or else the acquisition as it is.
    """
    part, types = found.scans[0].known.labeling.part, found.order.types
    apart = part is not None and part.by == "volume" and len(found.scans) == len(types)
    starts = [
        place
        for place, kind in enumerate(types)
        if kind == "m0scan" and (place == 0 or types[place - 1] != "m0scan")
    ]
    if not apart or len(starts) < 2 or not set(PAIRED) & set(types[starts[-1] :]):
        return [found]
    bounds = list(zip(starts, [*starts[1:], len(types)], strict=True))
    alike = len({types[first:end] for first, end in bounds}) == 1
    jumps = set(acquisitions.jumps([scan.known for scan in found.scans]))
    if starts[0] or not (alike or set(starts[1:]) <= jumps):
        return [_noted(found, _SECOND_M0)]
    again = (
        f"Its protocol was scanned {len(bounds)} times: an M0 begins each scan, a run by itself."
    )
    return [_noted(assemble(found.scans[first:end]), again) for first, end in bounds]


_SECOND_M0 = (
    "Another M0 comes after pairs of control and label. If the protocol was scanned more than "
    "once, the volumes of all scans were joined: convert one scan at a time."
)


def _noted(found: Assembly, note: str) -> Assembly:
    return replace(found, order=replace(found.order, notes=(*found.order.notes, note)))
