"""The participant level on a phantom with known truth: numbers, resume, failures, exit codes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from bids_validation import validator_errors
from numpy.testing import assert_allclose

from cereflow_bids.bids.dataset import Selection
from cereflow_bids.bids.status import read_statuses
from cereflow_bids.cli.cereflow import main
from cereflow_bids.imaging.standard_space import downsample
from cereflow_bids.quantification.science import Science
from cereflow_bids.workflow.plan import make_plan
from cereflow_bids.workflow.settings import Settings


def files_of(folder: Path) -> dict[str, bytes]:
    """Return every file but records and logs."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "logs" not in path.parts
    }


def volumes(bids: Path) -> np.ndarray:
    return nib.load(bids / "sub-01" / "perf" / "sub-01_asl.nii.gz").get_fdata()


@pytest.fixture(scope="module")
def cohort(data_dir, tmp_path_factory):
    """Return a dataset: 01 the phantom; 02 without a delay; 03 an image with nothing in it."""
    bids = tmp_path_factory.mktemp("cohort") / "bids"
    source = data_dir / "phantoms" / "varied_single_clean"
    for label in ("01", "02", "03"):
        target = bids / f"sub-{label}" / "perf"
        target.mkdir(parents=True)
        for path in (source / "sub-01" / "perf").iterdir():
            copy = target / path.name.replace("sub-01", f"sub-{label}")
            shutil.copyfile(path, copy)
    shutil.copyfile(source / "dataset_description.json", bids / "dataset_description.json")
    sidecar = bids / "sub-02" / "perf" / "sub-02_asl.json"
    content = json.loads(sidecar.read_text())
    del content["PostLabelingDelay"]
    sidecar.write_text(json.dumps(content))
    image = bids / "sub-03" / "perf" / "sub-03_asl.nii.gz"
    shape = nib.load(image).shape
    nib.save(nib.Nifti1Image(np.full(shape, 7, np.float32), np.eye(4)), image)
    return bids


@pytest.fixture(scope="module")
def processed(cohort, tmp_path_factory):
    """Return output and work folder of one call on the whole cohort, and its exit code."""
    base = tmp_path_factory.mktemp("processed")
    before = files_of(cohort)
    code = main(
        [
            *(str(cohort), str(base / "out"), "participant", "-w", str(base / "work")),
            *("--m0-smoothing", "0", "--nprocs", "2"),
        ]
    )
    assert files_of(cohort) == before, "the input was written to"
    return base / "out", base / "work", code


def test_one_bad_participant_never_stops_the_others(processed):
    out, _, code = processed
    states = {status.run: status for status in read_statuses(out)}
    assert {run: status.state for run, status in states.items()} == {
        "sub-01": "done",
        "sub-02": "pending",
        "sub-03": "failed",
    }
    assert code == 1
    assert "--post-labeling-delay SECONDS" in states["sub-02"].fix
    assert "constant" in states["sub-03"].message
    for label in ("01", "02", "03"):
        assert (out / f"sub-{label}.html").is_file()
        assert (out / f"sub-{label}.pdf").is_file()


def test_the_map_is_the_consensus_formula_to_the_last_digit(processed, cohort):
    out, _, _ = processed
    m0, control, label = np.moveaxis(volumes(cohort), -1, 0)
    mask = nib.load(out / "sub-01" / "perf" / "sub-01_desc-brain_mask.nii.gz").get_fdata() > 0
    scale = 6000 * 0.9 * np.exp(1.8 / 1.65) / (2 * 0.85 * 1.65 * (1 - np.exp(-1.8 / 1.65)))
    cbf = nib.load(out / "sub-01" / "perf" / "sub-01_cbf.nii.gz").get_fdata()
    # Below a tenth of the median the M0 of neighbours stands in.
    inside = mask & (m0 >= 0.1 * np.median(m0[mask & (m0 > 0)]))
    assert inside.sum() > 15_000
    expected = scale * (control - label)[inside] / m0[inside]
    assert_allclose(cbf[inside], expected, rtol=1e-5, atol=1e-4)
    assert not cbf[~mask].any()


