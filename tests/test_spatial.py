import numpy as np
import pytest

from cereflow_bids.perfusion.estimate import Flag
from cereflow_bids.perfusion.kinetics import tissue_response
from cereflow_bids.perfusion.least_squares import fit_least_squares
from cereflow_bids.perfusion.scheme import LabelingScheme
from cereflow_bids.perfusion.spatial import fit_spatial
from cereflow_bids.perfusion.spatial_graph import neighbourhood

SCHEME = LabelingScheme("PCASL", (0.25, 0.75, 1.25, 1.75, 2.25, 2.75), (1.8,) * 6, 0.85, 1.65)
SIZE = (3.5, 3.5, 5.0)
SHAPE = (14, 14, 10)


def simulated(
    noise: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Two tissues with a sharp edge and a smooth ATT."""
    x, y, _ = np.indices(SHAPE)
    cbf = np.where(x < 7, 60.0, 20.0)
    att = 0.9 + 0.03 * y
    mask = np.ones(SHAPE, dtype=bool)
    clean = cbf.ravel()[:, None] / 6000 * tissue_response(SCHEME, att.ravel())
    signal = clean + noise * np.random.default_rng(seed).standard_normal(clean.shape)
    return signal.reshape(*SHAPE, 6), mask, cbf.ravel(), att.ravel()


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(x**2)))


def test_noise_falls_well_below_least_squares_and_intervals_hold() -> None:
    signal, mask, cbf, att = simulated(2e-3)
    plain = fit_least_squares(signal[mask], SCHEME)
    ours = fit_spatial(signal, mask, SCHEME, voxel_size=SIZE)
    assert rms(ours.cbf - cbf) < 0.4 * rms(plain.cbf - cbf)
    assert rms(ours.att - att) < 0.4 * np.sqrt(np.nanmean((plain.att - att) ** 2))
    for value, error, truth in (
        (ours.cbf, ours.cbf_standard_error, cbf),
        (ours.att, ours.att_standard_error, att),
    ):
        assert np.mean(np.abs(value - truth) < 1.96 * error) > 0.92
    assert ours.settings["noise"] == pytest.approx(2e-3, rel=0.05)


def test_an_edge_stays() -> None:
    signal, mask, _, _ = simulated(1e-3)
    ours = fit_spatial(signal, mask, SCHEME, voxel_size=SIZE).cbf.reshape(SHAPE)
    assert ours[6].mean() - ours[7].mean() > 36


def test_without_noise_the_truth_returns() -> None:
    signal, mask, cbf, att = simulated(0)
    ours = fit_spatial(signal, mask, SCHEME, voxel_size=SIZE)
    assert rms(ours.cbf - cbf) < 0.5
    assert rms(ours.att - att) < 0.01


def test_laplacian_is_that_of_the_mask_with_its_voxel_size() -> None:
    mask = np.ones((2, 1, 2), dtype=bool)
    graph = neighbourhood(mask, (2.0, 2.0, 4.0))
    dense = graph.laplacian(graph.base).toarray()
    assert dense.tolist() == [
        [1.25, -0.25, -1, 0],
        [-0.25, 1.25, 0, -1],
        [-1, 0, 1.25, -0.25],
        [0, -1, -0.25, 1.25],
    ]


def test_no_voxel_gives_an_empty_estimate() -> None:
    ours = fit_spatial(np.zeros((2, 2, 2, 6)), np.zeros((2, 2, 2)), SCHEME, voxel_size=SIZE)
    assert ours.cbf.shape == ours.flag.shape == (0,)


def test_one_voxel_is_close_to_its_least_squares() -> None:
    signal, mask, _, _ = simulated(2e-4)
    mask[:] = False
    mask[3, 3, 3] = True
    ours = fit_spatial(signal, mask, SCHEME, voxel_size=SIZE)
    plain = fit_least_squares(signal[mask], SCHEME)
    assert ours.cbf == pytest.approx(plain.cbf, abs=0.5)
    assert ours.att == pytest.approx(plain.att, abs=0.02)


def test_no_finite_signal_is_no_data_and_leaves_others_alone() -> None:
    signal, mask, _, _ = simulated(1e-3)
    signal[0, 0, 0, 2] = np.nan
    ours = fit_spatial(signal, mask, SCHEME, voxel_size=SIZE)
    assert ours.flag[0] == Flag.NO_DATA
    assert np.isnan(ours.cbf[0])
    assert np.isfinite(ours.cbf[1:]).all()
    none = fit_spatial(np.full_like(signal, np.nan), mask, SCHEME, voxel_size=SIZE)
    assert (none.flag == Flag.NO_DATA).all()


def test_zeros_are_no_perfusion() -> None:
    ours = fit_spatial(np.zeros((3, 3, 3, 6)), np.ones((3, 3, 3)), SCHEME, voxel_size=SIZE)
    assert (ours.cbf == 0).all()
    assert np.isnan(ours.att).all()
    assert (ours.flag == Flag.NO_PERFUSION).all()


def test_a_signal_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="6 delays"):
        fit_spatial(np.zeros((3, 3, 3, 5)), np.ones((3, 3, 3)), SCHEME, voxel_size=SIZE)


def test_a_guide_that_shows_the_edge_sharpens_it_and_a_constant_one_changes_nothing() -> None:
    signal, mask, cbf, _ = simulated(4e-3)
    x, _, _ = np.indices(SHAPE)
    guide = np.where(x < 7, 100.0, 80.0)
    without = fit_spatial(signal, mask, SCHEME, voxel_size=SIZE)
    guided = fit_spatial(signal, mask, SCHEME, voxel_size=SIZE, guide=guide)
    constant = fit_spatial(signal, mask, SCHEME, voxel_size=SIZE, guide=np.ones(SHAPE))
    assert rms(guided.cbf - cbf) < 0.5 * rms(without.cbf - cbf)
    assert constant.cbf == pytest.approx(without.cbf)


def test_an_edge_that_the_guide_does_not_show_stays() -> None:
    signal, mask, _, _ = simulated(1e-3)
    _, y, _ = np.indices(SHAPE)
    guide = np.where(y < 5, 100.0, 80.0)
    ours = fit_spatial(signal, mask, SCHEME, voxel_size=SIZE, guide=guide).cbf.reshape(SHAPE)
    assert ours[6].mean() - ours[7].mean() > 36
