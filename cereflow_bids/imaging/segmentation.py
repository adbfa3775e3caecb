"""Bias field and tissues of a T1w image, by ANTs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.imaging.registration import to_ants

Float = NDArray[np.floating]
Mask = NDArray[np.bool_]

PRIOR_WEIGHT = 0.25
"""Of the template's tissues: without them Atropos failed on a scan with residual bias."""

_SHRINK_MM = 4.0


def correct_bias(image: Float, affine: Float, mask: Mask) -> NDArray[np.float32]:
    """Divide a T1w image by its bias field, estimated in the brain by N4.

    Parameters
    ----------
    image
        (x, y, z), arbitrary unit.
    affine
        Voxel-to-RAS+ matrix (4, 4), mm.
    mask
        Brain (x, y, z).

    Notes
    -----
    Tustison 2010, doi:10.1109/TMI.2010.2046908.
    """
    import ants

    finest = float(np.linalg.norm(affine[:3, :3], axis=0).min())
    corrected = ants.n4_bias_field_correction(
        to_ants(image, affine),
        mask=to_ants(mask.astype(np.float32), affine),
        shrink_factor=max(1, round(_SHRINK_MM / finest)),
    )
    return np.asarray(corrected.numpy(), dtype=np.float32)


def segment(
    image: Float, affine: Float, mask: Mask, priors: Sequence[Float], *, seed: int = 0
) -> tuple[NDArray[np.float32], ...]:
    """Return the fraction of each tissue in each voxel, by a mixture with spatial priors.

    Parameters
    ----------
    image
        T1w image without bias (x, y, z).
    affine
        Voxel-to-RAS+ matrix (4, 4), mm.
    mask
        Brain (x, y, z).
    priors
        Expected fraction of each tissue (x, y, z), from the darkest tissue to the brightest.
    seed
        Seed of the library's random choices; those of Atropos itself are always the same.

    Returns
    -------
    tuple of ndarray
        (x, y, z) each, in the order of the priors; 0 outside the mask, sum 1 inside.

    Notes
    -----
    Avants 2011 (Atropos), doi:10.1007/s12021-011-9109-y.
    """
    import ants

    ants.config.set_ants_deterministic(True, seed + 1)
    total = np.maximum(np.sum(priors, axis=0), np.finfo(np.float32).tiny)
    even = 1 / len(priors)
    shares = [np.where(total > 1e-3, prior / total, even) * mask for prior in priors]
    # Priors pass through files in single precision, where an origin would no longer be the same.
    own = np.diag([*np.linalg.norm(np.asarray(affine)[:3, :3], axis=0).round(3), 1.0])
    result = ants.atropos(
        a=to_ants(np.where(mask, image, 0), own),
        x=to_ants(mask.astype(np.float32), own),
        i=[to_ants(share, own) for share in shares],
        priorweight=PRIOR_WEIGHT,
        m="[0.1,1x1x1]",
        c="[5,0]",
        # Atropos visits voxels in a random order, which the clock would seed; it takes no seed.
        r=0,
    )
    return tuple(
        np.asarray(one.numpy(), dtype=np.float32) * mask for one in result["probabilityimages"]
    )
