"""GE DICOM of three delays, from its ZIP to CBF and ATT maps, on a digital brain."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from cereflow_bids.cli.cereflow import main as cereflow
from cereflow_bids.cli.convert import main as convert
from cereflow_bids.demo import brain, simulation
from cereflow_bids.demo.writers import ge
from cereflow_bids.demo.writers.dicom import pack
from cereflow_bids.demo.writers.study import Identity, Study

# Delay and number of excitations of each series.
SIMPLER = ("perDelay", "meanOverDelays", "weightedDelay")
MEASURED = tuple(f"_{suffix}.nii.gz" for suffix in ("cbf", "att", "deltam", "M0map"))
SERIES = ((1.025, 2), (1.525, 3), (2.525, 4))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Return the folder of maps and the true CBF on their grid."""
    root = tmp_path_factory.mktemp("three")
    head = brain.participant(5)
    shape = (64, 64, 30)
    sampled = brain.sample(head, shape, brain.scan_grid(head, shape, (3.75, 3.75, 5.0), 0))
    rng = np.random.default_rng(5)
    for number, (delay, excitations) in enumerate(SERIES, 4):
        protocol = ge.GeProtocol(
            post_labeling_delay=delay, excitations=excitations, series_number=number
        )
        scan = simulation.Scan(
            labeling_duration=protocol.labeling_duration,
            post_labeling_delay=delay,
            recovery=simulation.GE_SATURATION_TIME,
            echo_time=protocol.echo_time,
            gain=6000,
        )
        images = simulation.ge_images(sampled, scan, rng, excitations=excitations)
        study = Study(Identity.canary("E5"), "20310304", "091500", sex="F", age="070Y")
        ge.write(root / "dicom" / str(number), study, *images, sampled.affine, protocol=protocol)
    assert convert([str(pack(root / "dicom", root / "ge.zip")), str(root / "bids")]) == 0
    command = [str(root / "bids"), str(root / "out"), "participant", "--nprocs", "1"]
    assert cereflow([*command, "--work-dir", str(root / "work"), "--skip-bids-validation"]) == 0
    return next((root / "out").glob("sub-*/perf")), sampled


def own(folder, pattern):
    """Return the one file on the run's own grid."""
    (path,) = [path for path in folder.glob(pattern) if "_space-" not in path.name]
    return path


def read(folder, ending):
    return nib.load(own(folder, f"*{ending}.nii.gz"))


def test_grey_matter_cbf_is_the_truth(results):
    folder, sampled = results
    image = read(folder, "[0-9]_cbf")
    truth = nib.as_closest_canonical(nib.Nifti1Image(sampled.true_cbf, sampled.affine))
    found = nib.as_closest_canonical(image).get_fdata()
    grey = truth.get_fdata() > 40
    assert np.nanmedian(found[grey] / truth.get_fdata()[grey]) == pytest.approx(1, abs=0.1)


def test_blood_that_has_arrived_before_all_delays_gets_no_late_arrival(results):
    folder, _ = results
    att = read(folder, "[0-9]_att").get_fdata()
    inside = read(folder, "_desc-brain_mask").get_fdata() > 0
    # The simulated blood is there from the start: one can say "at most 1.025 s" and no more.
    assert np.nanmedian(att[inside]) < 1.2


def test_each_map_tells_delays_units_and_origins(results):
    folder, _ = results
    sidecar = json.loads(own(folder, "*[0-9]_att.json").read_text())
    assert sidecar["Units"] == "s"
    told = {parameter["name"]: parameter for parameter in sidecar["Parameters"]}
    assert told["PostLabelingDelay"]["value"] == [1.025, 1.525, 2.525]
    assert all(parameter["origin"] for parameter in sidecar["Parameters"])
    assert list(folder.parent.parent.glob("sub-*/figures/*_desc-mosaic_att.png"))


def test_no_map_lacks_units_or_the_constants_that_made_it(results):
    folder, _ = results
    maps = [p for p in folder.glob("*.nii.gz") if p.name.endswith(MEASURED)]
    assert len(maps) >= 10
    for path in maps:
        sidecar = json.loads(Path(str(path).replace(".nii.gz", ".json")).read_text())
        told = {parameter["name"]: parameter for parameter in sidecar["Parameters"]}
        assert sidecar["Units"], path.name
        assert all(parameter["origin"] for parameter in told.values()), path.name
        needed = {"PostLabelingDelay", "LabelingDuration", "LabelingEfficiency", "T1Blood"}
        if path.name.endswith(("_cbf.nii.gz", "_att.nii.gz")):
            assert needed <= set(told), path.name
            # Simpler maps must not claim what only the fit was made with.
            simpler = any(f"_desc-{name}_" in path.name for name in SIMPLER)
            assert ("Estimator" in told) != simpler, path.name
            assert ("KineticModel" in told) != ("_cbf." in path.name and simpler), path.name
