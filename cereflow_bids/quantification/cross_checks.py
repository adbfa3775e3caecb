"""Simpler estimates beside the fit of several delays, for a reader to compare."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.perfusion.delay_maps import delay_cbf, mean_delay_cbf
from cereflow_bids.perfusion.scheme import LabelingScheme
from cereflow_bids.perfusion.weighted_delay import weighted_delay_att

Float = NDArray[np.floating]


def cross_checks(
    signal: Float, mask: NDArray[np.bool_], scheme: LabelingScheme, offset: Float
) -> dict[str, NDArray[Any]]:
    """Return maps by their key in derivatives_spec/outputs.yaml, 0 outside the mask.

    CBF of each delay by the equation for one delay (x, y, z, n) and its mean over all
    differences (x, y, z), and ATT from the weighted delay (x, y, z). A Look-Locker readout, whose
    later delays are depleted, has ATT only: the equation for one delay does not know of it.

    Parameters
    ----------
    signal
        λ·ΔM/M0 (v, n) of the voxels of the mask.
    mask
        (x, y, z), v of them true.
    scheme
        Labelling, times and constants.
    offset
        What the slice of each voxel adds to the delays (v,), s.
    """
    maps: dict[str, NDArray[Any]] = {}
    if scheme.readout_flip_angle is None:
        maps["cbf_delays"] = _image(delay_cbf(signal, scheme, offset=offset), mask)
        maps["cbf_delay_mean"] = _image(mean_delay_cbf(signal, scheme, offset=offset), mask)
    maps["att_weighted_delay"] = _image(weighted_delay_att(signal, scheme, offset=offset), mask)
    return maps


def _image(values: Float, mask: NDArray[np.bool_]) -> Float:
    image = np.zeros((*mask.shape, *values.shape[1:]), dtype=np.float32)
    image[mask] = values
    return image
