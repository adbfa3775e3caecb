"""The digital head, the simulated scans and the demo's own bookkeeping."""

import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from cereflow_bids.cli import demo as cli
from cereflow_bids.demo import brain, comparison, simulation
from cereflow_bids.demo.scans import DemoScan

COARSE = (4.0, 4.0, 5.0)
SHAPE = (60, 60, 40)
SCAN = simulation.Scan(
    labeling_duration=1.8,
    post_labeling_delay=1.8,
    recovery=4.0,
    echo_time=0.01,
    gain=1000,
)


@pytest.fixture(scope="module")
def head():
    return brain.participant(3, deficit=brain.LEFT_MIDDLE_CEREBRAL)


@pytest.fixture(scope="module")
def sampled(head):
    return brain.sample(head, SHAPE, brain.scan_grid(head, SHAPE, COARSE, 5))


def one_voxel(fractions, flow):
    """A head of a single voxel."""
    return brain.SampledHead(
        np.reshape(fractions, (4, 1, 1, 1)).astype(np.float32),
        np.reshape(flow, (2, 1, 1, 1)).astype(np.float32),
        np.ones((1, 1, 1), np.int32),
        np.eye(4),
    )


# The head


def test_every_region_of_the_atlas_is_in_the_scan(sampled):
    from cereflow_bids.regions.atlas import packaged_atlas

    assert set(sampled.regional_means()) == set(packaged_atlas().regions()["index"])


def test_tissue_keeps_its_volume_in_the_scanner(head, sampled):
    points = head.anatomy.tissue
    scale = np.linalg.det(head.placement[:3, :3])
    for kind, fraction in zip((1, 2, 3), sampled.fractions, strict=False):
        expected = (points == kind).sum() * scale
        assert fraction.sum() * np.prod(COARSE) == pytest.approx(expected, rel=0.01)


def test_true_flow_is_what_was_painted(head, sampled):
    """Pure grey voxels of a region have the region's flow, whatever their place."""
    inside = (sampled.fractions[0] > 0.999) & np.isin(sampled.labels, (8, 47))
    painted = np.vectorize(head.regional_flow.get)(sampled.labels[inside])
    assert inside.sum() > 100
    assert np.median(np.abs(sampled.true_cbf[inside] / painted - 1)) < 0.01
    white = sampled.fractions[1] > 0.999
    np.testing.assert_allclose(sampled.true_cbf[white], brain.WHITE_FLOW, rtol=5e-3)


def test_deficit_is_on_the_left_of_the_scanner(head, sampled):
    deficient = np.argwhere(np.isin(sampled.labels, (1015, 1024, 1030)))
    mirrored = np.argwhere(np.isin(sampled.labels, (2015, 2024, 2030)))
    left, right = (
        sampled.affine[:3, :3] @ points.mean(axis=0) + sampled.affine[:3, 3]
        for points in (deficient, mirrored)
    )
    assert left[0] < right[0] - 60
    means = sampled.regional_means()
    for label in (15, 24, 30):
        assert 0.55 < means[1000 + label] / means[2000 + label] < 0.8
    assert head.regional_flow[1024] == pytest.approx(0.6 * head.regional_flow[2024], rel=0.05)


def test_participants_differ_and_repeat(head):
    again = brain.participant(3, deficit=brain.LEFT_MIDDLE_CEREBRAL)
    other = brain.participant(4)
    np.testing.assert_array_equal(again.flow, head.flow)
    np.testing.assert_array_equal(again.placement, head.placement)
    assert other.regional_flow[2024] != head.regional_flow[2024]
    assert not np.allclose(other.placement, head.placement)


def test_unknown_region_is_refused():
    with pytest.raises(ValueError, match="no such region"):
        brain.participant(1, deficit=("left thumb",))


# The scans


def test_forward_model_meets_the_golden_number():
    """ΔM 10 and M0 1000 at τ = PLD = 1.8 s are 86.300 mL/100 g/min (SCIENCE § 8)."""
    voxel = one_voxel([1, 0, 0, 0], [86.300, 0])
    grey = simulation.TISSUES[0]
    m0 = SCAN.gain * grey.density * np.exp(-SCAN.echo_time / grey.t2)
    assert simulation.difference(voxel, SCAN).item() / m0 == pytest.approx(0.01, rel=1e-5)


