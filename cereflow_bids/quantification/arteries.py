"""Label in the arteries of a run with several delays: sought or not, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.bids.parameters import COMMAND_LINE, DEFAULT, DERIVED, Parameter
from cereflow_bids.perfusion.arterial import Arterial, find_arterial, why_not
from cereflow_bids.perfusion.arterial_evidence import ALONE_FACTOR, BAYES_FACTOR
from cereflow_bids.perfusion.estimate import Estimate
from cereflow_bids.perfusion.scheme import LabelingScheme
from cereflow_bids.quantification.science import Science

Float = NDArray[np.floating]


@dataclass(frozen=True)
class Arteries:
    """The arterial component, None where it was not sought, and what the record says of it."""

    found: Arterial | None
    parameters: tuple[Parameter, ...]
    notes: tuple[str, ...]


def seek_arteries(
    signal: Float,
    scheme: LabelingScheme,
    tissue: Estimate,
    mask: NDArray[np.bool_],
    *,
    offset: Float,
    spread: Float | None,
    science: Science,
) -> Arteries:
    """Seek the arterial component where the scheme can tell it and the user wants it.

    Parameters
    ----------
    signal
        λ·ΔM/M0 (v, n).
    scheme
        Labelling, times and constants.
    tissue
        The least squares fit of tissue alone.
    mask
        Where the voxels lie (x, y, z), v of them true.
    offset
        What the slice of each voxel adds to the delays (v,), s.
    spread
        `Averages.spread` (v,), in the unit of the signal; None without repeats.
    science
        Its `arterial` decides.
    """
    reason = why_not(scheme)
    if science.arterial == "none":
        note = "label in vessels is taken for perfusion"
        return Arteries(None, (_choice("none", COMMAND_LINE, note),), ())
    if reason:
        reason += " CBF may be too high in and near large vessels."
        why = "the measurements cannot tell arteries from tissue"
        return Arteries(None, (_choice("none", DERIVED, why),), (reason,))
    squares = None if spread is None else spread**2
    found = find_arterial(signal, scheme, tissue, offset=offset, spread=squares, mask=mask)
    note = "where the data of a voxel favour it (Chappell 2010, doi:10.1002/mrm.22320)"
    enough = "Bayes factor from which evidence is called positive (Kass 1995)"
    alone = "where no neighbouring voxel has arteries: strong evidence"
    parameters = (
        _choice("auto", DEFAULT, note),
        Parameter("ArterialBayesFactor", BAYES_FACTOR, "", DEFAULT, enough),
        Parameter("ArterialBayesFactorAlone", ALONE_FACTOR, "", DEFAULT, alone),
    )
    return Arteries(found, parameters, (_share(found),))


def _choice(value: str, origin: str, note: str) -> Parameter:
    return Parameter("ArterialComponent", value, "", origin, note)


def _share(found: Arterial) -> str:
    share = float(np.count_nonzero(found.included)) / max(found.included.size, 1)
    percent = f"{100 * share:.1f} %" if share >= 0.0005 or not share else "less than 0.1 %"
    return (
        f"Arteries: in {percent} of the voxels in the mask the data favour an arterial blood "
        "volume (aBV) beside perfusion; there CBF is that of tissue without it."
    )
