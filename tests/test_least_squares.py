"""Recovery, degenerate input and errors of the plain fit, and of the maps beside it."""

import dataclasses

import nibabel as nib
import numpy as np
import pytest
from numpy.testing import assert_allclose

from cereflow_bids.perfusion.delay_maps import delay_cbf, mean_delay_cbf
from cereflow_bids.perfusion.estimate import Flag
from cereflow_bids.perfusion.kinetics import tissue_response
from cereflow_bids.perfusion.least_squares import fit_least_squares
from cereflow_bids.perfusion.scheme import LabelingScheme
from cereflow_bids.perfusion.single_delay import pasl_cbf, pcasl_cbf
from cereflow_bids.perfusion.weighted_delay import weighted_delay_att

DELAYS = (0.25, 0.75, 1.25, 1.75, 2.25, 2.75)
PCASL = LabelingScheme("PCASL", DELAYS, (1.8,) * 6, 0.85, 1.65)
PASL = LabelingScheme("PASL", (0.6, 1.0, 1.4, 1.8, 2.2, 2.6), (0.8,) * 6, 0.98, 1.65)


def curves(scheme, cbf, att, **options):
    return cbf[:, None] / 6000 * tissue_response(scheme, att, cbf=cbf, **options)


def truth(n=3000):
    generator = np.random.default_rng(5)
    return generator.uniform(5, 120, n), generator.uniform(0.3, 2.6, n)


@pytest.mark.parametrize("scheme", [PCASL, PASL], ids=["pcasl", "pasl"])
@pytest.mark.parametrize("model", ["consensus", "full"])
def test_noise_free_is_exact(scheme, model):
    scheme = dataclasses.replace(scheme, model=model, repeats=(1, 2, 3, 4, 5, 6))
    cbf, att = truth()
    att = np.minimum(att, 2.1)
    found = fit_least_squares(curves(scheme, cbf, att), scheme)
    assert_allclose(found.cbf, cbf, rtol=1e-4)
    assert_allclose(found.att, att, atol=5e-5)


def test_t1_and_offset_of_each_voxel():
    scheme = dataclasses.replace(PCASL, model="full")
    cbf, att = truth()
    options = {
        "t1_tissue": np.random.default_rng(1).uniform(0.7, 2.0, cbf.size),
        "offset": np.arange(cbf.size) % 5 * 0.04,
    }
    att = att + options["offset"]
    found = fit_least_squares(curves(scheme, cbf, att, **options), scheme, **options)
    assert_allclose(found.cbf, cbf, rtol=1e-4)
    assert_allclose(found.att, att, atol=5e-5)


def test_standard_errors_are_the_spread_of_repeated_fits():
    n = 20000
    signal = curves(PCASL, np.full(n, 60.0), np.full(n, 1.4))
    signal += 1e-4 * np.random.default_rng(2).standard_normal(signal.shape)
    found = fit_least_squares(signal, PCASL)
    for value, error in (
        (found.cbf, found.cbf_standard_error),
        (found.att, found.att_standard_error),
    ):
        assert np.sqrt(np.mean(error**2)) == pytest.approx(value.std(), rel=0.03)


def test_degenerate_voxels():
    plateau = curves(PCASL, np.array([60.0]), np.array([0.1]))[0]
    signal = np.stack([plateau, np.zeros(6), -plateau, np.full(6, np.nan), [0, 0, 0, 0, 0, 1]])
    found = fit_least_squares(signal, PCASL, att_range=(0, 3))
    none, first = Flag.NO_PERFUSION, Flag.BEFORE_FIRST_DELAY
    assert found.flag.tolist() == [first, none, none, Flag.NO_DATA, Flag.AT_UPPER_BOUND]
    assert found.cbf[0] == pytest.approx(60)
    assert found.att[0] == 0.25
    assert found.cbf[1] == 0
    assert found.cbf[2] < 0
    assert np.isnan(found.cbf[3])
    assert found.att[4] == 3
    assert np.isnan(found.att_standard_error).all()


