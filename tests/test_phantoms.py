"""The simulated phantoms from their BIDS folders: metadata, volumes, `quantify`, truth."""

import nibabel as nib
import numpy as np
import pytest
from numpy.testing import assert_allclose

from cereflow_bids.bids.dataset import Selection, select_runs
from cereflow_bids.bids.index import open_dataset
from cereflow_bids.perfusion.single_delay import pasl_cbf, pcasl_cbf
from cereflow_bids.quantification.quantify import quantify
from cereflow_bids.quantification.science import Science

T1_GREY = 1.33
"""T1 of pure grey matter in the phantoms, s, within 0.3 %: `quantify` takes one number."""


@pytest.fixture
def phantom(data_dir):
    """Return a function: name → run, volumes, M0, mask of pure grey matter, loader of truth."""

    def opened(name):
        folder = data_dir / "phantoms" / name

        def load(pattern):
            return nib.load(next(folder.rglob(pattern))).get_fdata()

        runs, rejected = select_runs(open_dataset(folder), Selection())
        assert not rejected
        series = load("*_asl.nii.gz")
        separate = runs[0].calibration.source == "separate"
        m0 = load("*_m0scan.nii.gz") if separate else series[..., runs[0].context.index("m0scan")]
        return runs[0], series, m0, load("*label-gm_desc-pure_mask.nii.gz") > 0, load

    return opened


def rmse(found, truth):
    return np.sqrt(np.mean((found - truth) ** 2))


@pytest.mark.parametrize("name", ["varied_multi_clean", "hrgt_multi_clean"])
def test_several_delays_give_back_the_truth(phantom, name):
    run, series, m0, grey, load = phantom(name)
    science = Science(
        kinetic_model="full", estimator="least-squares", t1_tissue=T1_GREY, m0_smoothing=0
    )
    found = quantify(run, series, m0, grey, voxel_size=(3.5, 3.5, 5), science=science)
    assert rmse(found.cbf[grey], load("*truth_cbf*")[grey]) <= 0.1
    assert rmse(found.further["att"][grey], load("*truth_att*")[grey]) <= 2e-3


def test_the_default_reads_low_by_as_much_as_the_documents_say(phantom):
    """The phantom is of the full model, with T1 of tissue; the default is the consensus form."""
    run, series, m0, grey, load = phantom("varied_multi_clean")
    brain, white = load("*desc-brain_mask*") > 0, load("*label-wm_desc-pure_mask.nii.gz") > 0
    found = quantify(run, series, m0, brain, voxel_size=(3.5, 3.5, 5), science=Science())
    cbf, att = load("*truth_cbf*"), load("*truth_att*")
    for tissue, share, early in ((grey, -0.18, 0.10), (white, -0.49, 0.36)):
        assert found.cbf[tissue].mean() / cbf[tissue].mean() - 1 == pytest.approx(share, abs=0.02)
        assert np.mean((att - found.further["att"])[tissue]) == pytest.approx(early, abs=0.03)


@pytest.mark.parametrize("kind", ["single", "pasl"])
def test_one_delay_equals_the_closed_form(phantom, kind):
    run, series, _, grey, _ = phantom(f"varied_{kind}_clean")
    m0, control, label = np.moveaxis(series, -1, 0)
    constants = {"t1_blood": 1.65, "labeling_efficiency": 0.98 if kind == "pasl" else 0.85}
    if kind == "pasl":
        by_hand = pasl_cbf(control - label, m0, inversion_time=1.8, bolus_cutoff=0.8, **constants)
    else:
        by_hand = pcasl_cbf(
            control - label, m0, post_labeling_delay=1.8, labeling_duration=1.8, **constants
        )
    found = quantify(
        run, series, m0, grey, voxel_size=(3.5, 3.5, 5), science=Science(m0_smoothing=0)
    )
    assert_allclose(found.cbf[grey], by_hand[grey], rtol=1e-6)
