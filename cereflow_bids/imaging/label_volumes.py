"""Labels on a coarser grid, each with the volume that it has on the finer one.

The label that fills most of a voxel is the plain choice, but a structure thinner than the voxel
fills the most of few, and shrinks or vanishes. Here every label, the background among them, gets
as many voxels as its volume fills, and the voxels are dealt out so that the sum of the fractions
that they have of their label is about as large as it can be.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cereflow_bids.imaging.resampling import World, label_cells

SWEEPS = 8
_ROWS = 20_000


def volume_preserving_labels(
    sources: Sequence[ArrayLike],
    source_affine: ArrayLike,
    shape: Sequence[int],
    affine: ArrayLike,
    *,
    world: World = None,
) -> list[NDArray[np.int32]]:
    """Bring label images to a coarser grid so that each label keeps the volume it has there.

    Parameters
    ----------
    sources
        Images of integer labels from 0 up, all on one grid (x, y, z).
    source_affine, shape, affine, world
        As for `resampling.resample`.

    Returns
    -------
    list of ndarray
        One image per source. A voxel gets no label of which it has nothing, and what lies outside
        the grid counts for nothing.
    """
    images = [np.asarray(source) for source in sources]
    # Where each cell lies is found once: voxels are numbered from 1, and 0 is outside.
    places = np.arange(1, images[0].size + 1, dtype=np.int32).reshape(images[0].shape)
    cells = label_cells(places, source_affine, shape, affine, world=world)
    labelled = np.concatenate([[False], np.any([image.ravel() != 0 for image in images], axis=0)])
    # Most of the field of view has no label of any source.
    concerned = np.flatnonzero(labelled[cells].any(axis=1))
    places, n_others = cells[concerned].astype(np.intp), len(cells) - concerned.size
    moved = []
    for image in images:
        out = np.zeros(len(cells), dtype=np.int32)
        out[concerned] = _keep_volumes(image, places, n_others)
        moved.append(out.reshape(tuple(shape)))
    return moved


def _keep_volumes(
    labels: NDArray[np.integer], places: NDArray[np.integer], n_others: int
) -> NDArray[np.int32]:
    """Return a label for each voxel; `places` are its cells, `n_others` is background only."""
    # The background is always there: what lies outside the image belongs to it.
    flat = np.zeros(labels.size + 1, dtype=labels.dtype)
    flat[1:] = labels.ravel()
    counts = np.bincount(flat)
    present = np.flatnonzero(counts)
    # As few bytes as there may be: millions of cells look their label up.
    number = np.zeros(counts.size, dtype=np.min_scalar_type(present.size))
    number[present] = np.arange(present.size)
    cells = number[flat][places]
    owner, mixed, names, fractions = _fractions(cells, present.size)
    if mixed.size:
        shares = np.bincount(names.ravel(), fractions.ravel().clip(0), minlength=present.size)
        whole = np.bincount(owner[owner >= 0], minlength=present.size)
        whole[0] += n_others
        wanted = np.rint(whole + shares).astype(int) - whole
        owner[mixed] = deal_out(names, fractions, wanted)
    return present[owner].astype(np.int32)


def deal_out(
    names: NDArray[np.integer], fractions: NDArray[np.floating], wanted: NDArray[np.integer]
) -> NDArray[np.integer]:
    """Choose one label per voxel so that each is chosen as often as wanted, or nearly.

    Parameters
    ----------
    names
        Labels that a voxel has something of (n, k), numbered from 0.
    fractions
        How much of the voxel each fills (n, k); -inf where there is no k-th label.
    wanted
        Number of voxels that each label shall have.

    Returns
    -------
    ndarray
        The chosen label of each voxel (n,).

    Notes
    -----
    Each label has a handicap that is added to its fractions; the voxel goes to the highest sum.
    In turn each handicap is set to where the label gets just what it wants while the others stay:
    coordinate descent on the dual of the assignment problem.
    """
    # Fractions come in steps of one cell; ties would let a handicap give out many voxels at once.
    apart = np.outer(np.arange(len(names)), np.log(np.arange(names.shape[1]) + 2)) % 1
    scores = fractions + 1e-3 * apart
    handicap = np.zeros(wanted.size)
    voxel, column = np.nonzero(np.isfinite(fractions))
    order = np.argsort(names[voxel, column], kind="stable")
    starts = np.searchsorted(names[voxel, column][order], np.arange(wanted.size + 1))
    best, fewest = np.empty(0, dtype=int), np.inf
    for _ in range(SWEEPS):
        for label in range(wanted.size):
            mine = order[starts[label] : starts[label + 1]]
            if mine.size:
                rows, columns = voxel[mine], column[mine]
                rivals = scores[rows] + handicap[names[rows]]
                rivals[np.arange(mine.size), columns] = -np.inf
                needed = np.sort(rivals.max(axis=1) - scores[rows, columns])
                handicap[label] = _between(needed, int(wanted[label]))
        chosen = (scores + handicap[names]).argmax(axis=1)
        given = names[np.arange(len(names)), chosen]
        missed = np.abs(np.bincount(given, minlength=wanted.size) - wanted).sum()
        if missed < fewest:
            best, fewest = given, missed
    return best


def _between(needed: NDArray[np.floating], count: int) -> float:
    """Return a handicap that wins the `count` voxels which need the least, and no others."""
    if count <= 0:
        return float(needed[0] - 1e-6)
    if count >= needed.size:
        return float(needed[-1] + 1e-6)
    return float((needed[count - 1] + needed[count]) / 2)


def _fractions(
    cells: NDArray[np.integer], n_labels: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Count the labels of each voxel's cells.

    Parameters
    ----------
    cells
        Numbered labels (voxels, cells).

    Returns
    -------
    owner
        The label of voxels that have only one; -1 for the others.
    mixed
        Which the others are (n,).
    names, fractions
        Of the others, as `deal_out` takes them.
    """
    first = cells[:, 0]
    owner = np.where((cells == first[:, None]).all(axis=1), first.astype(np.intp), -1)
    mixed = np.flatnonzero(owner < 0)
    most, rows = 1, []
    for start in range(0, mixed.size, _ROWS):
        part = cells[mixed[start : start + _ROWS]]
        flat = np.arange(len(part))[:, None] * n_labels + part
        counts = np.bincount(flat.ravel(), minlength=len(part) * n_labels)
        counts = counts.reshape(len(part), n_labels)
        most = max(most, int((counts > 0).sum(axis=1).max()))
        order = np.argsort(-counts, axis=1, kind="stable")[:, :most]
        rows.append((order, np.take_along_axis(counts, order, axis=1)))
    names = np.zeros((mixed.size, most), dtype=np.intp)
    fractions = np.full((mixed.size, most), -np.inf)
    done = 0
    for order, counts in rows:
        end, width = done + len(order), order.shape[1]
        names[done:end, :width] = order
        fractions[done:end, :width] = np.where(counts > 0, counts / cells.shape[1], -np.inf)
        done = end
    return owner, mixed, names, fractions
