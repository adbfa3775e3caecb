"""Degenerate runs have a clear outcome: no traceback, no silent zero, never an infinity."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from asl_run import halves, run_of

from cereflow_bids.bids.dataset import Selection, select_runs
from cereflow_bids.bids.index import open_dataset
from cereflow_bids.bids.status import read_statuses
from cereflow_bids.cli.cereflow import main
from cereflow_bids.errors import InputError
from cereflow_bids.imaging import masks
from cereflow_bids.perfusion.estimate import Flag
from cereflow_bids.quantification.quantify import quantify
from cereflow_bids.quantification.science import Science
from cereflow_bids.quantification.tissues import Tissues
from cereflow_bids.workflow import steps

FACTOR = 6000 * 0.9 * np.exp(1.8 / 1.65) / (2 * 0.85 * 1.65 * (1 - np.exp(-1.8 / 1.65)))
"""CBF over ΔM/M0 of the phantom with one delay."""

ONE, SEVERAL = "varied_single_clean", "varied_multi_clean"


class Dataset:
    """A BIDS dataset of spoiled copies of the phantoms, one participant each."""

    def __init__(self, bids, phantoms):
        self.bids, self.phantoms = bids, phantoms
        bids.mkdir(parents=True)
        shutil.copyfile(
            phantoms / ONE / "dataset_description.json", bids / "dataset_description.json"
        )

    def add(self, label, phantom=ONE, *, order=None, spoil=None, **sidecar):
        """Add a copy with volumes in another order, spoiled voxels or metadata."""
        folder = self.bids / f"sub-{label}" / "perf"
        folder.mkdir(parents=True)
        for path in (self.phantoms / phantom / "sub-01" / "perf").iterdir():
            shutil.copyfile(path, folder / path.name.replace("sub-01", f"sub-{label}"))
        stem = folder / f"sub-{label}"
        image, table = Path(f"{stem}_asl.nii.gz"), Path(f"{stem}_aslcontext.tsv")
        context = table.read_text().split()[1:]
        order = range(len(context)) if order is None else order
        loaded = nib.load(image)
        volumes = loaded.get_fdata(dtype=np.float32)[..., list(order)]
        if spoil is not None:
            spoil(volumes)
        nib.save(nib.Nifti1Image(volumes, loaded.affine), image)
        table.write_text("\n".join(["volume_type", *(context[k] for k in order)]) + "\n")
        values = json.loads(Path(f"{stem}_asl.json").read_text()) | sidecar
        for key, value in values.items():
            if key not in sidecar and isinstance(value, list) and len(value) == len(context):
                values[key] = [value[k] for k in order]
        Path(f"{stem}_asl.json").write_text(json.dumps(values))
        m0 = Path(f"{stem}_m0scan.json")
        if m0.is_file():
            m0.write_text(m0.read_text().replace("sub-01", f"sub-{label}"))

    def thin(self, label, slices):
        """Leave a slab of so many slices of a copy."""
        for path in (self.bids / f"sub-{label}" / "perf").glob("*.nii.gz"):
            image = nib.load(path)
            slab = image.get_fdata(dtype=np.float32)[:, :, 20 : 20 + slices]
            nib.save(nib.Nifti1Image(slab, image.affine), path)


@pytest.fixture
def dataset(data_dir, tmp_path):
    """Return an empty dataset to which copies of the phantoms are added."""
    return Dataset(tmp_path / "bids", data_dir / "phantoms")


def test_what_cannot_be_processed_fails_with_a_reason_and_a_way_out(dataset, tmp_path, capsys):
    dataset.add("constant", spoil=lambda v: v.fill(7))
    dataset.add("m0zero", spoil=lambda v: v[..., 0].fill(0))
    dataset.add("nopair", spoil=lambda v: v[..., 1].fill(np.nan))
    dataset.add("trzero", RepetitionTimePreparation=0)
    out = tmp_path / "out"
    words = [str(dataset.bids), str(out), "participant", "-w", str(tmp_path / "work")]
    assert main([*words, "--nprocs", "1", "--skip-bids-validation"]) == 1
    states = {status.run.removeprefix("sub-"): status for status in read_statuses(out)}
    assert {status.state for status in states.values()} == {"failed"}
    told = {
        "constant": "the reference image is constant",
        "m0zero": "the reference image is constant",
        "nopair": "no difference of the delay of 1.8 s has data",
        "trzero": "RepetitionTimePreparation is 0",
    }
    for label, words in told.items():
        assert words in states[label].message
        assert states[label].fix
    assert not list(out.rglob("*cbf.nii.gz"))
    assert "Traceback" not in capsys.readouterr().err


def test_a_single_slice_has_its_maps_and_its_report(dataset, tmp_path):
    """Seen from the side it is a line; and nothing tells of its motion, which is not 0."""
    dataset.add("slice", order=(0, 1, 2, 1, 2), TotalAcquiredPairs=2)
    dataset.thin("slice", 1)
    out = tmp_path / "out"
    words = [str(dataset.bids), str(out), "participant", "-w", str(tmp_path / "work")]
    assert main([*words, "--nprocs", "1", "--skip-bids-validation"]) == 0
    assert (out / "sub-slice.html").stat().st_size > 50_000
    (cbf,) = (out / "sub-slice").rglob("sub-slice_cbf.json")
    notes = json.loads(cbf.read_text())["Notes"]
    assert any("Motion correction skipped: too few slices" in note for note in notes)
    (table,) = (out / "sub-slice").rglob("*_desc-confounds_timeseries.tsv")
    header, *rows = [line.split("\t") for line in table.read_text().splitlines()]
    assert len(rows) == 5
    assert {row[header.index("framewise_displacement")] for row in rows} == {"n/a"}


def processed(dataset, label, folder, phantom=ONE, **choices):
    """Take a run through the steps, with the phantom's own tissues; return maps and record."""
    runs, rejected = select_runs(open_dataset(dataset.bids), Selection((label,)))
    assert not rejected, rejected
    (run,) = runs
    science = Science(**choices)
    moved = steps.motion(run, science, folder)
    found = steps.reference(run, science, folder, series=moved["series"])
    truth = dataset.phantoms / phantom / "derivatives/truth/sub-01/perf"
    images = {"series": moved["series"], "m0": found["m0"], "mask": found["mask"]} | {
        name: str(truth / f"sub-01_{file}.nii.gz")
        for name, file in (
            ("gm", "label-gm_desc-pure_mask"),
            ("wm", "label-wm_desc-pure_mask"),
            ("brain", "desc-brain_mask"),
        )
    }
    made = steps.perfusion(run, science, folder, images=images)
    paths = {k: made[k] for k in ("cbf", "cbf_standard_error")} | made["further"]
    maps = {key: nib.load(path).get_fdata() for key, path in paths.items() if path}
    mask = nib.load(found["mask"]).get_fdata() > 0
    gm = nib.load(images["gm"]).get_fdata() > 0
    assert not any(np.isinf(image).any() for image in maps.values())
    assert np.isfinite(maps["cbf"][mask]).all()
    return maps, mask, mask & gm, json.loads(Path(made["record"]).read_text())