def test_mask_and_tissue_of_the_phantom_are_found(processed, data_dir):
    out, _, _ = processed
    truth = data_dir / "phantoms/varied_single_clean/derivatives/truth/sub-01/perf"
    mask = nib.load(out / "sub-01/perf/sub-01_desc-brain_mask.nii.gz").get_fdata() > 0
    brain = nib.load(truth / "sub-01_desc-brain_mask.nii.gz").get_fdata() > 0
    assert 2 * (mask & brain).sum() / (mask.sum() + brain.sum()) > 0.9
    gm = nib.load(out / "sub-01/perf/sub-01_label-GM_probseg.nii.gz").get_fdata()
    pure = nib.load(truth / "sub-01_label-gm_desc-pure_mask.nii.gz").get_fdata() > 0
    white = nib.load(truth / "sub-01_label-wm_desc-pure_mask.nii.gz").get_fdata() > 0
    assert gm[pure].mean() > 0.7
    assert gm[white].mean() < 0.2


def test_every_output_is_in_the_contract_and_every_promise_is_kept(processed):
    from cereflow_bids.bids.derivatives import DerivativeWriter
    from cereflow_bids.bids.spec import output_specs
    from cereflow_bids.regions.atlas import PACKAGED

    out, _, _ = processed
    writer = DerivativeWriter(out)
    specs = {k: s for k, s in output_specs().items() if s.when != "group level"}
    allowed = {writer.path(key, "sub-01", atlas=name) for key in specs for name in PACKAGED}
    sidecars = {path.with_name(path.name.partition(".")[0] + ".json") for path in allowed}
    found = {path for path in (out / "sub-01").rglob("*") if path.is_file()}
    assert found <= allowed | sidecars
    promised = [k for k, s in specs.items() if s.when in ("always", "calibration is possible")]
    kept = {writer.path(key, "sub-01", atlas=name) for key in promised for name in PACKAGED}
    assert kept <= found | {out / "sub-01.html", out / "sub-01.pdf"}


def test_the_derivatives_are_a_valid_bids_dataset(processed):
    out, _, _ = processed
    assert validator_errors(out) == []


def test_the_sidecar_lists_every_constant_with_its_origin(processed):
    out, _, _ = processed
    content = json.loads((out / "sub-01/perf/sub-01_cbf.json").read_text())
    origins = {p["name"]: (p["value"], p["origin"]) for p in content["Parameters"]}
    assert origins == {
        "PostLabelingDelay": (1.8, "sidecar"),
        "LabelingDuration": (1.8, "sidecar"),
        "LabelingEfficiency": (0.85, "sidecar"),
        "T1Blood": (1.65, "default"),
        "BloodBrainPartitionCoefficient": (0.9, "default"),
        "M0Source": ("included", "sidecar"),
        "RepetitionTimePreparation": (10.0, "sidecar"),
        "M0RecoveryFraction": (1.0, "derived"),
        "M0SmoothingFWHM": (0.0, "command line"),
        "OutlierRejection": ("none", "default"),
    }
    assert content["Sources"] == ["bids:raw:sub-01/perf/sub-01_asl.nii.gz"]
    assert any("skipped" in note for note in content["Notes"])


def call(cohort, out, work, *more):
    return main(
        [
            *(str(cohort), str(out), "participant", "-w", str(work), "--participant-label", "01"),
            *("--m0-smoothing", "0", "--nprocs", "1", *more),
        ]
    )


def test_a_second_run_does_nothing_twice(processed, cohort):
    out, work, _ = processed
    times = {path: path.stat().st_mtime_ns for path in (out / "sub-01").rglob("*")}
    assert call(cohort, out, work) == 0
    assert {path: path.stat().st_mtime_ns for path in (out / "sub-01").rglob("*")} == times


def test_other_spaces_repeat_no_step_but_the_last(processed, cohort, tmp_path):
    before, work, _ = processed
    out, steps = tmp_path / "out", work / "participants" / "sub_01"
    perf = Path("sub-01", "perf")
    call = [str(cohort), str(out), "participant", "-w", str(work), "--m0-smoothing", "0"]
    call += ["--participant-label", "01", "--skip-bids-validation", "--output-spaces"]
    results = {
        path: path.stat().st_mtime_ns
        for path in steps.glob("*/result_*.pklz")
        if path.parent.name != "deposit"
    }
    assert len(results) == 5
    assert main([*call, "native"]) == 0
    assert not list((out / perf).glob("*_space-*")) + list((out / perf).glob("*_from-*"))
    assert main([*call, "T1w", "MNI152NLin2009aSym:res-1"]) == 0
    name = "sub-01_space-MNI152NLin2009aSym_res-{}_{}.nii.gz"
    found = {path.name for path in (out / perf).glob("*_space-*.nii.gz")}
    assert found == {name.format(1, suffix) for suffix in ("cbf", "aslref")}
    notes = json.loads((out / perf / "sub-01_cbf.json").read_text())["Notes"]
    assert sum("T1w space was asked for" in note for note in notes) == 1
    assert {path: path.stat().st_mtime_ns for path in results} == results
    # Both grids show the same map, at the same place.
    fine, coarse = (nib.load(one) for one in (
        out / perf / name.format(1, "cbf"), before / perf / name.format(2, "cbf"),
    ))  # fmt: skip
    averaged, affine = downsample(fine.get_fdata(), fine.affine, 2)
    assert_allclose(affine, coarse.affine)
    both = (averaged > 0) & (coarse.get_fdata() > 0)
    assert both.sum() > 0.95 * (coarse.get_fdata() > 0).sum()
    assert np.corrcoef(averaged[both], coarse.get_fdata()[both])[0, 1] > 0.98


