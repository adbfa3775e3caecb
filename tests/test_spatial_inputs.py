"""What the spatial estimate is given besides a signal: schemes, offsets, priors, starts, gaps."""

from dataclasses import replace

import numpy as np
import pytest

from cereflow_bids.perfusion import spatial_iteration
from cereflow_bids.perfusion.estimate import Estimate, Flag
from cereflow_bids.perfusion.kinetics import tissue_response
from cereflow_bids.perfusion.least_squares import fit_least_squares
from cereflow_bids.perfusion.scheme import LabelingScheme
from cereflow_bids.perfusion.spatial import fit_spatial
from cereflow_bids.perfusion.spatial_graph import grid_spectrum, neighbourhood
from cereflow_bids.perfusion.spatial_posterior import Roughness, marginal, root, solve

DELAYS = (0.25, 0.75, 1.25, 1.75, 2.25, 2.75)
PCASL = LabelingScheme("PCASL", DELAYS, (1.8,) * 6, 0.85, 1.65)
PASL = LabelingScheme("PASL", (0.6, 0.9, 1.2, 1.5, 1.8, 2.1), (0.8,) * 6, 0.98, 1.65)
SIZE = (3.5, 3.5, 5.0)
SHAPE = (12, 12, 8)


def fields() -> tuple[np.ndarray, np.ndarray]:
    x, y, _ = np.indices(SHAPE)
    return 40.0 + 2 * x, 0.7 + 0.03 * y


def simulated(
    scheme: LabelingScheme, noise: float, offset: float | np.ndarray = 0.0
) -> np.ndarray:
    cbf, att = fields()
    offset = np.broadcast_to(offset, SHAPE).ravel()
    response = tissue_response(scheme, att.ravel(), cbf=cbf.ravel(), offset=offset)
    clean = cbf.ravel()[:, None] / 6000 * response
    noisy = clean + noise * np.random.default_rng(3).standard_normal(clean.shape)
    return noisy.reshape(*SHAPE, scheme.size)


def fit(signal: np.ndarray, scheme: LabelingScheme, **more: object) -> Estimate:
    return fit_spatial(signal, np.ones(SHAPE), scheme, voxel_size=SIZE, **more)


def errors(estimate: Estimate) -> tuple[float, float]:
    cbf, att = fields()
    return (
        float(np.sqrt(np.mean((estimate.cbf - cbf.ravel()) ** 2))),
        float(np.sqrt(np.mean((estimate.att - att.ravel()) ** 2))),
    )


@pytest.mark.parametrize("scheme", [PCASL, PASL, replace(PCASL, model="full")])
def test_without_noise_it_is_the_least_squares_fit(scheme: LabelingScheme) -> None:
    signal = simulated(scheme, 0)
    ours = fit(signal, scheme)
    plain = fit_least_squares(signal.reshape(-1, scheme.size), scheme)
    known = plain.flag == 0
    assert known.mean() > 0.9
    assert np.abs(ours.cbf - plain.cbf)[known].max() < 0.3
    assert np.abs(ours.att - plain.att)[known].max() < 0.01


def test_pulsed_labelling_is_denoised() -> None:
    signal = simulated(PASL, 1e-3)
    plain = errors(fit_least_squares(signal.reshape(-1, 6), PASL))
    ours = errors(fit(signal, PASL))
    assert ours[0] < 0.4 * plain[0]
    assert ours[1] < 0.06


def test_slices_read_later_have_their_own_delays() -> None:
    offset = 0.05 * np.arange(SHAPE[2])
    signal = simulated(PCASL, 5e-4, offset)
    right, wrong = fit(signal, PCASL, offset=offset), fit(signal, PCASL)
    assert errors(right)[0] < 2
    assert errors(right)[1] < 0.04
    assert errors(wrong)[1] > 3 * errors(right)[1]


def test_the_start_does_not_decide_where_it_ends() -> None:
    signal = simulated(PCASL, 1e-3)
    own = fit(signal, PCASL)
    plain = fit_least_squares(signal.reshape(-1, 6), PCASL)
    given = fit(signal, PCASL, start=plain)
    far = fit(signal, PCASL, start=replace(plain, att=np.full(plain.att.shape, np.nan)))
    for other in (given, far):
        assert np.sqrt(np.mean((other.cbf - own.cbf) ** 2)) < 0.5
        assert np.sqrt(np.mean((other.att - own.att) ** 2)) < 0.02


def test_the_prior_of_att_counts_where_the_signal_says_little() -> None:
    signal = simulated(PCASL, 2e-2)
    early = fit(signal, PCASL, att_prior=(0.6, 0.05))
    late = fit(signal, PCASL, att_prior=(1.6, 0.05))
    assert np.nanmedian(early.att) < 0.8
    assert np.nanmedian(late.att) > 1.4


def test_voxels_without_data_are_gaps_in_the_neighbourhood() -> None:
    signal = simulated(PCASL, 1e-3)
    signal[4:6, :, :] = np.nan
    signal[:4, 0, 0] = 0
    ours = fit(signal, PCASL)
    flag = ours.flag.reshape(SHAPE)
    assert (flag[4:6] == Flag.NO_DATA).all()
    assert (flag[:4, 0, 0] == Flag.NO_PERFUSION).all()
    rest = np.isfinite(signal).all(axis=-1) & (signal != 0).any(axis=-1)
    error = ours.cbf.reshape(SHAPE) - fields()[0]
    assert np.sqrt(np.mean(error[rest] ** 2)) < 3