def test_a_brain_that_no_two_volumes_share_is_an_error(dataset, tmp_path, monkeypatch):
    def spoil(volumes):
        volumes[:28, 20:40, 10:20, 1] = volumes[28:, 20:40, 10:20, 2] = np.nan

    drawn = np.zeros((56, 66, 38), bool)
    drawn[20:36, 20:40, 10:20] = True
    found = SimpleNamespace(mask=drawn, note="")
    monkeypatch.setattr(masks, "brain_mask", lambda *_image, **_threads: found)
    dataset.add("apart", spoil=spoil)
    ((run,), _) = select_runs(open_dataset(dataset.bids), Selection(("apart",)))
    moved = steps.motion(run, Science(), tmp_path)
    with pytest.raises(InputError, match="no voxel of the brain has a value in every volume"):
        steps.reference(run, Science(), tmp_path, series=moved["series"])


@pytest.mark.parametrize(
    ("slices", "told"), [(3, "could not be registered"), (8, "registered rigidly")]
)
def test_a_separate_m0_of_few_slices_is_not_said_to_be_registered(
    dataset, tmp_path, monkeypatch, slices, told
):
    dataset.add("thin", SEVERAL, order=(0, 1, 2, 3), PostLabelingDelay=[1.75] * 4)
    dataset.thin("thin", slices)
    everywhere = SimpleNamespace(mask=np.ones((56, 66, slices), bool), note="")
    monkeypatch.setattr(masks, "brain_mask", lambda *_image, **_threads: everywhere)
    ((run,), _) = select_runs(open_dataset(dataset.bids), Selection(("thin",)))
    found = steps.reference(run, Science(), tmp_path, series=str(run.asl))
    assert told in json.loads(Path(found["notes"]).read_text())[0]