def test_a_rerun_restores_what_was_lost_from_the_work_folder(processed, cohort):
    out, work, _ = processed
    before = files_of(out)
    steps = [work / "participants/sub_01" / name for name in ("standard_space", "perfusion")]
    times = {step: (step / f"result_{step.name}.pklz").stat().st_mtime_ns for step in steps}
    (out / "sub-01/perf/sub-01_cbf.nii.gz").unlink()
    (out / "sub-01.pdf").unlink()
    assert call(cohort, out, work) == 0
    assert files_of(out) == before
    assert {s: (s / f"result_{s.name}.pklz").stat().st_mtime_ns for s in steps} == times


def test_a_killed_run_taken_up_again_is_bit_identical_to_an_undisturbed_one(
    processed, cohort, tmp_path
):
    out, _, _ = processed
    words = [str(cohort), str(tmp_path / "out"), "participant", "-w", str(tmp_path / "work")]
    more = ["--participant-label", "01", "--m0-smoothing", "0", "--nprocs", "1"]
    code = f"from cereflow_bids.cli.cereflow import main; main({[*words, *more]!r})"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 180
        while not any(s.step == "StandardSpace" for s in read_statuses(tmp_path / "out")):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
    masks = tmp_path / "work" / "participants" / "sub_01" / "reference"
    time_of_mask = (masks / "result_reference.pklz").stat().st_mtime_ns
    assert call(cohort, tmp_path / "out", tmp_path / "work") == 0
    assert (masks / "result_reference.pklz").stat().st_mtime_ns == time_of_mask
    first = {k: v for k, v in files_of(out).items() if k.startswith("sub-01")}
    second = {k: v for k, v in files_of(tmp_path / "out").items() if k.startswith("sub-01")}
    assert sorted(first) == sorted(second)
    assert [name for name in first if first[name] != second[name]] == []


def test_a_changed_sidecar_makes_a_finished_run_new(processed, cohort, tmp_path):
    out, work, _ = processed
    copy = tmp_path / "bids"
    shutil.copytree(cohort, copy)
    settings = Settings(copy, out, work, Selection(("01",)), Science(m0_smoothing=0.0))
    assert [run.stem for run in make_plan(settings).finished] == ["sub-01"]
    assert not make_plan(replace(settings, science=Science(m0_smoothing=5.0))).finished
    sidecar = copy / "sub-01/perf/sub-01_asl.json"
    content = json.loads(sidecar.read_text()) | {"LabelingEfficiency": 0.8}
    sidecar.write_text(json.dumps(content))
    assert [run.stem for run in make_plan(settings).todo] == ["sub-01"]


def test_only_pending_runs_give_their_own_exit_code(cohort, tmp_path, capsys):
    code = main(
        [
            *(str(cohort), str(tmp_path / "out"), "participant", "-w", str(tmp_path / "work")),
            *("--participant_label", "sub-02", "--skip-bids-validation"),
        ]
    )
    assert code == 3
    assert "--post-labeling-delay SECONDS" in capsys.readouterr().err


