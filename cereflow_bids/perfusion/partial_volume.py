"""Perfusion of pure tissue from voxels that hold several: partial volume correction."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

Float = NDArray[np.float64]

KERNEL = {"2D": (5, 5, 1), "3D": (5, 5, 5)}
"""Voxels of the regression's kernel, by the acquisition's readout (Asllani 2008)."""

MINIMUM_FRACTION = 0.01
"""Mean fraction of a tissue over the kernel below which it takes no part (our choice)."""

REPORTED_FRACTION = 0.1
"""Mean fraction of a tissue over the voxels of the kernel below which it has no result: so little
of it tells nothing but noise (our choice)."""

_COLLINEAR = 1e-3
"""1 - cos² of the angle between the two fractions below which they cannot be told apart."""


def linear_regression(
    image: ArrayLike,
    gm: ArrayLike,
    wm: ArrayLike,
    *,
    readout: Literal["2D", "3D"] = "2D",
    mask: ArrayLike | None = None,
    minimum: float = MINIMUM_FRACTION,
) -> tuple[Float, Float]:
    """Return the image of pure grey and of pure white matter, by regression in a moving kernel.

    Parameters
    ----------
    image
        CBF, ΔM or ΔM/M0 (x, y, z). ΔM and M0 weigh tissues differently: correct their ratio, or
        CBF, rather than divide two corrected maps.
    gm, wm
        Tissue fractions 0 to 1 on the grid of the image (x, y, z), with its point spread.
    readout
        2D: kernel 5×5×1; 3D: 5×5×5.
    mask
        Voxels (x, y, z) that take part and get a result; all finite ones if not given.
    minimum
        Mean fraction over the kernel below which a tissue takes no part; the other tissue's result
        is then that of a regression on it alone.

    Returns
    -------
    gm_image, wm_image
        (x, y, z), unit of the image. NaN outside the mask, where the tissue has a mean fraction
        below `REPORTED_FRACTION`, and where the two fractions are proportional, so that nothing
        tells the tissues apart.

    Notes
    -----
    Asllani 2008, doi:10.1002/mrm.21670: least squares of I = pGM·I_GM + pWM·I_WM over the
    kernel, each estimate constant in it. CSF has no perfusion and takes part as the remainder.
    """
    y, g, w = (np.asarray(a, dtype=np.float64) for a in (image, gm, wm))
    if y.ndim != 3 or not y.shape == g.shape == w.shape:
        raise ValueError(f"image {y.shape}, gm {g.shape}, wm {w.shape}: need one (x, y, z) shape")
    good = np.isfinite(y) & np.isfinite(g) & np.isfinite(w)
    if mask is not None:
        good &= np.asarray(mask, dtype=bool)
    y, g, w = (np.where(good, a, 0.0) for a in (y, g, w))
    mean = {
        name: ndimage.uniform_filter(a, KERNEL[readout], mode="constant")
        for name, a in {"g": g, "w": w, "gg": g * g, "ww": w * w, "gw": g * w}.items()
    }
    gy, wy = (ndimage.uniform_filter(a * y, KERNEL[readout], mode="constant") for a in (g, w))
    filled = ndimage.uniform_filter(good.astype(np.float64), KERNEL[readout], mode="constant")
    has_gm, has_wm = good & (mean["g"] >= minimum), good & (mean["w"] >= minimum)
    det = mean["gg"] * mean["ww"] - mean["gw"] ** 2
    both = has_gm & has_wm & (det > _COLLINEAR * mean["gg"] * mean["ww"])
    results = []
    for own, cross, yy, yx, alone in (
        ("gg", "ww", gy, wy, has_gm & ~has_wm),
        ("ww", "gg", wy, gy, has_wm & ~has_gm),
    ):
        result = np.full(y.shape, np.nan)
        np.divide(mean[cross] * yy - mean["gw"] * yx, det, out=result, where=both)
        np.divide(yy, mean[own], out=result, where=alone)
        result[mean[own[0]] < REPORTED_FRACTION * filled] = np.nan
        results.append(result)
    return results[0], results[1]