def test_one_pair_is_left_beside_an_empty_one_and_m0_has_holes(dataset, tmp_path):
    hole = np.s_[24:28, 30:32, 12]
    true = nib.load(dataset.phantoms / ONE / "sub-01/perf/sub-01_asl.nii.gz").get_fdata()[hole]

    def spoil(volumes):
        volumes[..., 3:] = np.nan
        volumes[hole][..., 0] = 0

    dataset.add("poor", order=(0, 1, 2, 1, 2), spoil=spoil, TotalAcquiredPairs=2)
    maps, mask, gm, record = processed(dataset, "poor", tmp_path)
    (rejected,) = record["RejectedVolumes"]
    assert rejected["volumes"] == [3, 4]
    assert "0 % of its voxels" in rejected["reason"]
    assert 30 < maps["cbf"][gm].mean() < 80
    assert "cbf_standard_error" not in maps
    told = " ".join(record["Notes"])
    assert "standard error of CBF is unknown" in told
    m0 = nib.load(tmp_path / "m0.nii").get_fdata()
    missing = mask & (m0 < 0.1 * np.median(m0[mask & (m0 > 0)]))
    assert missing[hole].all()
    assert f"M0 is less than 10 % of its median in {missing.sum()} of" in told
    m0, control, label = np.moveaxis(true, -1, 0)
    np.testing.assert_allclose(maps["cbf"][hole], FACTOR * (control - label) / m0, rtol=0.2)


def test_a_first_delay_of_zero_is_a_delay_like_others(dataset, tmp_path):
    delays = [0.0, 0.0, 1.75, 1.75]
    dataset.add("zero", SEVERAL, order=(0, 1, 6, 7), PostLabelingDelay=delays)
    maps, _, gm, record = processed(dataset, "zero", tmp_path, SEVERAL, estimator="least-squares")
    known = {p["name"]: p["value"] for p in record["Parameters"]}
    assert known["PostLabelingDelay"] == [0, 1.75]
    assert 30 < maps["cbf"][gm].mean() < 100
    assert not record["Findings"]


def test_arrival_before_the_first_delay_is_flagged_and_said(dataset, tmp_path):
    """And the separate M0 is aligned with the controls that are not empty."""
    delays = [2.25, 2.25, 2.75, 2.75, 2.25, 2.25]
    order = (8, 9, 10, 11, 8, 9)
    empty = np.s_[..., 4]
    dataset.add(
        "late",
        SEVERAL,
        order=order,
        spoil=lambda v: v[empty].fill(np.nan),
        PostLabelingDelay=delays,
    )
    maps, _, gm, record = processed(dataset, "late", tmp_path, SEVERAL, estimator="least-squares")
    assert [one["volumes"] for one in record["RejectedVolumes"]] == [[4, 5]]
    flags = maps["fit_flags"][gm].astype(int)
    before = (flags & Flag.BEFORE_FIRST_DELAY) > 0
    assert before.mean() > 0.5
    np.testing.assert_allclose(maps["att"][gm][before], 2.25, rtol=1e-6)
    assert np.isfinite(maps["att"][gm][flags & Flag.NO_PERFUSION == 0]).all()
    assert any("ATT at or below the first delay (2.25 s)" in note for note in record["Notes"])


# -- arrays ---------------------------------------------------------------------------------------

SHAPE = (6, 5, 4)
DELAYS = [0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0]
CONTEXT = ("m0scan", *("control", "label") * 3)


def quantified(n_voxels, delays, flow=8.0, **choices):
    run = run_of(CONTEXT, delays, SHAPE)
    series = np.repeat(np.random.default_rng(1).normal(500, 1, (*SHAPE, 1)), 7, axis=-1)
    series[..., 0] += 500
    series[..., [2, 4, 6]] -= flow
    mask = np.zeros(SHAPE, bool)
    mask.ravel()[:n_voxels] = True
    return quantify(
        run, series, series[..., 0], mask, voxel_size=(3, 3, 3), science=Science(**choices),
        tissues=Tissues(*halves(SHAPE)),
    ), mask  # fmt: skip


@pytest.mark.parametrize("delays", [1.8, DELAYS])
@pytest.mark.parametrize("estimator", ["spatial", "least-squares"])
def test_a_mask_of_one_voxel_is_quantified(delays, estimator):
    result, mask = quantified(1, delays, estimator=estimator)
    assert 20 < result.cbf[mask].item() < 200
    assert not result.cbf[~mask].any()
    assert np.isfinite(result.standard_error).all()


@pytest.mark.parametrize("delays", [1.8, DELAYS])
def test_a_mask_of_no_voxel_is_an_error(delays):
    with pytest.raises(InputError, match="no voxel of the brain has a value in every volume"):
        quantified(0, delays)


@pytest.mark.parametrize("delays", [1.8, DELAYS])
def test_labels_that_are_copies_of_their_controls_are_an_error_and_no_map_of_zeros(delays):
    with pytest.raises(InputError, match="every control image equals its label image"):
        quantified(60, delays, flow=0.0)