def test_no_voxel_and_one_delay():
    assert fit_least_squares(np.empty((0, 6)), PCASL).cbf.shape == (0,)
    single = LabelingScheme("PCASL", (1.8,), (1.8,), 0.85, 1.65)
    found = fit_least_squares([[0.009]], single)
    assert found.cbf[0] == pytest.approx(86.3, abs=1e-3)
    assert found.flag[0] == Flag.BEFORE_FIRST_DELAY
    assert np.isnan(found.cbf_standard_error[0])


def test_first_delay_of_zero():
    scheme = dataclasses.replace(PCASL, delay=(0.0, *DELAYS[1:]))
    found = fit_least_squares(curves(scheme, np.array([50.0]), np.array([0.4])), scheme)
    assert_allclose([found.cbf[0], found.att[0]], [50, 0.4], rtol=1e-5)


def phantom(data_dir, name):
    folder = data_dir / "phantoms" / name

    def load(pattern):
        return nib.load(next(folder.rglob(pattern))).get_fdata()

    return load, load("*label-gm_desc-pure_mask.nii.gz") > 0


@pytest.mark.parametrize("name", ["varied_multi_clean", "hrgt_multi_clean"])
def test_phantom_is_recovered(data_dir, name):
    load, grey = phantom(data_dir, name)
    series = load("*_asl.nii.gz")[grey]
    signal = 0.9 * (series[:, ::2] - series[:, 1::2]) / load("*_m0scan.nii.gz")[grey][:, None]
    scheme = dataclasses.replace(PCASL, model="full")
    found = fit_least_squares(signal, scheme, t1_tissue=load("*_desc-truth_T1map.nii.gz")[grey])
    for value, pattern, limit in (
        (found.cbf, "*truth_cbf*", 0.1),
        (found.att, "*truth_att*", 2e-3),
    ):
        assert np.sqrt(np.mean((value - load(pattern)[grey]) ** 2)) <= limit


@pytest.mark.parametrize("kind", ["single", "pasl"])
def test_phantoms_of_one_delay_equal_the_closed_form(data_dir, kind):
    load, grey = phantom(data_dir, f"varied_{kind}_clean")
    m0, control, label = load("*_asl.nii.gz")[grey].T
    constants = {"labeling_efficiency": 0.98 if kind == "pasl" else 0.85, "t1_blood": 1.65}
    if kind == "pasl":
        scheme = LabelingScheme("PASL", (1.8,), (0.8,), 0.98, 1.65)
        by_hand = pasl_cbf(control - label, m0, inversion_time=1.8, bolus_cutoff=0.8, **constants)
    else:
        scheme = LabelingScheme("PCASL", (1.8,), (1.8,), 0.85, 1.65)
        by_hand = pcasl_cbf(
            control - label, m0, post_labeling_delay=1.8, labeling_duration=1.8, **constants
        )
    signal = (0.9 * (control - label) / m0)[:, None]
    assert_allclose(delay_cbf(signal, scheme)[:, 0], by_hand, rtol=1e-9)
    assert_allclose(fit_least_squares(signal, scheme).cbf, by_hand, rtol=1e-6)


def test_delay_maps_and_weighted_delay():
    cbf, att = np.full(9, 70.0), np.linspace(0.3, 2.7, 9)
    signal = curves(PCASL, cbf, att, offset=0.04)
    maps = delay_cbf(signal, PCASL, offset=0.04)
    arrived = np.array(DELAYS) + 0.04 >= att[:, None]
    assert_allclose(maps[arrived], 70)
    assert np.all(maps[~arrived] < 70)
    assert_allclose(mean_delay_cbf(signal, PCASL, offset=0.04), maps.mean(axis=1))
    assert_allclose(weighted_delay_att(signal, PCASL, offset=0.04), att, atol=1e-3)
    assert np.isnan(weighted_delay_att(-signal[:1], PCASL)).all()
