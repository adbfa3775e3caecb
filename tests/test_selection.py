"""Which differences enter the mean: by method, with reasons, the same for one and many delays."""

import asl_run
import numpy as np
import pytest

from cereflow_bids.errors import InputError
from cereflow_bids.quantification.quantify import quantify
from cereflow_bids.quantification.science import Science
from cereflow_bids.quantification.tissues import Tissues

SHAPE = (12, 10, 6)
PAIRS = 10
BAD = 3
TISSUES = Tissues(*asl_run.halves(SHAPE))
CONTEXT = ["m0scan", *["control", "label"] * PAIRS]
MASK = np.zeros(SHAPE, bool)
MASK[1:-1, 1:-1, 1:-1] = True
M0 = np.full(SHAPE, 1000.0)


def series(*, spoil=True, seed=1):
    """Return differences of 8 in grey and 3 in white matter; one pair is moved by a few voxels."""
    rng = np.random.default_rng(seed)
    truth = np.where(TISSUES.gm > 0, 8.0, 3.0) * MASK
    volumes = np.full((*SHAPE, len(CONTEXT)), 600.0) + rng.normal(0, 1, (*SHAPE, len(CONTEXT)))
    volumes[..., 0] = 1000
    volumes[..., 2::2] -= truth[..., None]
    if spoil:
        volumes[..., 2 * BAD + 2] -= 30 * (np.arange(SHAPE[1]) % 3 == 0)[:, None]
    return volumes


def quantified(volumes, **choices):
    run = asl_run.run_of(CONTEXT, 1.8, SHAPE)
    return quantify(
        run, volumes, M0, MASK, voxel_size=(3, 3, 3), tissues=TISSUES,
        science=Science(m0_smoothing=0, **choices),
    )  # fmt: skip


@pytest.mark.parametrize("method", ["score", "scrub", "enable"])
def test_a_spoiled_pair_is_left_out_and_named(method):
    clean, plain = quantified(series(spoil=False)), quantified(series())
    mended = quantified(series(), outliers=method)
    volumes = [one.volumes for one in mended.rejected]
    assert (2 * BAD + 1, 2 * BAD + 2) in volumes
    assert mended.n_pairs == PAIRS - len(volumes)
    error = np.abs(mended.cbf - clean.cbf)[MASK].mean()
    assert error < 0.5 * np.abs(plain.cbf - clean.cbf)[MASK].mean()
    assert any("7 and 8" in note for note in mended.notes)
    assert {p.name: p.value for p in mended.parameters}["OutlierRejection"] == method


def test_nothing_is_left_out_unless_asked_for():
    result = quantified(series())
    assert result.n_pairs == PAIRS
    assert result.rejected == ()


def test_an_empty_volume_costs_its_pair_and_no_more():
    volumes = series(spoil=False)
    volumes[..., 5] = np.nan
    result = quantified(volumes)
    (rejected,) = result.rejected
    assert rejected.volumes == (5, 6)
    assert "0 %" in rejected.reason
    assert np.isfinite(result.cbf).all()
    assert result.n_pairs == PAIRS - 1


def test_no_difference_with_data_is_an_error():
    volumes = series()
    volumes[..., 2::2] = np.nan
    with pytest.raises(InputError, match="no difference"):
        quantified(volumes)


def test_a_method_that_cannot_work_says_so():
    run = asl_run.run_of(CONTEXT, 1.8, SHAPE)
    with pytest.raises(InputError, match="grey matter"):
        quantify(
            run, series(), M0, MASK, voxel_size=(3, 3, 3), science=Science(outliers="score"),
            tissues=Tissues(np.zeros(SHAPE), np.ones(SHAPE), np.zeros(SHAPE)),
        )  # fmt: skip


def test_outliers_are_judged_within_their_delay():
    """The delays differ more from each other than any outlier from its delay."""
    context = ["m0scan", *["control", "label"] * PAIRS]
    delays = [0.0, *[1.0] * PAIRS, *[2.5] * PAIRS]
    run = asl_run.run_of(context, delays, SHAPE)
    volumes = series(spoil=False)
    volumes[..., PAIRS + 2 :: 2] += 0.6 * (600 - volumes[..., PAIRS + 2 :: 2])
    result = quantify(
        run, volumes, M0, MASK, voxel_size=(3, 3, 3), tissues=TISSUES,
        science=Science(m0_smoothing=0, outliers="score", estimator="least-squares"),
    )  # fmt: skip
    assert result.n_pairs >= PAIRS - 3


def test_partial_volume_correction_gives_back_pure_tissue():
    mixed = np.clip(np.linspace(1.4, -0.4, SHAPE[0]), 0, 1)[:, None, None] * np.ones(SHAPE)
    rng = np.random.default_rng(2)
    gm = np.clip(mixed + rng.uniform(-0.2, 0.2, SHAPE), 0, 1)
    wm = 0.9 * (1 - gm)
    volumes = np.full((*SHAPE, len(CONTEXT)), 600.0)
    volumes[..., 0] = 1000
    volumes[..., 2::2] -= (8 * gm + 3 * wm)[..., None]
    run = asl_run.run_of(CONTEXT, 1.8, SHAPE)
    result = quantify(
        run, volumes, M0, MASK, voxel_size=(3, 3, 3), tissues=Tissues(gm, wm, 1 - gm - wm),
        science=Science(m0_smoothing=0, partial_volume="linear-regression"),
    )  # fmt: skip
    one = quantify(run, volumes, M0, MASK, voxel_size=(3, 3, 3), science=Science(m0_smoothing=0))
    np.testing.assert_array_equal(result.cbf, one.cbf)
    per_unit = result.cbf[MASK] / (8 * gm + 3 * wm)[MASK]
    pure_gm, pure_wm = result.further["cbf_gm"], result.further["cbf_wm"]
    inside = MASK & np.isfinite(pure_gm) & np.isfinite(pure_wm)
    assert inside.sum() > 0.7 * MASK.sum()
    np.testing.assert_allclose(pure_gm[inside], 8 * per_unit[0], rtol=1e-6)
    np.testing.assert_allclose(pure_wm[inside], 3 * per_unit[0], rtol=1e-6)
    assert not pure_gm[~MASK].any()


def test_ge_product_equation_is_refused_for_pulsed_labelling():
    pulsed = {
        "ArterialSpinLabelingType": "PASL", "BolusCutOffFlag": True, "BolusCutOffDelayTime": 0.7,
        "LabelingDuration": None,
    }  # fmt: skip
    run = asl_run.run_of(("deltam", "m0scan"), 1.8, SHAPE, **pulsed)
    with pytest.raises(InputError, match="PCASL"):
        quantify(
            run, series()[..., :2], M0, MASK, voxel_size=(3, 3, 3), tissues=TISSUES,
            science=Science(quantification="ge-product"),
        )  # fmt: skip


def test_options_without_effect_on_a_run_are_named():
    one = quantified(series(spoil=False), kinetic_model="full")
    assert any("--kinetic-model full was not applied" in note for note in one.notes)
    run = asl_run.run_of(CONTEXT, 1.8, SHAPE, M0Type="Absent", BackgroundSuppression=True)
    relative = quantify(
        run, series(spoil=False), None, MASK, voxel_size=(3, 3, 3), tissues=TISSUES,
        science=Science(partial_volume="linear-regression"),
    )  # fmt: skip
    assert relative.cbf is None
    assert any("correction needs absolute CBF" in note for note in relative.notes)
