"""Tissues of a T1w image."""

import numpy as np

from cereflow_bids.imaging.segmentation import segment


def _head() -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Return a noisy ball of three shells, its mask, and vague priors of the three."""
    grid = np.indices((28, 28, 28)) - 13.5
    radius = np.sqrt((grid**2).sum(axis=0))
    shells = [radius > 11, (radius > 7) & (radius <= 11), radius <= 7]
    clean = sum(value * shell for value, shell in zip((30, 70, 110), shells, strict=True))
    noise = 15 * np.random.default_rng(4).standard_normal(clean.shape)
    return clean + noise, radius < 13, [0.25 + 0.25 * shell for shell in shells]


def test_tissues_are_the_same_each_time_and_right():
    image, mask, priors = _head()
    first, again = (segment(image, np.diag([2.0, 2, 2, 1]), mask, priors) for _ in range(2))
    # Atropos visits voxels in a random order, seeded by the clock unless it is told otherwise.
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    found = np.argmax(first, axis=0)[mask]
    assert np.mean(found == np.argmax(priors, axis=0)[mask]) > 0.9
