"""Registration, by ANTs; `segmentation` is the only other module that names it.

Images are arrays of shape (x, y, z) with a 4x4 affine from voxel indices to scanner millimetres
(RAS+, as nibabel has it). A registration returns one 4x4 matrix that maps points of the fixed
image, in RAS+ mm, to points of the moving image: with it the moving image is resampled on the
fixed grid. A deformable one returns two `PointMap`, one for each direction.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from cereflow_bids.imaging.point_map import PointMap, transform

if TYPE_CHECKING:
    Array = NDArray[np.floating]

_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
Transform = Literal["Rigid", "Similarity", "Affine"]


def register(
    fixed: Array,
    fixed_affine: Array,
    moving: Array,
    moving_affine: Array,
    *,
    transform: Transform,
    initial: Array | None = None,
    seed: int = 0,
    sampling: float = 0.2,
    iterations: Sequence[int] = (200, 100, 50),
    shrink_factors: Sequence[int] = (4, 2, 1),
    smoothing_sigmas: Sequence[float] = (2, 1, 0),
) -> Array:
    """Register by Mattes mutual information and return the 4x4 fixed-to-moving matrix.

    Parameters
    ----------
    fixed, moving
        Images (x, y, z), arbitrary units.
    fixed_affine, moving_affine
        Voxel-to-RAS+ matrices (4, 4), mm.
    transform
        Degrees of freedom: 6, 7 or 12.
    initial
        Matrix (4, 4) to start from, RAS+ mm, fixed to moving; the centres of mass are aligned
        where none is given.
    seed
        Seed of the metric's random sampling, 0 or more. The same seed gives the same bits, for the
        registration runs on one thread.
    sampling
        Fraction of voxels that the metric sees.
    iterations, shrink_factors, smoothing_sigmas
        One entry per resolution level; sigmas in voxels.
    """
    import ants

    # ITK takes the clock for a seed of 0.
    ants.config.set_ants_deterministic(True, seed + 1)
    fixed_image, moving_image = to_ants(fixed, fixed_affine), to_ants(moving, moving_affine)
    with tempfile.TemporaryDirectory(prefix="cereflow-") as folder:
        start: Any = ["identity"]
        if initial is not None:
            start = [str(Path(folder) / "start.mat")]
            write_itk(initial, Path(start[0]))
        result = ants.registration(
            fixed=fixed_image,
            moving=moving_image,
            type_of_transform=transform,
            initial_transform=start if initial is not None else None,
            outprefix=f"{folder}/",
            aff_metric="mattes",
            aff_sampling=32,
            aff_random_sampling_rate=sampling,
            aff_iterations=tuple(iterations),
            aff_shrink_factors=tuple(shrink_factors),
            aff_smoothing_sigmas=tuple(smoothing_sigmas),
        )
        return _read_itk(result["fwdtransforms"][0])


def is_found(matrix: Array, initial: Array) -> bool:
    """Tell whether `register` found a pose, rather than nothing to follow.

    ANTs does not say when an image is constant, or too thin for a gradient: it hands back the
    matrix that it started from, to the bit, which a search of any step does not.
    """
    return bool(np.isfinite(matrix).all()) and not np.array_equal(matrix, initial)


def deform(
    fixed: Array,
    fixed_affine: Array,
    moving: Array,
    moving_affine: Array,
    *,
    seed: int = 0,
) -> tuple[PointMap, PointMap]:
    """Register by an affine transform, then a diffeomorphism, both by mutual information (SyN).

    Parameters
    ----------
    fixed, moving
        Images (x, y, z) of the same parts of the body, arbitrary units.
    fixed_affine, moving_affine
        Voxel-to-RAS+ matrices (4, 4), mm.
    seed
        As for `register`.

    Returns
    -------
    fixed_to_moving, moving_to_fixed
        Each the other's inverse.

    Notes
    -----
    Avants 2008, doi:10.1016/j.media.2007.06.004.
    """
    import ants

    ants.config.set_ants_deterministic(True, seed + 1)
    with tempfile.TemporaryDirectory(prefix="cereflow-") as folder:
        result = ants.registration(
            fixed=to_ants(fixed, fixed_affine),
            moving=to_ants(moving, moving_affine),
            type_of_transform="SyN",
            outprefix=f"{folder}/",
        )
        warp, linear = result["fwdtransforms"]
        matrix = _read_itk(linear)
        forward, grid = _read_displacement(warp)
        backward, _ = _read_displacement(result["invtransforms"][1])
    return (
        PointMap(np.eye(4), forward, grid, matrix),
        PointMap(np.linalg.inv(matrix), backward, grid),
    )


def likeness(one: Array, other: Array, affine: Array) -> float:
    """Return the mutual information of two images on one grid, nats; larger is more alike.

    Mattes 2003, doi:10.1109/TMI.2003.809072.
    """
    import ants

    pair = (to_ants(image, affine) for image in (one, other))
    return -float(ants.image_similarity(*pair, metric_type="MattesMutualInformation"))


def _read_displacement(path: str) -> tuple[NDArray[np.float32], Array]:
    """Return a displacement field (x, y, z, 3) in RAS+ mm and the matrix of its grid."""
    import nibabel as nib

    image: Any = nib.load(path)
    field = np.asarray(image.dataobj, dtype=np.float32)[:, :, :, 0]
    return field * np.array([-1, -1, 1], dtype=np.float32), image.affine


def to_ants(data: Array, affine: Array) -> Any:
    """Return an image of ANTs, which counts millimetres to the left and back."""
    import ants

    lps = _LPS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    return ants.from_numpy(
        np.ascontiguousarray(data, dtype=np.float32),
        origin=tuple(lps[:3, 3]),
        spacing=tuple(spacing),
        direction=lps[:3, :3] / spacing,
    )


def _read_itk(path: str) -> Array:
    import ants

    itk = ants.read_transform(path)
    matrix = np.reshape(itk.parameters[:9], (3, 3))
    centre = np.asarray(itk.fixed_parameters[:3])
    lps = np.eye(4)
    lps[:3, :3] = matrix
    lps[:3, 3] = np.asarray(itk.parameters[9:12]) + centre - matrix @ centre
    return _LPS @ lps @ _LPS


def write_displacement(world: PointMap, shape: Sequence[int], affine: Array, path: Path) -> None:
    """Write a deformation as ITK's displacement field on a grid, a NIfTI image of vectors."""
    import nibabel as nib

    grid = np.indices(tuple(shape), dtype=np.float64)
    points = transform(affine, grid)
    moved = np.moveaxis(world.apply(points) - points, 0, -1) * [-1, -1, 1]
    image = nib.Nifti1Image(moved[:, :, :, None].astype(np.float32), affine)
    image.header.set_intent("vector")
    nib.save(image, path)


def write_itk(matrix: Array, path: Path) -> None:
    """Write a fixed-to-moving matrix (4, 4; RAS+ mm) as an ITK transform, .txt or .mat."""
    import ants

    lps = _LPS @ matrix @ _LPS
    itk = ants.new_ants_transform(
        precision="double", dimension=3, transform_type="AffineTransform"
    )
    itk.set_parameters(np.concatenate([lps[:3, :3].ravel(), lps[:3, 3]]))
    itk.set_fixed_parameters(np.zeros(3))
    ants.write_transform(itk, str(path))
