"""Reactivity from two runs of one head: the number, where it comes from, and why there is none."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import reactivity_scans as scans
from bids_validation import validator_errors

from cereflow_bids.bids.derivatives import DerivativeWriter
from cereflow_bids.bids.reactivity_pairs import Pair, Unpaired
from cereflow_bids.bids.reactivity_record import read_reactivity, write_reactivity
from cereflow_bids.bids.spec import output_specs
from cereflow_bids.bids.status import read_status, write_status
from cereflow_bids.cli.cereflow import main
from cereflow_bids.regions.atlas import PACKAGED
from cereflow_bids.report.reactivity import reactivity_sections
from cereflow_bids.workflow.reactivity import measure_reactivity
from cereflow_bids.workflow.reactivity_plan import plan_reactivity
from cereflow_bids.workflow.reactivity_sidecar import differences
from cereflow_bids.workflow.settings import Settings

REST, ACZ = "sub-01_acq-rest", "sub-01_acq-acz"
PAIR = Pair("sub-01", REST, ACZ, ("acq-rest", "acq-acz"))


def call(bids: Path, base: Path) -> int:
    return main(
        [
            *(str(bids), str(base / "out"), "participant", "-w", str(base / "work")),
            *("--nprocs", "1", "--skip-bids-validation"),
        ]
    )


@pytest.fixture(scope="module")
def processed(tmp_path_factory):
    """Return dataset and processing folder: 30 % more flow, the head moved by 5 mm and 4°."""
    base = tmp_path_factory.mktemp("reactivity")
    bids, head = base / "bids", scans.head()
    scans.describe(bids)
    scans.write_run(bids, REST, scans.sampled(head), seed=1)
    scans.write_run(bids, ACZ, scans.sampled(head, factor=1.3, moved=True), seed=2)
    assert call(bids, base) == 0
    return bids, base


@pytest.fixture
def copy(processed, tmp_path):
    """Return a copy of dataset and results that a test may spoil."""
    for name in ("bids", "out"):
        shutil.copytree(processed[1] / name, tmp_path / name)
    (tmp_path / "work").mkdir()
    return tmp_path


def settings(base: Path) -> Settings:
    return Settings(base / "bids", base / "out", base / "work")


def image(out: Path, key: str) -> np.ndarray:
    return nib.load(DerivativeWriter(out).path(key, REST)).get_fdata()


def test_thirty_percent_more_flow_is_found_where_the_head_has_moved(processed):
    out = processed[1] / "out"
    cvr, error = image(out, "cvr"), image(out, "cvr_standard_error")
    known = np.isfinite(cvr)
    assert known.sum() > 0.9 * image(out, "brain_mask").sum()
    assert np.median(cvr[known]) == pytest.approx(30, abs=1)
    grey = known & (image(out, "gm_probability") > 0.7)
    assert cvr[grey].mean() == pytest.approx(30, abs=3)
    white = known & (image(out, "wm_probability") > 0.95)
    spread = 1.4826 * np.median(np.abs(cvr - np.median(cvr[white]))[white])
    # Noise of M0 and what the movement leaves are in the spread and not in the standard error.
    assert 0.8 < spread / np.median(error[white]) < 1.8


def test_the_known_movement_is_undone(processed):
    out = processed[1] / "out"
    content = json.loads((out / "sub-01/perf" / f"{REST}_cvr.json").read_text())
    assert content["Alignment"]["Angle"] == pytest.approx(4, abs=0.3)
    lines = DerivativeWriter(out).path("cvr_transform", REST).read_text().splitlines()
    told = next(line for line in lines if line.startswith("Parameters:"))
    numbers = np.array(told.split()[1:], dtype=float)
    flip = np.diag([-1, -1, 1])
    expected = scans.motion()
    np.testing.assert_allclose(
        flip @ numbers[:9].reshape(3, 3) @ flip, expected[:3, :3], atol=0.01
    )
    np.testing.assert_allclose(flip @ numbers[9:], expected[:3, 3], atol=0.4)
    first, second = image(out, "aslref"), image(out, "cvr_reference")
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.98


def test_regions_and_sidecar_tell_the_change_and_its_making(processed):
    out = processed[1] / "out"
    table = pd.read_csv(DerivativeWriter(out).path("cvr_regions", REST), sep="\t")
    known = table[table["reason"].isna()]
    assert len(known) > 70
    large = known[known["n_voxels"] > 50]
    # Partial volume differs between the positions; next to ventricles (caudate) it matters most.
    assert (large["cvr"] - 30).abs().quantile(0.9) < 5
    assert known["cvr"].median() == pytest.approx(30, abs=2)
    content = json.loads((out / "sub-01/perf" / f"{REST}_cvr.json").read_text())
    assert content["Units"] == "%"
    assert {f"bids:raw:sub-01/perf/{run}_asl.nii.gz" for run in (REST, ACZ)} <= set(
        content["Sources"]
    )
    assert content["Baseline"]["Run"] == REST
    assert {one["name"] for one in content["Stimulus"]["Parameters"]} > {"PostLabelingDelay"}
    assert not any("differs" in note for note in content["Notes"])
    median = np.nanmedian(image(out, "cvr_standard_error"))
    assert any(f"standard error above {median:.0f} %" in note for note in content["Notes"])


def test_outputs_are_in_the_contract_and_valid(processed):
    out = processed[1] / "out"
    record = read_reactivity(out, "sub-01")
    writer = DerivativeWriter(out)
    keys = [key for key in output_specs() if key.startswith(("cvr", "figure_cvr"))]
    expected = {
        str(writer.path(key, REST, atlas=atlas).relative_to(out))
        for key in keys
        for atlas in PACKAGED
    }
    found = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert expected <= found
    assert set(record.outputs) == {name for name in expected if "figures" not in name}
    assert not validator_errors(out)


def test_the_report_shows_the_map_and_its_limits(processed):
    page = (processed[1] / "out" / "sub-01.html").read_text()
    assert "Cerebrovascular reactivity: sub-01" in page
    assert "The map is no diagnosis." in page
    assert "same constants" in page


def test_what_is_there_is_not_made_again_and_what_is_lost_comes_back(copy, processed):
    cvr = DerivativeWriter(copy / "out").path("cvr", REST)
    before = {path: path.stat().st_mtime_ns for path in (copy / "out").rglob("*.nii.gz")}
    shutil.copytree(processed[1] / "bids", copy / "bids", dirs_exist_ok=True)
    content = cvr.read_bytes()
    assert call(copy / "bids", copy) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    cvr.unlink()
    assert call(copy / "bids", copy) == 0
    assert cvr.read_bytes() == content
    others = [path for path in before if "cvr" not in path.name and "stimulus" not in path.name]
    assert all(path.stat().st_mtime_ns == before[path] for path in others)


def test_a_pending_run_costs_the_map_and_not_the_other_run(copy, capsys):
    sidecar = copy / "bids" / "sub-01" / "perf" / f"{ACZ}_asl.json"
    values = json.loads(sidecar.read_text())
    del values["PostLabelingDelay"]
    sidecar.write_text(json.dumps(values))
    assert call(copy / "bids", copy) == 3
    writer = DerivativeWriter(copy / "out")
    assert writer.path("cbf", REST).is_file()
    assert not writer.path("cvr", REST).exists()
    record = read_reactivity(copy / "out", "sub-01")
    assert record.state == "refused"
    assert f"the stimulus run {ACZ} is pending" in record.message
    assert "no reactivity map" in capsys.readouterr().err
    assert "No reactivity map" in (copy / "out" / "sub-01.html").read_text()


def test_a_bug_in_the_comparison_spares_the_runs_and_is_told(copy, monkeypatch, capsys):
    writer = DerivativeWriter(copy / "out")
    writer.path("cvr_regions", REST).unlink()

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("cereflow_bids.workflow.reactivity.reactivity_table", broken)
    assert call(copy / "bids", copy) == 1
    assert "RuntimeError: a bug" in capsys.readouterr().err
    assert read_reactivity(copy / "out", "sub-01").state == "failed"
    assert writer.path("cbf", REST).is_file()
    assert not list((copy / "out").rglob("*_cvr.*"))
    assert "comparison failed" in (copy / "out" / "sub-01.html").read_text()


def test_swapped_marks_give_the_change_the_other_way(copy):
    measure_reactivity(copy / "out", replace(PAIR, baseline=ACZ, stimulus=REST))
    path = DerivativeWriter(copy / "out").path("cvr", ACZ)
    assert np.nanmedian(nib.load(path).get_fdata()) == pytest.approx(100 / 1.3 - 100, abs=1)


def test_relative_maps_are_not_compared(copy):
    writer = DerivativeWriter(copy / "out")
    for run in (REST, ACZ):
        writer.path("cbf", run).rename(writer.path("cbf_relative", run))
    todo, news = plan_reactivity([PAIR], [REST, ACZ], settings(copy))
    assert (todo, news) == ([], {"01"})
    record = read_reactivity(copy / "out", "sub-01")
    assert record.state == "refused"
    assert "scaled by their own mean" in record.message
    assert not writer.path("cvr", REST).exists()


def test_marks_that_became_unclear_or_went_away_take_the_map_with_them(copy):
    unclear = Unpaired("sub-01", "several runs could be the pair.", "leave one.")
    cvr = DerivativeWriter(copy / "out").path("cvr", REST)
    assert plan_reactivity([unclear], [REST, ACZ], settings(copy)) == ([], {"01"})
    assert not cvr.exists()
    assert read_reactivity(copy / "out", "sub-01").message == unclear.what
    assert plan_reactivity([unclear], [REST, ACZ], settings(copy)) == ([], set())
    assert plan_reactivity([], [REST, ACZ], settings(copy)) == ([], {"01"})
    assert read_reactivity(copy / "out", "sub-01") is None


def test_a_map_outlives_a_call_on_one_run_only_if_that_has_not_changed(copy):
    cvr = DerivativeWriter(copy / "out").path("cvr", REST)
    assert plan_reactivity([], [ACZ], settings(copy)) == ([], set())
    assert cvr.exists()
    status = read_status(copy / "out", ACZ)
    write_status(copy / "out", replace(status, fingerprint="other settings"))
    assert plan_reactivity([], [ACZ], settings(copy)) == ([], {"01"})
    assert not cvr.exists()
    assert plan_reactivity([PAIR], [REST, ACZ], settings(copy)) == ([PAIR], {"01"})


def test_a_comparison_that_was_killed_is_taken_up_again(copy):
    record = read_reactivity(copy / "out", "sub-01")
    write_reactivity(copy / "out", replace(record, state="waiting", outputs=()))
    assert plan_reactivity([PAIR], [REST, ACZ], settings(copy))[0] == [PAIR]


def test_a_head_that_does_not_fit_is_refused(copy):
    writer = DerivativeWriter(copy / "out")
    mask = nib.load(writer.path("brain_mask", ACZ))
    corner = np.zeros(mask.shape)
    corner[:12, :12, :6] = 1
    nib.save(nib.Nifti1Image(corner, mask.affine), writer.path("brain_mask", ACZ))
    with pytest.raises(Exception, match="too little to compare"):
        measure_reactivity(copy / "out", PAIR)


def test_other_labelling_is_noted_and_what_was_fitted_is_not():
    def record(delay: float, noise: float) -> dict:
        fitted = {"name": "Noise", "value": noise, "note": "estimated from the data"}
        told = {"name": "PostLabelingDelay", "value": delay, "unit": "s", "note": ""}
        return {"Quantification": "consensus", "Parameters": [told, fitted]}

    (note,) = differences(PAIR, [record(1.8, 0.1), record(2.0, 0.2)])
    assert "PostLabelingDelay differs between the runs (baseline 1.8 s, stimulus 2.0 s)" in note
    assert differences(PAIR, [record(1.8, 0.1), record(1.8, 0.2)]) == []


def test_a_run_without_standard_error_leaves_the_map_without_one(copy):
    writer = DerivativeWriter(copy / "out")
    for key in ("cbf_standard_error", "cvr_standard_error"):
        writer.path(key, REST).unlink()
    written = measure_reactivity(copy / "out", PAIR)
    assert writer.path("cvr", REST) in written
    assert not writer.path("cvr_standard_error", REST).exists()
    content = json.loads((copy / "out/sub-01/perf" / f"{REST}_cvr.json").read_text())
    assert any("There is no standard error" in note for note in content["Notes"])


def test_a_run_without_regions_leaves_the_map_without_them(copy):
    writer = DerivativeWriter(copy / "out")
    for key in ("regions", "cvr_regions"):
        writer.path(key, REST).unlink()
    assert writer.path("cvr", REST) in measure_reactivity(copy / "out", PAIR)
    assert not writer.path("cvr_regions", REST).exists()
    (section,) = reactivity_sections(writer, "sub-01")
    assert section["done"]
    assert section["groups"] == []
    assert section["tiles"][0][1].startswith("+")


def test_the_plan_tells_the_pair_before_anything_is_done(processed, capsys):
    bids, base = processed
    main([str(bids), str(base / "new"), "participant", "--dry-run", "--skip-bids-validation"])
    assert f"compare  sub-01: {REST} (baseline), {ACZ}" in capsys.readouterr().out
    assert not (base / "new").exists()
