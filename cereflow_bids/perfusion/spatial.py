"""CBF and ATT of several delays by a Bayesian estimate with an adaptive spatial prior."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cereflow_bids.perfusion.estimate import Estimate, Flag
from cereflow_bids.perfusion.least_squares import ATT_RANGE, fit_least_squares
from cereflow_bids.perfusion.scheme import LabelingScheme
from cereflow_bids.perfusion.spatial_graph import neighbourhood
from cereflow_bids.perfusion.spatial_iteration import Solution, iterate
from cereflow_bids.perfusion.spatial_model import Problem

Float = NDArray[np.float64]

ATT_PRIOR = {"PCASL": (1.3, 1.0), "CASL": (1.3, 1.0), "PASL": (0.7, 1.0)}
"""Mean and SD of ATT, s (priors of BASIL: Chappell 2009, doi:10.1109/TSP.2008.2005752)."""

_SWEEPS = 3
"""Means over neighbours that smooth the signal for the start values."""
_AT_THE_FIRST = 0.02
"""s; label that arrives before the first delay ends at that delay, or just beyond its kink."""

_UNSETTLED = (0.5, np.array([[0.5], [0.02]]))
"""Last change, in standard errors or in mL/100 g/min and s, that is not convergence."""


def fit_spatial(
    signal: ArrayLike,
    mask: ArrayLike,
    scheme: LabelingScheme,
    *,
    voxel_size: Sequence[float],
    start: Estimate | None = None,
    t1_tissue: ArrayLike | None = None,
    offset: ArrayLike | None = None,
    att_prior: tuple[float, float] | None = None,
    guide: ArrayLike | None = None,
) -> Estimate:
    """Estimate CBF and ATT with a spatial prior whose strength is estimated from the data.

    The mode of the posterior by Gauss-Newton steps and its Laplace approximation (Penny 2005,
    doi:10.1016/j.neuroimage.2004.08.034, for the spatial prior); differences between neighbours
    follow a Student distribution, so that edges stay. How much neighbours differ is estimated
    for CBF and for ATT, and with a guide for pairs of little to much contrast in it, from the
    mode and samples of the posterior; the noise is, too.

    Parameters
    ----------
    signal
        λ·ΔM/M0 (x, y, z, n).
    mask
        Voxels to estimate (x, y, z); those without a finite signal take no part.
    scheme
        Labelling, times and constants; its `repeats` are the weights.
    voxel_size
        Voxel edges, mm.
    start
        Start values of the voxels of the mask (v,); least squares of the signal, smoothed, if
        not given.
    t1_tissue
        T1t, s, that broadcasts against (x, y, z), for the full model; that of the scheme if None.
    offset
        What the slice adds to the delays, s, that broadcasts against (x, y, z).
    att_prior
        Mean and SD of ATT, s; by kind of labelling (`ATT_PRIOR`) if not given.
    guide
        Another image (x, y, z) with contrast between tissues, in any unit, such as M0; it only
        says between which neighbours an edge is likely.

    Returns
    -------
    Estimate
        (v,) in the order of ``signal[mask]``. `settings` has the noise SD and, as
        ``cbf_smoothness`` and ``att_smoothness``, the SD of the difference between neighbours
        (with a guide: of the median pair).
    """
    inside = np.asarray(mask, dtype=bool)
    volume = np.asarray(signal)
    if volume.shape != (*inside.shape, scheme.size):
        raise ValueError(
            f"signal has shape {volume.shape}, mask {inside.shape}, "
            f"the scheme {scheme.size} delays"
        )
    values = volume[inside]
    t1, shift, picture = (_in_mask(x, inside) for x in (t1_tissue, offset, guide))
    finite = np.isfinite(values).all(axis=1)
    for extra in (t1, shift):
        if extra is not None:
            finite &= np.isfinite(extra)
    used = finite & (values != 0).any(axis=1)
    maps = np.full((6, len(values)), np.nan)
    maps[5] = np.where(finite, Flag.NO_PERFUSION, Flag.NO_DATA)
    maps[np.ix_([0, 4], finite & ~used)] = 0
    settings: dict[str, float] = {}
    if used.any():
        part = inside.copy()
        part[inside] = used
        t1, shift, picture = (None if x is None else x[used] for x in (t1, shift, picture))
        graph = neighbourhood(part, voxel_size, picture)
        prior = att_prior or ATT_PRIOR[scheme.kind]
        problem = Problem(values[used], scheme, t1, shift, graph, prior)
        found = iterate(problem, _start(problem, start, used))
        maps[:, used] = _maps(problem, found)
        settings = _settings(problem, found)
    cbf, att, cbf_error, att_error, residual, flag = maps
    return Estimate(
        cbf, att, cbf_error, att_error, residual, flag.astype(np.uint8), settings=settings
    )


def _in_mask(value: ArrayLike | None, mask: NDArray[np.bool_]) -> Float | None:
    if value is None:
        return None
    return np.broadcast_to(np.asarray(value, dtype=np.float64), mask.shape)[mask]


def _start(problem: Problem, start: Estimate | None, used: NDArray[np.bool_]) -> Float:
    """Start values (2, v): least squares of the smoothed signal; NaN where not known."""
    if start is not None:
        return np.stack([start.cbf[used], start.att[used]]).astype(np.float64)
    averaging, smooth = problem.graph.averaging(), problem.values.astype(np.float32)
    for _ in range(_SWEEPS):
        smooth = averaging @ smooth
    offset = 0.0 if problem.offset is None else problem.offset
    found = fit_least_squares(smooth, problem.scheme, t1_tissue=problem.t1_tissue, offset=offset)
    return np.stack([found.cbf, found.att])


def _settings(problem: Problem, found: Solution) -> dict[str, float]:
    sd = found.prior.typical(problem.graph)
    return {
        "noise": float(np.sqrt(np.median(found.noise))),
        "cbf_smoothness": float(sd[0]),
        "att_smoothness": float(sd[1]),
    }


def _maps(problem: Problem, found: Solution) -> Float:
    """Return maps (6, v): CBF, ATT, their errors, residual, flag."""
    scheme = problem.scheme
    cbf, att = found.field.copy()
    error = np.sqrt(found.covariance(problem.graph)[[0, 2]])
    first = np.asarray(scheme.delay) - (np.asarray(scheme.duration) if scheme.pulsed else 0)
    earliest = first.min() + (0.0 if problem.offset is None else problem.offset)
    none = cbf <= 0
    moving = np.abs(found.change) > np.maximum(_UNSETTLED[0] * error, _UNSETTLED[1])
    before = att <= earliest + _AT_THE_FIRST
    flag = Flag.BEFORE_FIRST_DELAY * before
    flag = flag + Flag.AT_UPPER_BOUND * (att >= ATT_RANGE[1])
    flag += Flag.NOT_CONVERGED * moving.any(axis=0)
    error[1, before | none] = np.nan
    att[none] = np.nan
    flag = np.where(none, Flag.NO_PERFUSION, flag)
    residual = np.sqrt(found.rss / np.sum(scheme.repeats))
    return np.stack([cbf, att, *error, residual, flag])