def test_m0_recovers_with_the_tissue_s_own_t1():
    voxel = one_voxel([0, 0, 1, 0], [0, 0])
    fluid = simulation.TISSUES[2]
    expected = 1000 * np.exp(-0.01 / 0.75) * (1 - np.exp(-4 / 4.3))
    assert simulation.calibration(voxel, SCAN).item() == pytest.approx(expected)
    assert simulation.difference(voxel, SCAN).item() == 0
    assert fluid.t1 == 4.3


def test_orders_of_the_vendors():
    voxel = one_voxel([1, 0, 0, 0], [60, 0])
    delta = simulation.difference(voxel, SCAN).item()
    m0 = simulation.calibration(voxel, SCAN).item()
    quiet = simulation.Scan(**(SCAN.__dict__ | {"noise": 0.0}))
    rng = np.random.default_rng(0)
    siemens = simulation.siemens_series(voxel, quiet, rng, pairs=2).ravel()
    philips = simulation.philips_series(voxel, quiet, rng, pairs=2).ravel()
    perfusion, density = simulation.ge_images(voxel, quiet, rng, excitations=3)
    assert siemens[0] == philips[0] == density.item() == pytest.approx(m0)
    assert np.diff(siemens[1:]) == pytest.approx([-delta, delta, -delta, delta])
    assert philips[0::2] - philips[1::2] == pytest.approx([delta] * 3)
    assert siemens[1] < 0.15 * m0
    assert perfusion.item() == pytest.approx(32 * 3 * delta)


def test_noise_is_there_and_averages_out():
    voxel = brain.SampledHead(
        np.tile(np.float32([1, 0, 0, 0]), (20, 20, 20, 1)).transpose(3, 0, 1, 2),
        np.tile(np.float32([60, 0]), (20, 20, 20, 1)).transpose(3, 0, 1, 2),
        np.ones((20, 20, 20), np.int32),
        np.eye(4),
    )
    delta = simulation.difference(voxel, SCAN).mean()
    series = simulation.philips_series(voxel, SCAN, np.random.default_rng(1), pairs=1)
    found = series[..., 2] - series[..., 3]
    assert found.std() == pytest.approx(np.sqrt(2) * SCAN.noise * SCAN.gain, rel=0.05)
    assert found.mean() == pytest.approx(delta, rel=0.02)


def test_console_map_is_close_to_the_truth(sampled):
    series = simulation.philips_series(sampled, SCAN, np.random.default_rng(2), pairs=8)
    inside = (sampled.fractions[0] > 0.9) & (sampled.labels > 0)
    found = simulation.console_cbf(series, SCAN)[inside]
    assert found.mean() == pytest.approx(sampled.true_cbf[inside].mean(), rel=0.05)
    assert simulation.console_cbf(series, SCAN)[0, 0, 0] == 0


# The comparison


def write_outputs(folder, changes):
    """Write a derivatives folder of a GE run with 51 everywhere but in `changes`."""
    from cereflow_bids.bids.derivatives import DerivativeWriter
    from cereflow_bids.regions.atlas import packaged_atlas

    table = packaged_atlas().regions()
    table["mean"] = 51.0
    table["n_voxels"] = 100
    table["reason"] = "n/a"
    for label, change in changes.items():
        table.loc[table["index"] == label, ["mean", "reason"]] = change
    path = DerivativeWriter(folder).path("regions", "sub-01")
    path.parent.mkdir(parents=True)
    table.to_csv(path, sep="\t", index=False, na_rep="n/a")
    sidecar = path.with_name("sub-01_cbf.json")
    sidecar.write_text('{"Acquisition": {"Manufacturer": "GE"}}')


def ge_scan(archive):
    """A scan whose true CBF is 50 everywhere."""
    from cereflow_bids.regions.atlas import packaged_atlas

    truth = {int(label): 50.0 for label in packaged_atlas().regions()["index"]}
    return DemoScan("GE", archive, np.zeros((1, 1, 1), np.float32), np.eye(4), truth)


