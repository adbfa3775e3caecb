"""An M0 that is as suppressed as the series is found, and true ones raise nothing."""

import json
import shutil
import subprocess
import zipfile

import dcm2niix
import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cereflow_bids.bids.status import read_statuses
from cereflow_bids.cli.cereflow import main
from cereflow_bids.perfusion.false_m0 import check_m0, compare

TISSUES = ((0.82, 1.3), (0.7, 0.85), (1.0, 4.3))
"""Proton density and T1 (s) of grey matter, white matter and CSF."""
MASK = np.ones((12, 12, 6), bool)


def images(seed, inversion=None, delta=0.01):
    """Return true M0, control (suppressed by an inversion at this time, s) and difference."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(3, MASK.shape, p=(0.5, 0.4, 0.1))
    coil = np.linspace(1, 2, MASK.shape[0])[:, None, None]
    density, t1 = np.moveaxis(np.take(TISSUES, kind, axis=0), -1, 0)
    m0 = 1000 * coil * density
    left = 1.0 if inversion is None else np.abs(1 - 2 * np.exp(-inversion / t1))
    noise = rng.normal(0, 2, (3, *MASK.shape))
    return m0 + noise[0], m0 * left + noise[1], delta * m0 + noise[2]


def found(m0, control, deltam, suppressed):
    return [one.name for one in check_m0(compare(m0, control, deltam, MASK), suppressed)]


SEEDS = st.integers(0, 2**32 - 1)


@given(SEEDS, st.floats(0.4, 1.1), st.floats(0.002, 0.04), st.sampled_from([True, None]))
def test_a_true_m0_raises_nothing(seed, inversion, delta, suppressed):
    assert found(*images(seed, inversion, delta), suppressed) == []


@given(SEEDS, st.floats(0.002, 0.04), st.sampled_from([False, None]))
def test_an_unsuppressed_series_may_be_as_bright_as_m0(seed, delta, suppressed):
    assert found(*images(seed, None, delta), suppressed) == []


@given(SEEDS, st.floats(0.3, 1.1), st.sampled_from([1.0, 0.9, 3.0, 20.0]))
def test_a_suppressed_m0_is_found_at_any_scale(seed, inversion, scale):
    _, control, deltam = images(seed, inversion)
    assert found(scale * control, control, deltam, True) == ["m0_suppressed"]


@pytest.mark.parametrize("told", [False, None])
def test_a_difference_beyond_any_blood_flow_tells_where_the_sidecar_does_not(told):
    _, control, deltam = images(1, 1.1, delta=0.03)
    assert deltam.mean() > 0.05 * control.mean()
    assert found(control, control, deltam, told) == ["m0_suppressed"]


def test_nothing_to_compare_is_no_finding():
    nothing = np.full(MASK.shape, np.nan)
    assert found(nothing, nothing, nothing, True) == []


@pytest.fixture(scope="module")
def false_m0(real_bids, data_dir, tmp_path_factory):
    """Return a dataset in which the product's "M0" series stands as the M0 of its PASL run."""
    base = tmp_path_factory.mktemp("false_m0")
    shutil.copytree(real_bids("siemens_pasl3d"), base / "bids")
    with zipfile.ZipFile(data_dir / "zips" / "siemens_pasl3d.zip") as archive:
        archive.extractall(base, [n for n in archive.namelist() if n.startswith("13_")])
    words = ["-z", "y", "-b", "n", "-f", "m0", "-o", str(base), str(base / "13_pasl_3d_m0")]
    subprocess.run([dcm2niix.bin, *words], check=True, capture_output=True)
    folder = base / "bids" / "sub-01" / "perf"
    for path in folder.iterdir():
        path.chmod(0o644)
    image, table = folder / "sub-01_asl.nii.gz", folder / "sub-01_aslcontext.tsv"
    # One pair is enough, and needs no motion correction.
    nib.save(nib.load(image).slicer[..., :2], image)
    table.write_text("volume_type\ncontrol\nlabel\n")
    sidecar = folder / "sub-01_asl.json"
    values = json.loads(sidecar.read_text()) | {"M0Type": "Separate", "TotalAcquiredPairs": 1}
    sidecar.write_text(json.dumps(values))
    shutil.copyfile(base / "m0.nii.gz", folder / "sub-01_m0scan.nii.gz")
    m0 = {"EchoTime": 0.03958, "RepetitionTimePreparation": 3.6, "InversionTime": 1.99}
    m0 |= {"IntendedFor": "bids::sub-01/perf/sub-01_asl.nii.gz"}
    (folder / "sub-01_m0scan.json").write_text(json.dumps(m0))
    return base


def test_the_false_m0_of_a_real_scan_gives_relative_perfusion_and_the_reason(false_m0):
    out = false_m0 / "out"
    words = [str(false_m0 / "bids"), str(out), "participant", "-w", str(false_m0 / "work")]
    assert main([*words, "--nprocs", "1", "--skip-bids-validation"]) == 0
    folder = out / "sub-01" / "perf"
    assert not (folder / "sub-01_cbf.nii.gz").exists()
    told = json.loads((folder / "sub-01_desc-relative_cbf.json").read_text())["Refused"]
    assert "M0 is suppressed like them" in told
    assert "inversion time or delay of the series" in told
    assert "sub-01_m0scan.nii.gz" in told
    (status,) = read_statuses(out)
    assert status.message.startswith("relative perfusion only: the series is background-supp")
    assert "no absolute CBF" in (out / "sub-01.html").read_text().replace("No", "no")
