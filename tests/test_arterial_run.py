"""A BIDS run with label in arteries: from its volumes to maps, flags, sidecar and report."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from bids_validation import validator_errors

from cereflow_bids.bids.dataset import Selection, select_runs
from cereflow_bids.bids.index import open_dataset
from cereflow_bids.cli.cereflow import main
from cereflow_bids.perfusion.arterial_response import arterial_response
from cereflow_bids.perfusion.estimate import Flag
from cereflow_bids.perfusion.scheme import LabelingScheme
from cereflow_bids.quantification.quantify import quantify
from cereflow_bids.quantification.science import Science

REPEATS = 4
ABV = 0.03
ARRIVAL = 0.6
SCHEME = LabelingScheme(
    "PCASL", (0.25, 0.75, 1.25, 1.75, 2.25, 2.75), (1.8,) * 6, 0.85, 1.65, model="full"
)


def vessel_of(truth):
    """Return a column of voxels through the brain in which label passes on its way."""
    column = np.zeros(truth["att"].shape, bool)
    x, y, z = (n // 2 for n in column.shape)
    column[x - 8 : x + 8, y - 3 : y + 3, z - 3 : z + 3] = True
    return column & (truth["brain"] > 0) & (truth["att"] > ARRIVAL + 0.1)


@pytest.fixture(scope="module")
def dataset(data_dir, tmp_path_factory):
    """Return a dataset of four repeats with noise, and arteries in part of the brain."""
    bids = tmp_path_factory.mktemp("arteries") / "bids"
    source = data_dir / "phantoms" / "varied_multi_clean"
    shutil.copytree(source, bids, ignore=shutil.ignore_patterns("derivatives"))
    folder = bids / "sub-01" / "perf"
    folder.chmod(0o755)
    for path in folder.iterdir():
        path.chmod(0o644)
    pattern = source / "derivatives" / "truth" / "sub-01" / "perf"
    names = {"cbf": "desc-truth_cbf", "att": "desc-truth_att", "brain": "desc-brain_mask"}
    truth = {k: nib.load(pattern / f"sub-01_{v}.nii.gz").get_fdata() for k, v in names.items()}
    truth["vessel"] = vessel_of(truth)
    image = nib.load(folder / "sub-01_asl.nii.gz")
    m0 = nib.load(folder / "sub-01_m0scan.nii.gz").get_fdata()
    clean = image.get_fdata()
    response = arterial_response(SCHEME, ARRIVAL)[0]
    truth["added"] = ABV / 0.9 * (truth["vessel"] * m0)[..., None] * response
    clean[..., 1::2] -= truth["added"]
    rng = np.random.default_rng(7)
    series = np.tile(clean, REPEATS)
    series += m0[truth["brain"] > 0].mean() / 200 * rng.standard_normal(series.shape)
    nib.save(nib.Nifti1Image(series.astype(np.float32), image.affine), image.get_filename())
    sidecar = folder / "sub-01_asl.json"
    content = json.loads(sidecar.read_text())
    content["PostLabelingDelay"] *= REPEATS
    content["TotalAcquiredPairs"] *= REPEATS
    sidecar.write_text(json.dumps(content))
    context = folder / "sub-01_aslcontext.tsv"
    head, *rows = context.read_text().split()
    context.write_text("\n".join([head, *rows * REPEATS]) + "\n")
    return bids, truth


@pytest.fixture(scope="module")
def result(dataset, tmp_path_factory):
    base = tmp_path_factory.mktemp("result")
    command = [str(dataset[0]), str(base / "out"), "participant", "-w", str(base / "work")]
    assert main([*command, "--m0-smoothing", "0", "--nprocs", "1"]) == 0
    return base / "out" / "sub-01"


def load(folder, ending):
    return nib.load(folder / "perf" / f"sub-01_{ending}.nii.gz").get_fdata()


def test_arteries_are_found_where_they_are(result, dataset):
    truth = dataset[1]
    vessel = truth["vessel"]
    mask = load(result, "desc-brain_mask") > 0
    included = (load(result, "desc-fitFlags_dseg").astype(int) & Flag.ARTERIAL) > 0
    abv, error = load(result, "abv"), load(result, "desc-standardError_abv")
    assert vessel.sum() > 300
    assert included[vessel & mask].mean() > 0.9
    assert included[mask & ~vessel].mean() < 0.05
    assert np.median(abv[vessel & included]) == pytest.approx(ABV, rel=0.15)
    assert np.array_equal(abv > 0, included)
    assert np.isfinite(error[included]).mean() > 0.99
    assert np.isnan(error[mask & ~included]).all()


def test_without_the_component_cbf_of_vessels_is_far_off(dataset):
    """Against CBF of the same noise without arteries, since T1 of tissue is not that of blood."""
    bids, truth = dataset
    (asl,), _ = select_runs(open_dataset(bids), Selection())
    series, m0 = (
        nib.load(bids / "sub-01" / "perf" / f"sub-01_{name}.nii.gz").get_fdata()
        for name in ("asl", "m0scan")
    )
    mask = (truth["brain"] > 0) & (m0 > 0)
    clean = series.copy()
    clean[..., 1::2] += np.tile(truth["added"], REPEATS)

    def cbf(volumes, arterial):
        science = Science(arterial=arterial, m0_smoothing=0)
        found = quantify(asl, volumes, m0, mask, voxel_size=(3.5, 3.5, 5), science=science)
        (choice,) = (p for p in found.parameters if p.name == "ArterialComponent")
        assert (choice.value, "abv" in found.further) == (arterial, arterial == "auto")
        return found.cbf[truth["vessel"] & mask]

    should = cbf(clean, "none")
    # The spatial prior takes part of the excess for noise, since M0 shows no vessel.
    assert np.median(np.abs(cbf(series, "none") - should)) > 25
    assert np.median(np.abs(cbf(series, "auto") - should)) < 8


def parameters(folder):
    sidecar = json.loads((folder / "perf" / "sub-01_cbf.json").read_text())
    return {p["name"]: p for p in sidecar["Parameters"]}


def test_record_and_report_tell_of_it(result):
    assert validator_errors(result.parent) == []
    known = parameters(result)
    assert known["ArterialComponent"]["value"] == "auto"
    assert known["ArterialBayesFactor"]["value"] == 3
    assert json.loads((result / "perf" / "sub-01_abv.json").read_text())["Units"] == "1"
    page = (result.parent / "sub-01.html").read_text()
    assert "Arterial blood volume" in page
    assert "favour an arterial blood volume" in page
    assert (result / "figures" / "sub-01_desc-mosaic_abv.png").stat().st_size > 10_000