@pytest.fixture
def outputs(tmp_path):
    """A derivatives folder in which one region is 20 % high and one has no numbers."""
    write_outputs(tmp_path, {1024: [60.0, "n/a"], 10: [np.nan, "coverage"]})
    return tmp_path, ge_scan(tmp_path / "x.zip")


def test_comparison_finds_what_is_off(outputs):
    folder, scan = outputs
    table = comparison.compare([scan], folder)
    wrong = comparison.outside_tolerance(table).set_index("index")["error_percent"]
    assert set(wrong.index) == {10, 1024}
    assert wrong[1024] == pytest.approx(20)
    assert pd.isna(wrong[10])
    told = {line.split(": ")[-1] for line in comparison.complaints(table)}
    assert told == {"+20.0 %", "n/a (coverage)"}


@pytest.mark.parametrize(
    ("changes", "code"),
    [({}, 0), ({1024: [60.0, "n/a"]}, 1), ({1024: [np.nan, "voxels"]}, 1)],
)
def test_exit_code_tells_whether_all_was_recovered(tmp_path, monkeypatch, capsys, changes, code):
    """The commands are stood in for: what counts is what the demo makes of their results."""
    from cereflow_bids.cli import cereflow, convert
    from cereflow_bids.demo import scans

    folder = tmp_path / "demo"
    lines = []

    def process(line):
        lines.append(line)
        if "participant" in line:
            write_outputs(folder / "out", changes)
        return 0

    monkeypatch.setattr(scans, "write_scans", lambda where, seed: [ge_scan(where / "ge.zip")])
    monkeypatch.setattr(convert, "main", lambda line: 0)
    monkeypatch.setattr(cereflow, "main", process)
    assert cli.main([str(folder)]) == code
    assert ("precentral" in capsys.readouterr().out.split("Look at")[1]) == bool(code)
    assert lines[0][lines[0].index("-w") + 1] == str(folder / "work")
    (folder / "work").mkdir()
    cli.main([str(folder)])
    assert not (folder / "work").exists()


@pytest.mark.parametrize("terminal", [True, False])
def test_comparison_is_printed_with_a_summary(outputs, terminal):
    folder, scan = outputs
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=160, no_color=True)
    comparison.show(comparison.compare([scan], folder), console)
    text = stream.getvalue()
    assert "50.0 →  60.0 (+20.0 %)" in text
    assert "84 regions" in text
    assert "1 n/a" in text


def test_missing_scan_is_an_error_that_says_where_to_look(outputs):
    from dataclasses import replace

    from cereflow_bids.errors import InputError

    folder, scan = outputs
    with pytest.raises(InputError, match="logs/status"):
        comparison.compare([replace(scan, manufacturer="Philips")], folder)


def test_foreign_folder_is_left_alone(tmp_path, capsys):
    mine = tmp_path / "thesis.txt"
    mine.write_text("years of work")
    assert cli.main([str(tmp_path)]) == 2
    assert mine.read_text() == "years of work"
    assert "not made by an earlier demo" in capsys.readouterr().err


def test_earlier_demo_is_cleared_and_a_failing_command_is_told(tmp_path, capsys, monkeypatch):
    """The conversion refuses on its own: it is handed a ZIP that holds no DICOM."""
    from cereflow_bids.demo import scans

    def write_nothing(folder, seed):
        folder.mkdir()
        archive = folder / "empty.zip"
        archive.write_bytes(b"PK\5\6" + b"\0" * 18)
        return [DemoScan("GE", archive, np.zeros((1, 1, 1), np.float32), np.eye(4), {})]

    monkeypatch.setattr(scans, "write_scans", write_nothing)
    folder = tmp_path / "demo"
    for _ in range(2):
        assert cli.main([str(folder)]) == 1
        told = capsys.readouterr().err
        assert "cereflow-convert" in told
        assert "exit code" in told
        assert (folder / "zips" / "empty.zip").is_file()
        (folder / "bids").mkdir(exist_ok=True)
        (folder / "bids" / "stale").touch()
    cli.main([str(folder)])
    assert not (folder / "bids" / "stale").exists()
