"""ATT from the signal-weighted mean of the delays, as a cross-check of a fit."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cereflow_bids.perfusion.kinetics import tissue_response
from cereflow_bids.perfusion.scheme import LabelingScheme

Float = NDArray[np.float64]

_POINTS = 1001


def weighted_delay_att(
    signal: ArrayLike, scheme: LabelingScheme, *, offset: ArrayLike = 0.0
) -> Float:
    """Return ATT from WD = Σ PLD·S/Σ S (Dai 2012, doi:10.1002/mrm.23103).

    The curve of WD over ATT that the scheme predicts is inverted by linear interpolation.

    Parameters
    ----------
    signal
        λ·ΔM/M0 (v, n), in any unit.
    scheme
        Labelling, times and constants.
    offset
        What the slice of each voxel adds to the delays, (v,) or one value, s; few distinct ones.

    Returns
    -------
    ndarray
        (v,), s, within the range of the delays; NaN where the sum of the signal is not positive.
    """
    values = np.asarray(signal, dtype=np.float64)
    delay = np.asarray(scheme.delay)
    total = values.sum(axis=1)
    weighted = np.full(total.shape, np.nan)
    np.divide(values @ delay, total, out=weighted, where=total > 0)
    shift = np.broadcast_to(np.asarray(offset, dtype=np.float64), total.shape)
    att = np.full(total.shape, np.nan)
    for own in np.unique(shift[np.isfinite(weighted)]):
        trial = own + np.linspace(delay.min(), delay.max(), _POINTS)
        response = tissue_response(scheme, trial, offset=own)
        sums = response.sum(axis=1)
        trial, response = trial[sums > 0], response[sums > 0]
        # Rising in the models at hand; made so where rounding or a PASL tail says otherwise.
        curve = np.maximum.accumulate(response @ delay / response.sum(axis=1))
        mine = (shift == own) & np.isfinite(weighted)
        att[mine] = np.interp(weighted[mine], curve, trial)
    return att
