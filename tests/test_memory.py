"""What steps take is estimated from their images, and told where it is more than is allowed."""

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import quick_steps
from asl_run import run_of
from quick_calls import Place, Server

from cereflow_bids.bids.status import read_statuses
from cereflow_bids.cli.cereflow import main
from cereflow_bids.workflow.graph import participant_graph
from cereflow_bids.workflow.memory import largest_step, step_gb
from cereflow_bids.workflow.settings import Settings

LARGE = (128, 128, 40, 101)
STEPS = ("motion", "reference", "standard_space", "tissue", "perfusion", "deposit")


def run(shape, t1w=None):
    context = ["m0scan", *["control", "label"] * ((shape[3] - 1) // 2)]
    return replace(run_of(context, 1.8, shape), shape=shape, t1w=t1w)


def image(path: Path, shape, bytes_of_voxel=2) -> Path:
    """Write the header of an image, and a hole where its voxels would be."""
    header = nib.Nifti1Header()
    header.set_data_dtype({2: np.int16, 4: np.float32}[bytes_of_voxel])
    header.set_data_shape(shape)
    header["magic"], header["vox_offset"] = b"n+1", 352
    with path.open("wb") as file:
        file.write(header.binaryblock + bytes(4))
        file.truncate(352 + bytes_of_voxel * int(np.prod(shape)))
    return path


@pytest.fixture
def bids(tmp_path):
    """Return a dataset of two tiny runs, and of one with a large series."""
    folder = quick_steps.dataset(tmp_path / "bids", ("01", "02", "03"))
    perf = folder / "sub-02" / "perf"
    (perf / "sub-02_asl.nii.gz").unlink()
    image(perf / "sub-02_asl.nii", LARGE)
    kinds = ["m0scan", *["control", "label"] * 50]
    (perf / "sub-02_aslcontext.tsv").write_text("\n".join(["volume_type", *kinds, ""]))
    return folder


def dry(bids, *words):
    folder = bids.parent
    known = [bids, folder / "out", "participant", "-w", folder / "work", "--dry-run"]
    return main([str(word) for word in (*known, "--skip-bids-validation", *words)])


def plugin(bids, **content):
    path = bids.parent / "plugin.json"
    path.write_text(json.dumps(content))
    return "--use-plugin", path


def test_nodes_declare_more_for_a_larger_series(tmp_path):
    declared = []
    for shape in ((64, 64, 24, 7), LARGE):
        graph = participant_graph(
            [run(shape)], {"sub-01": ""}, Settings(tmp_path, tmp_path, tmp_path)
        )
        declared.append({name: graph.get_node(f"sub_01.{name}").mem_gb for name in STEPS})
    small, large = declared
    assert all(large[name] > small[name] for name in STEPS)
    # The series is in memory several times; what it takes with libraries is measured.
    assert large["motion"] - small["motion"] > 3 * 0.24


@pytest.mark.parametrize(
    ("shape", "peaks"),
    [
        ((56, 66, 38, 3), (153, 1224, 675, 957, 465, 563)),
        ((112, 132, 38, 61), (744, 1135, 778, 999, 865, 667)),
        ((112, 132, 38, 60), (735, 1267, 917, 1041, 888, 681)),
        ((112, 132, 38, 241), (0, 1226, 1552, 0, 0, 0)),
    ],
)
def test_no_step_was_measured_to_take_more_than_its_estimate(shape, peaks):
    one = replace(run((1, 1, 1, 3)), shape=shape)
    for name, peak in zip(STEPS, peaks, strict=True):
        assert step_gb(name, one) * 1024 >= peak, name
        # Nor is it so far off that steps wait for nothing.
        assert peak < 700 or step_gb(name, one) * 1024 < 1.75 * peak, name


def test_a_t1w_image_of_finer_voxels_takes_more(tmp_path):
    shape = (64, 64, 24, 7)
    one = run(shape, image(tmp_path / "one_T1w.nii", (170, 256, 256)))
    fine = run(shape, image(tmp_path / "fine_T1w.nii", (240, 360, 360)))
    assert step_gb("anatomy", one) == pytest.approx(1.6, abs=0.01)
    assert largest_step(fine)[0] == "anatomy"
    assert step_gb("anatomy", fine) > step_gb("anatomy", one) + 0.5
    lost = run(shape, tmp_path / "lost_T1w.nii")
    assert step_gb("anatomy", lost) == pytest.approx(step_gb("anatomy", one), abs=0.01)


@pytest.mark.parametrize("words", [("--nprocs", "1"), ("--nprocs", "2"), "MultiProc", "Linear"])
def test_a_run_that_takes_more_than_the_limit_is_named(bids, capsys, words):
    limit = ("--mem-mb", "2000")
    if words == "MultiProc":
        words, limit = plugin(bids, plugin=words, plugin_args={"memory_gb": 2}), ()
    elif words == "Linear":
        words = plugin(bids, plugin=words)
    assert dry(bids, *limit, *words) == 0
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith(f"memory: {'--mem-mb 2000' if limit else 'memory_gb 2'}")
    estimate = 10 * int(np.ceil(step_gb("motion", run(LARGE, bids)) * 102.4))
    assert f"sub-02 {estimate} MB (motion)" in told
    assert f"allow {estimate} MB" in told
    assert "sub-01" not in told


def test_nothing_is_told_where_all_fits_or_the_limit_is_not_ours(bids, capsys, monkeypatch):
    assert dry(bids) == 0
    assert dry(bids, "--mem-mb", "16000") == 0
    assert dry(bids, "--mem-mb", "2000", "--participant-label", "01") == 0
    monkeypatch.setattr("shutil.which", lambda name: name)
    # Jobs of a cluster have limits of their own.
    assert dry(bids, "--mem-mb", "2000", *plugin(bids, plugin="SLURM")) == 0
    assert capsys.readouterr().err == ""


def test_of_many_runs_the_largest_are_named(bids, capsys):
    for label in range(10, 20):
        quick_steps.dataset(bids.parent / f"{label}", (f"{label}",))
        (bids.parent / f"{label}" / f"sub-{label}").rename(bids / f"sub-{label}")
        t1w = bids / f"sub-{label}" / "anat" / f"sub-{label}_T1w.nii.gz"
        t1w.unlink()
        image(t1w.with_suffix(""), (300, 400, 400))
    assert dry(bids, "--mem-mb", "2000") == 0
    (told,) = capsys.readouterr().err.splitlines()
    assert told.count("sub-") == 3
    assert "and 8 runs more" in told


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_limit_below_every_step_is_refused(bids, capsys, dry_run):
    words = ("--mem-mb", "1200")
    folder = bids.parent
    if dry_run:
        code = dry(bids, *words)
    else:
        known = [bids, folder / "out", "participant", "-w", folder / "work", *words]
        code = main([str(word) for word in (*known, "--skip-bids-validation")])
    assert code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "--mem-mb 1200 is too little" in said.err
    assert "at least 1640 MB" in said.err
    assert not (folder / "out").exists()


def test_less_is_enough_without_t1w(bids, capsys):
    words = ("--participant-label", "01", "--ignore", "t1w", "--mem-mb")
    assert dry(bids, *words, "1240") == 0
    assert dry(bids, *words, "1100") == 2
    assert "at least 1230 MB" in capsys.readouterr().err
    few = plugin(bids, plugin="MultiProc", plugin_args={"memory_gb": 0.5})
    assert dry(bids, *few) == 2
    assert "memory_gb 0.5 of the plugin file is too little" in capsys.readouterr().err


def test_a_run_that_is_too_large_is_tried_all_the_same(tmp_path):
    bids = quick_steps.dataset(tmp_path / "bids", ("01", "02"))
    (bids / "sub-02" / "anat" / "sub-02_T1w.nii.gz").unlink()
    image(bids / "sub-02" / "anat" / "sub-02_T1w.nii", (300, 400, 400))
    server = Server(tmp_path)
    place = Place(tmp_path, bids, server)
    ended = place.call("none", 0, "--mem-mb", "2000")
    server.close()
    assert (ended.code, ended.said.count("memory: --mem-mb 2000")) == (0, 1)
    assert {one.run: one.state for one in read_statuses(place.out)} == {
        "sub-01": "done",
        "sub-02": "done",
    }
