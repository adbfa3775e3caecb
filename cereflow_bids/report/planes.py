"""From a volume and its affine to upright, labelled planes.

Every plane is shown the radiological way: the patient's right is on the left of the image,
anterior (or superior) is at the top, and sagittal planes look from the left, anterior on the left.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]

AXIS = {"sagittal": 0, "coronal": 1, "axial": 2}
EDGES = {"sagittal": ("A", "P"), "coronal": ("R", "L"), "axial": ("R", "L")}


@dataclass(frozen=True)
class Volume:
    """An array whose axes run left→right, back→front and foot→head.

    Attributes
    ----------
    data
        Shape (x, y, z).
    affine
        Shape (4, 4), voxel to millimetre, after the axes were put in this order.
    """

    data: Array
    affine: npt.NDArray[np.float64]

    @property
    def zooms(self) -> tuple[float, float, float]:
        """Voxel size in mm along x, y, z."""
        size = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))
        return (float(size[0]), float(size[1]), float(size[2]))

    def position(self, plane: str, index: int) -> float:
        """Return the millimetre coordinate of the middle of a plane along its own axis."""
        axis = AXIS[plane]
        centre = (np.array(self.data.shape[:3], dtype=float) - 1) / 2
        centre[axis] = index
        return float((self.affine @ np.append(centre, 1.0))[axis])


def to_ras(data: npt.NDArray[np.generic], affine: npt.NDArray[np.floating]) -> Volume:
    """Flip and permute the axes, without interpolation, so that they run to R, A and S.

    Parameters
    ----------
    data
        Shape (i, j, k).
    affine
        Shape (4, 4), voxel to millimetre (RAS+).
    """
    import nibabel as nib

    image = nib.Nifti1Image(np.asarray(data, dtype=np.float32), np.asarray(affine, dtype=float))
    canonical = nib.as_closest_canonical(image)
    return Volume(np.asarray(canonical.dataobj, dtype=np.float32), canonical.affine)


def plane_of(data: Array, plane: str, index: int) -> Array:
    """Return one plane as an image (rows from the top, columns from the left).

    Parameters
    ----------
    data
        Shape (x, y, z), axes to R, A, S.
    plane
        ``"axial"``, ``"coronal"`` or ``"sagittal"``.
    index
        Voxel index along that plane's axis.

    Examples
    --------
    >>> data = np.zeros((2, 2, 1)); data[1, 1, 0] = 1  # the patient's right, anterior
    >>> plane_of(data, "axial", 0)
    array([[1., 0.],
           [0., 0.]])
    """
    return np.take(data, index, axis=AXIS[plane])[::-1, ::-1].T


def pixel_size(volume: Volume, plane: str) -> tuple[float, float]:
    """Return (width, height) of a pixel of this plane in mm."""
    width, height = (volume.zooms[axis] for axis in range(3) if axis != AXIS[plane])
    return width, height


def brain_planes(mask: Array, plane: str, most: int) -> list[int]:
    """Return up to ``most`` evenly spread indices of planes that hold brain, in rising order.

    A plane counts where the mask covers more than 5 % of its largest plane, so that the
    last slivers at the top and the bottom do not take the place of a useful picture.
    """
    axis = AXIS[plane]
    area = (mask > 0.5).sum(axis=tuple(a for a in range(3) if a != axis))
    indices = np.flatnonzero(area > 0.05 * area.max(initial=0))
    if len(indices) <= most:
        return [int(i) for i in indices]
    picks = np.linspace(0, len(indices) - 1, most).round().astype(int)
    return [int(i) for i in indices[picks]]


def crop_to(mask: Array, *arrays: Array, affine: npt.NDArray[np.float64]) -> list[Volume]:
    """Cut arrays to the bounding box of a mask plus a margin of two voxels in plane.

    Parameters
    ----------
    mask, arrays
        Shape (x, y, z) each, axes to R, A, S.
    affine
        Affine of those arrays.

    Returns
    -------
    list of Volume
        The mask first, then the arrays, with the affine of the box.
    """
    corners = np.argwhere(mask > 0.5)
    low = np.maximum(corners.min(axis=0) - 2, 0)
    high = np.minimum(corners.max(axis=0) + 3, mask.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    moved = np.array(affine, dtype=float)
    moved[:3, 3] = (affine @ np.append(low, 1.0))[:3]
    return [Volume(array[box], moved) for array in (mask, *arrays)]
