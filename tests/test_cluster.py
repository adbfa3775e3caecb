"""Steps on other machines: nipype's plugins for clusters, driven by a stand-in for a cluster."""

import json

import pytest
import quick_steps
from stand_in_cluster import Cluster

from cereflow_bids.bids.status import read_status, read_statuses
from cereflow_bids.cli.cereflow import main
from cereflow_bids.errors import UsageError
from cereflow_bids.workflow import cluster as plugins
from cereflow_bids.workflow.plugin_file import read_plugin

STEPS = ("Motion", "Reference", "StandardSpace", "Tissue", "Perfusion", "Deposit")


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    one = Cluster(tmp_path / "cluster")
    monkeypatch.setenv("PATH", str(one.commands), prepend=":")
    monkeypatch.delenv("LOGNAME", raising=False)
    monkeypatch.setattr(plugins, "POLL_SECONDS", 0.1)
    monkeypatch.setattr(plugins, "RESULT_SECONDS", 0.1)
    return one


def call(folder, plugin, *more, labels=("01", "02")):
    bids = folder / "bids"
    if not bids.is_dir():
        quick_steps.dataset(bids, labels)
    (folder / "plugin.yaml").write_text(plugin)
    words = [bids, folder / "out", "participant", "-w", folder / "work", "--ignore", "t1w"]
    words += ["--use-plugin", folder / "plugin.yaml", "--skip-bids-validation", *more]
    return main([str(word) for word in words])


SLURM = "plugin: SLURM\nplugin_args: {sbatch_args: --mem=4G --time=60}\n"
PBS = "plugin: PBS\nplugin_args: {qsub_args: '-l mem=4gb'}\n"


@pytest.mark.parametrize(
    ("plugin", "command"), [(SLURM, "sbatch --mem=4G --time=60 "), (PBS, "qsub -l mem=4gb ")]
)
def test_every_step_is_a_job_and_runs_are_recorded_as_ever(cluster, tmp_path, plugin, command):
    labels = ("01", "02") if plugin is SLURM else ("01",)
    with cluster.node():
        assert call(tmp_path, plugin, labels=labels) == 0
        # Nothing is left to do: not one job more.
        jobs = cluster.submitted()
        assert call(tmp_path, plugin, "--clean-workdir") == 0
    assert cluster.submitted() == jobs
    assert not [path for path in (tmp_path / "work").rglob("*") if path.is_file()]
    assert len(jobs) == (len(STEPS) + 1) * len(labels)
    assert all(job.startswith(command) for job in jobs)
    ended = {tuple(line.split()[1:]) for line in cluster.journal.read_text().splitlines()}
    assert {(f"sub-{label}", step) for label in labels for step in STEPS} <= ended
    out = tmp_path / "out"
    assert {one.run: one.state for one in read_statuses(out)} == dict.fromkeys(
        [f"sub-{label}" for label in labels], "done"
    )
    assert all((out / f"sub-{label}.html").is_file() for label in labels)
    assert not cluster.cancelled()


def test_a_job_that_the_cluster_kills_fails_its_run_only_and_can_be_resumed(cluster, tmp_path):
    with cluster.node("sub_01_tissue"):
        assert call(tmp_path, SLURM) == 1
    out = tmp_path / "out"
    lost = read_status(out, "sub-01")
    assert (lost.state, lost.step) == ("failed", "Tissue")
    assert "job on the cluster ended without a result" in lost.message
    assert read_status(out, "sub-02").state == "done"
    (crash,) = (out / "logs").glob("crash-*tissue*.txt")
    assert "results file does not exist" in crash.read_text()
    before = len(cluster.submitted())
    with cluster.node():
        assert call(tmp_path, SLURM) == 0
    # Tissue and what follows; what was finished is not done again.
    assert len(cluster.submitted()) - before == len(STEPS[STEPS.index("Tissue") :]) + 1
    assert {one.state for one in read_statuses(out)} == {"done"}


def test_jobs_are_cancelled_when_the_call_gives_up(cluster, tmp_path):
    with cluster.node("sub_01_motion"):
        # Every further job would be of the other run.
        assert call(tmp_path, SLURM, "--stop-on-first-crash") == 1
    assert len(cluster.cancelled()) == 1
    assert "ended without a result" in read_status(tmp_path / "out", "sub-01").message
    assert "another run failed first" in read_status(tmp_path / "out", "sub-02").message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("plugin: [", "cannot be read"),
        ("- SLURM", "names no plugin"),
        ("plugin_args: {}", "names no plugin"),
        ("plugin: Slurm", "is none that cereflow runs with"),
        ("plugin: SLURMGraph", "does not wait"),
        ("plugin: SLURM\nplugin_arg: {}", "unknown key plugin_arg"),
        ("plugin: SLURM\nplugin_args: --mem=4G", "not an object"),
        ("plugin: SLURM\nplugin_args: {max_jobs: many}", "max_jobs is 'many'"),
        ("plugin: MultiProc\nplugin_args: {n_procs: true}", "n_procs is True"),
        ("plugin: MultiProc\nplugin_args: {memory_gb: -1}", "memory_gb is -1"),
        ("plugin: SLURM\nplugin_args: {sbatch_args: [--mem=4G]}", "not text"),
        ("plugin: MultiProc\nplugin_args: {status_callback: x}", "cannot be given"),
    ],
)
def test_a_wrong_plugin_file_is_refused_before_anything_is_done(
    cluster, tmp_path, capsys, text, told
):
    assert call(tmp_path, text) == 2
    said = capsys.readouterr().err
    assert told in said
    assert "To fix: " in said
    assert not (tmp_path / "out").exists()


def test_a_cluster_that_is_not_here_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "p.json").write_text(json.dumps({"plugin": "SLURM"}))
    with pytest.raises(UsageError, match="sbatch and squeue, which is not on PATH"):
        read_plugin(tmp_path / "p.json")


def test_numbers_of_the_file_win_over_those_of_the_options(tmp_path, monkeypatch):
    from cereflow_bids.workflow.distribution import plugin
    from cereflow_bids.workflow.settings import Settings

    # As fMRIPrep's documentation has it.
    text = "plugin: LegacyMultiProc\nplugin_args: {maxtasksperchild: 1, memory_gb: 6, n_procs: 3}"
    (tmp_path / "p.yml").write_text(text)
    chosen = read_plugin(tmp_path / "p.yml")
    runner, arguments = plugin(
        Settings(tmp_path, tmp_path, tmp_path, nprocs=8, mem_mb=1024, plugin=chosen)
    )
    assert runner.__name__ == "ResilientMultiProc"
    assert (arguments["n_procs"], arguments["memory_gb"]) == (3, 6)