def test_a_guide_with_gaps_is_no_obstacle() -> None:
    signal = simulated(PCASL, 1e-3)
    guide = np.full(SHAPE, np.nan)
    assert errors(fit(signal, PCASL, guide=guide)) == errors(fit(signal, PCASL))
    guide[:6] = np.arange(6)[:, None, None]
    assert np.isfinite(fit(signal, PCASL, guide=guide).cbf).all()


def test_what_still_moves_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped early from a start far off, voxels are flagged; left to settle, next to none."""
    signal = simulated(PCASL, 1e-3)
    start = fit_least_squares(signal.reshape(-1, 6), PCASL)
    far = replace(start, att=np.full(start.att.shape, 3.5), cbf=np.full(start.cbf.shape, 5.0))
    settled = fit(signal, PCASL, start=far)
    assert np.mean(settled.flag & Flag.NOT_CONVERGED > 0) < 0.02
    monkeypatch.setattr(spatial_iteration, "_ITERATIONS", 2)
    early = fit(signal, PCASL, start=far)
    assert np.mean(early.flag & Flag.NOT_CONVERGED > 0) > 0.9


def test_samples_and_grid_variances_are_those_of_the_posterior() -> None:
    """Against the inverse of the dense matrix, of a small grid."""
    mask = np.ones((5, 5, 4), dtype=bool)
    graph = neighbourhood(mask, (1.0, 1.0, 1.0))
    rng = np.random.default_rng(0)
    rough = [
        Roughness(graph.laplacian(w), graph.degree(w))
        for w in (0.5 * graph.base, 2.0 * graph.base)
    ]
    information = np.stack([np.full(100, x, dtype=np.float32) for x in (1.0, 0.3, 2.0)])
    dense = np.zeros((200, 200))
    for row, own in enumerate(rough):
        block = slice(100 * row, 100 * row + 100)
        dense[block, block] = np.stack([own.times(unit) for unit in np.eye(100, dtype="f4")])
    for row, column, x in ((0, 0, 1.0), (0, 1, 0.3), (1, 0, 0.3), (1, 1, 2.0)):
        dense[100 * row + np.arange(100), 100 * column + np.arange(100)] += x
    exact = np.diag(np.linalg.inv(dense)).reshape(2, 100)

    drawn = root(information, rng.standard_normal((400, 2, 100), dtype=np.float32))
    for field in drawn:
        for row, (own, weight) in enumerate(zip(rough, (0.5, 2.0), strict=True)):
            flow = np.sqrt(weight * graph.base) * rng.standard_normal(graph.first.size)
            field[row] += own.draw(graph.spread(flow), rng.standard_normal(100, dtype="f4"))
    samples = solve(
        information, rough, drawn, start=np.zeros_like(drawn), tolerance=1e-4, steps=200
    )
    assert np.mean(samples**2, axis=0).mean(axis=1) == pytest.approx(exact.mean(axis=1), rel=0.05)
    degree = np.stack([own.degree for own in rough])
    covariance, *_ = marginal(information, degree, *grid_spectrum(graph.scale))
    # Most voxels of this grid are at its border; the samples give the scale in use.
    assert covariance[[0, 2]].mean(axis=1) == pytest.approx(exact.mean(axis=1), rel=0.2)


@pytest.mark.filterwarnings("error")
def test_voxels_without_neighbours_are_estimated_each_for_itself() -> None:
    signal = simulated(PCASL, 1e-4)
    alone = np.indices(SHAPE).sum(axis=0) % 2 == 0
    some = alone | (np.indices(SHAPE)[0] < 3)
    for mask in (alone, some):
        ours = fit_spatial(signal, mask, PCASL, voxel_size=SIZE)
        plain = fit_least_squares(signal[mask], PCASL)
        assert np.median(np.abs(ours.cbf - plain.cbf)) < 0.5
        assert np.isfinite(ours.cbf_standard_error).all()


@pytest.mark.filterwarnings("error")
def test_one_slice_is_enough() -> None:
    signal, mask = simulated(PCASL, 1e-3), np.zeros(SHAPE, dtype=bool)
    mask[..., 3] = True
    ours = fit_spatial(signal, mask, PCASL, voxel_size=SIZE, guide=np.indices(SHAPE)[0])
    plain = fit_least_squares(signal[mask], PCASL)
    truth = fields()[0][mask]
    assert np.std(ours.cbf - truth) < 0.7 * np.std(plain.cbf - truth)


@pytest.mark.parametrize("first", [1.5, 2.2])
def test_an_arrival_before_the_first_delay_is_flagged_and_has_no_error(first: float) -> None:
    """The curve has a kink there, at which the estimate would look exact."""
    scheme = replace(PCASL, delay=(first, first + 0.4, first + 0.8, *(first + 1.2,) * 3))
    found = fit(simulated(scheme, 2e-4), scheme)
    assert np.mean(found.flag & Flag.BEFORE_FIRST_DELAY > 0) > 0.95
    assert np.isnan(found.att_standard_error[found.flag & Flag.BEFORE_FIRST_DELAY > 0]).all()
    assert abs(found.cbf.mean() / fields()[0].mean() - 1) < 0.05
