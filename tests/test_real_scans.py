"""Vendor ZIPs to maps and reports: numbers against the console, and nobody's name anywhere."""

import itertools
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from identity import identifying_texts, leaks

from cereflow_bids.bids.derivatives import DerivativeWriter
from cereflow_bids.bids.spec import output_specs
from cereflow_bids.cli.cereflow import main
from cereflow_bids.regions.atlas import PACKAGED

SCANS = (
    "philips_pcasl3d_1delay_t1",
    "siemens_pcasl3d_1delay",
    "siemens_pasl3d",
    "siemens_xa30_asl2d_t1",
)


@pytest.fixture(scope="module")
def derivatives(real_bids, tmp_path_factory):
    """Return a function: stem of a real ZIP → its derivatives, each processed once."""
    done = {}

    def processed(stem: str) -> Path:
        if stem not in done:
            base = tmp_path_factory.mktemp(stem)
            words = [str(real_bids(stem)), str(base / "out"), "participant", "--nprocs", "1"]
            assert main([*words, "-w", str(base / "work")]) == 0
            done[stem] = base / "out"
        return done[stem]

    return processed


def image(out: Path, name: str) -> np.ndarray:
    return nib.load(out / "sub-01" / "perf" / f"sub-01_{name}.nii.gz").get_fdata()


def quality(out: Path) -> pd.Series:
    path = out / "sub-01" / "perf" / "sub-01_desc-qualitycontrol_cbf.tsv"
    return pd.read_csv(path, sep="\t").iloc[0]


def test_philips_agrees_with_the_console(derivatives, real_bids):
    """The mean is lower by a fifth; benchmarks/README.md has what it is made of."""
    stem = "philips_pcasl3d_1delay_t1"
    out = derivatives(stem)
    console_file = next(real_bids(stem).glob("derivatives/console/sub-01/perf/*_cbf.nii.gz"))
    console = nib.load(console_file)
    mask = image(out, "desc-brain_mask") > 0
    ours, theirs = image(out, "cbf")[mask], console.get_fdata()[mask]
    assert np.corrcoef(ours, theirs)[0, 1] >= 0.92
    assert 0.80 <= ours.mean() / theirs.mean() <= 1.15


def test_philips_parameters_are_traced_to_the_command_line(derivatives):
    out = derivatives("philips_pcasl3d_1delay_t1")
    content = json.loads((out / "sub-01/perf/sub-01_cbf.json").read_text())
    found = {p["name"]: (p["value"], p["origin"]) for p in content["Parameters"]}
    assert found["PostLabelingDelay"] == (2.0, "command line")
    assert found["LabelingDuration"] == (1.8, "command line")
    assert found["RepetitionTimePreparation"][0] == pytest.approx(4.25)
    assert any("suppression pulses is unknown" in note for note in content["Notes"])


@pytest.mark.parametrize(
    ("stem", "low", "high"),
    [("siemens_pcasl3d_1delay", 30, 60), ("philips_pcasl3d_1delay_t1", 15, 60)],
)
def test_grey_matter_flow_is_plausible(derivatives, stem, low, high):
    row = quality(derivatives(stem))
    print(f"{stem}: GM {row['gm_mean_cbf']:.1f}, WM {row['wm_mean_cbf']:.1f} mL/100 g/min")
    assert low < row["gm_mean_cbf"] < high
    assert row["gm_wm_ratio"] > 1.2
    assert row["mask_dice"] > 0.9
    assert 0.25 < row["qei"] < 1
    assert row["contrast_correlation"] > 0.2


def test_pasl_without_calibration_gives_relative_perfusion_and_says_why(derivatives):
    out = derivatives("siemens_pasl3d")
    folder = out / "sub-01" / "perf"
    assert not (folder / "sub-01_cbf.nii.gz").exists()
    content = json.loads((folder / "sub-01_desc-relative_cbf.json").read_text())
    assert "M0Type is Absent" in content["Refused"]
    relative = image(out, "desc-relative_cbf")
    assert relative[image(out, "desc-brain_mask") > 0].mean() == pytest.approx(1, abs=1e-3)
    assert quality(out)["mean_deltam_percent"] > 0


def test_slices_of_the_2d_scan_have_their_own_delay(derivatives):
    content = json.loads(
        (derivatives("siemens_xa30_asl2d_t1") / "sub-01/perf/sub-01_cbf.json").read_text()
    )
    timing = next(p["value"] for p in content["Parameters"] if p["name"] == "SliceTiming")
    assert len(timing) == 12
    assert max(timing) == pytest.approx(0.4225, abs=0.01)


def test_the_brain_lies_as_in_the_template(derivatives):
    """Up is up and front is front: CBF in template space follows the template's grey matter."""
    from cereflow_bids.imaging.standard_space import downsample
    from cereflow_bids.resources import template

    gm = nib.load(template("GM"))
    grey, _ = downsample(gm.get_fdata(), gm.affine, 2)
    cbf = image(derivatives("philips_pcasl3d_1delay_t1"), "space-MNI152NLin2009aSym_res-2_cbf")
    inside = cbf != 0
    upright = np.corrcoef(cbf[inside], grey[inside])[0, 1]
    assert upright > 0.3
    for axis in (1, 2):
        flipped = np.flip(grey, axis)
        assert np.corrcoef(cbf[inside], flipped[inside])[0, 1] < upright - 0.1


@pytest.mark.parametrize("stem", SCANS)
def test_every_output_is_in_the_contract(derivatives, stem):
    out = derivatives(stem)
    writer, allowed = DerivativeWriter(out), set()
    for key, spec in output_specs().items():
        if spec.when != "group level":
            for atlas, space in itertools.product(PACKAGED, ("", "T1w")):
                allowed.add(writer.path(key, "sub-01", "01", atlas=atlas, space=space))
    sidecars = {path.with_name(path.name.partition(".")[0] + ".json") for path in allowed}
    found = {path for path in (out / "sub-01").rglob("*") if path.is_file()}
    assert found - allowed - sidecars == set()
    assert len(found) > 30


@pytest.mark.parametrize("stem", SCANS)
def test_nobody_is_named_in_any_byte_of_the_outputs(derivatives, data_dir, stem):
    secrets = identifying_texts(data_dir / "zips" / f"{stem}.zip")
    assert leaks(derivatives(stem), secrets) == []
