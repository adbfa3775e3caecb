"""Repeats that would spoil the mean, found by SCORE; what all such methods share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

PURE_TISSUE = 0.7
"""Fraction above which a voxel counts as one tissue (Dolui 2017)."""


@dataclass(frozen=True)
class OutlierResult:
    """Mean of the good repeats, and why the others are not in it.

    Attributes
    ----------
    mean
        (x, y, z), unit of the repeats; NaN outside the mask and where no kept repeat is finite.
    kept
        (p,) whether a repeat is in the mean.
    reasons
        (index, sentence) of each rejected repeat, by index.
    weights
        (p,) of SCRUB: mean weight of each repeat over the mask, 0 to 1, NaN where rejected.
    """

    mean: Float
    kept: Bool
    reasons: tuple[tuple[int, str], ...]
    weights: Float | None = None


@dataclass(frozen=True)
class TissueRepeats:
    """Repeats as voxels inside the mask, with what can be used of them.

    Attributes
    ----------
    values
        (v, p), NaN where not finite.
    fractions
        (v, 3) of grey matter, white matter, CSF; 0 where not finite.
    mask
        (x, y, z), v of them true.
    reasons
        Of the repeats without data, by index.
    """

    values: Float
    fractions: Float
    mask: Bool
    reasons: dict[int, str]

    @property
    def kept(self) -> Bool:
        """(p,) whether a repeat has data."""
        kept: Bool = np.ones(self.values.shape[1], dtype=np.bool_)
        kept[list(self.reasons)] = False
        return kept

    def pure(self) -> Bool:
        """(v, 3) voxels of one tissue, finite in every repeat with data."""
        finite: Bool = np.all(np.isfinite(self.values[:, self.kept]), axis=1, keepdims=True)
        return np.asarray((self.fractions > PURE_TISSUE) & finite)

    def result(self, kept: Bool, reasons: dict[int, str]) -> OutlierResult:
        """Put the mean of the kept repeats back on the grid."""
        return OutlierResult(
            self.on_grid(finite_mean(self.values[:, kept])), kept, tuple(sorted(reasons.items()))
        )

    def on_grid(self, values: Float) -> Float:
        """Return (v,) as (x, y, z), NaN outside the mask."""
        image = np.full(self.mask.shape, np.nan)
        image[self.mask] = values
        return image


def finite_mean(values: Float) -> Float:
    """Return the mean (v,) of the finite ones of (v, p); NaN where there is none."""
    finite = np.isfinite(values)
    count = finite.sum(axis=1)
    total = np.where(finite, values, 0.0).sum(axis=1)
    mean: Float = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return mean


def tissue_repeats(
    repeats: ArrayLike, gm: ArrayLike, wm: ArrayLike, csf: ArrayLike, mask: ArrayLike
) -> TissueRepeats:
    """Check the arrays of a rejection method and set repeats without data aside.

    Raises
    ------
    ValueError
        If shapes differ, or no voxel of the mask is grey matter.
    """
    series, inside = np.asarray(repeats), np.asarray(mask, dtype=bool)
    tissues = [np.asarray(t, dtype=np.float64) for t in (gm, wm, csf)]
    if series.ndim != 4 or series.shape[3] == 0:
        raise ValueError(f"repeats have shape {series.shape}: need (x, y, z, p), p at least 1")
    if any(a.shape != series.shape[:3] for a in (*tissues, inside)):
        raise ValueError(f"tissue fractions and mask must have the shape {series.shape[:3]}")
    fractions = np.nan_to_num(np.stack([t[inside] for t in tissues], axis=1))
    grey = fractions[:, 0] > PURE_TISSUE
    if not grey.any():
        raise ValueError(f"no voxel in the mask has a grey matter fraction above {PURE_TISSUE}")
    values = series[inside].astype(np.float64)
    values[~np.isfinite(values)] = np.nan
    share = np.isfinite(values[grey]).mean(axis=0)
    reasons = {
        int(i): f"only {100 * share[i]:.0f} % of its grey matter voxels have a value"
        for i in np.flatnonzero(share < 0.5)
    }
    return TissueRepeats(values, fractions, inside, reasons)


def score(
    repeats: ArrayLike, gm: ArrayLike, wm: ArrayLike, csf: ArrayLike, mask: ArrayLike
) -> OutlierResult:
    """Reject repeats by SCORE: structural correlation based outlier rejection.

    Parameters
    ----------
    repeats
        CBF or ΔM of one delay (x, y, z, p).
    gm, wm, csf
        Tissue fractions (x, y, z).
    mask
        Brain (x, y, z).

    Returns
    -------
    OutlierResult

    Notes
    -----
    Dolui 2017, doi:10.1002/jmri.25436. First, repeats whose grey matter mean is more than
    2.5·MAD/0.675 from the median of all. Then the repeat most correlated with the mean goes, for
    as long as the pooled variance within tissues falls by it: an artefact large enough to shape
    the mean is also what correlates best with it. The removal that no longer lowers the variance
    is not made.
    """
    data = tissue_repeats(repeats, gm, wm, csf, mask)
    reasons, kept, pure = dict(data.reasons), data.kept, data.pure()
    if kept.sum() > 1 and pure[:, 0].any():
        _reject_by_level(data.values[pure[:, 0]], kept, reasons)
        _reject_by_structure(data.values, pure, kept, reasons)
    return data.result(kept, reasons)


def _reject_by_level(grey: Float, kept: Bool, reasons: dict[int, str]) -> None:
    """First step of SCORE, on the grey matter voxels; changes `kept` and `reasons`."""
    index = np.flatnonzero(kept)
    level = grey[:, index].mean(axis=0)
    median = np.median(level)
    away = np.abs(level - median)
    limit = 2.5 * np.median(away) / 0.675
    # Equal repeats differ by rounding, and then so do their means.
    limit = max(limit, 1e-9 * float(np.abs(level).max()))
    for i, value in zip(index[away > limit], level[away > limit], strict=True):
        kept[i] = False
        reasons[int(i)] = (
            f"its grey matter mean {value:.4g} is more than {limit:.3g} from the median "
            f"{median:.4g} of all (in units of M0, where there is one)"
        )


def _reject_by_structure(values: Float, pure: Bool, kept: Bool, reasons: dict[int, str]) -> None:
    """Second step of SCORE; changes `kept` and `reasons`."""
    tissue = pure.any(axis=1)
    inner, labels = values[tissue], pure[tissue]
    variance = pooled_variance(inner[:, kept].mean(axis=1), labels)
    while kept.sum() > 1:
        index = np.flatnonzero(kept)
        correlation = _correlation(inner[:, index], inner[:, index].mean(axis=1))
        if not np.isfinite(correlation).any():
            return
        worst = index[np.nanargmax(correlation)]
        without = kept & (np.arange(kept.size) != worst)
        lower = pooled_variance(inner[:, without].mean(axis=1), labels)
        if not lower < variance:
            return
        kept[worst] = False
        reasons[int(worst)] = (
            f"without it the variance within tissues falls by {100 * (1 - lower / variance):.1f} %"
        )
        variance = lower


def pooled_variance(image: Float, labels: Bool) -> float:
    """Return the variance of (v,) within each tissue of (v, 3), pooled by its voxel number."""
    groups = [image[tissue] for tissue in labels.T if tissue.sum() > 1]
    freedom = sum(g.size - 1 for g in groups)
    total = sum(float(((g - g.mean()) ** 2).sum()) for g in groups)
    return total / freedom if freedom else 0.0


def _correlation(values: Float, reference: Float) -> Float:
    """Pearson correlation of each column of (v, p) with (v,); NaN for a constant."""
    a, b = values - values.mean(axis=0), reference - reference.mean()
    scale = np.sqrt((a**2).sum(axis=0) * (b**2).sum())
    r: Float = np.divide(b @ a, scale, out=np.full(scale.shape, np.nan), where=scale > 0)
    return r