def test_a_dry_run_writes_nothing(cohort, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # As the call itself would end: one run waits for a parameter.
    assert main([str(cohort), "out", "participant", "--dry-run"]) == 3
    assert list(tmp_path.iterdir()) == []
    assert "to do    sub-01" in capsys.readouterr().out


def test_group_level_summarises_what_is_done(processed, cohort):
    import pandas as pd

    out, _, _ = processed
    assert main([str(cohort), str(out), "group"]) == 0
    table = pd.read_csv(out / "group_cbf.csv")
    assert set(table["participant"]) == {"sub-01"}
    gm = table.query("metric == 'gm_mean_cbf'")["value"].item()
    assert 20 < gm < 120
    assert (out / "group.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    "output",
    [".", "sub-01/derivatives", "derivatives", "out"],
)
def test_output_into_raw_data_is_refused(cohort, output, capsys):
    assert main([str(cohort), str(cohort / output), "participant"]) == 2
    assert "output_dir lies inside the raw dataset" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["/nowhere/at/all", "out", "participant"],
        ["{bids}", "out", "participant", "--participant-label", "99"],
        ["{bids}", "out", "participant", "--bids-filter-file", "/nowhere.json"],
    ],
)
def test_usage_errors_have_exit_code_2_and_no_traceback(
    cohort, arguments, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main([word.format(bids=cohort) for word in arguments]) == 2
    message = capsys.readouterr().err
    assert "To fix:" in message
    assert "Traceback" not in message


def two_phantoms(cohort, folder):
    """Return a dataset with the phantom twice."""
    bids = folder / "bids"
    for label in ("01", "04"):
        (bids / f"sub-{label}" / "perf").mkdir(parents=True)
        for path in (cohort / "sub-01" / "perf").iterdir():
            copy = bids / f"sub-{label}" / "perf" / path.name.replace("sub-01", f"sub-{label}")
            shutil.copyfile(path, copy)
    shutil.copyfile(cohort / "dataset_description.json", bids / "dataset_description.json")
    return bids


def workers(pid: int) -> list[int]:
    """Return the processes that do the work: children of the server that forks them (Linux)."""
    found = [pid]
    for _ in range(2):
        tasks = [task for one in found for task in Path(f"/proc/{one}/task").iterdir()]
        found = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    return found


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds workers through /proc")
def test_a_killed_worker_costs_its_runs_and_not_the_call(cohort, tmp_path):
    bids, out = two_phantoms(cohort, tmp_path), tmp_path / "out"
    words = [str(bids), str(out), "participant", "-w", str(tmp_path / "work"), "--nprocs", "2"]
    code = f"import sys; from cereflow_bids.cli.cereflow import main; sys.exit(main({words!r}))"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not any(status.step == "Reference" for status in read_statuses(out)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(workers(process.pid)[0], signal.SIGKILL)
    _, told = process.communicate(timeout=180)
    assert process.returncode == 1
    failed = [status for status in read_statuses(out) if status.state == "failed"]
    assert failed
    assert all("killed" in status.message and "--mem-mb" in status.fix for status in failed)
    assert {status.state for status in read_statuses(out)} <= {"failed", "done"}
    assert "Traceback" not in told


def test_a_damaged_result_is_made_again(processed, cohort, tmp_path):
    out, work, _ = processed
    copies = tmp_path / "out", tmp_path / "work"
    for source, copy in zip((out, work), copies, strict=True):
        shutil.copytree(source, copy)
    steps = copies[1] / "participants" / "sub_01"
    (steps / "perfusion" / "result_perfusion.pklz").write_bytes(b"\x80\x04no pickle")
    (steps / "tissue" / "result_tissue.pklz").write_bytes(b"")
    (copies[0] / "logs" / "status" / "sub-01.json").write_text("")
    assert call(cohort, *copies) == 0
    assert files_of(copies[0] / "sub-01") == files_of(out / "sub-01")


def test_the_reason_of_a_failure_is_not_overwritten_by_other_steps(cohort, tmp_path, capsys):
    words = [str(cohort), str(tmp_path / "out"), "participant", "--participant-label", "01"]
    more = ["-w", str(tmp_path / "work"), "--nprocs", "2", "--quantification", "ge-product"]
    assert main([*words, *more]) == 1
    assert "use --quantification consensus" in capsys.readouterr().err


def test_old_maps_do_not_outlive_a_failure(processed, cohort, tmp_path):
    out, work, _ = processed
    copy = tmp_path / "out"
    shutil.copytree(out, copy)
    assert (copy / "sub-01/perf/sub-01_cbf.nii.gz").is_file()
    assert call(cohort, copy, work, "--quantification", "ge-product") == 1
    assert not list((copy / "sub-01").rglob("*_cbf.nii.gz"))


def test_the_work_folder_may_not_lie_in_the_raw_data(cohort, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(cohort)
    assert main([str(cohort), str(tmp_path / "out"), "participant"]) == 2
    assert "--work-dir lies inside" in capsys.readouterr().err
    assert not (cohort / "work").exists()
