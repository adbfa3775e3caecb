"""GE exports from ZIP to valid BIDS: one to three delays, eASL, old software; all written."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from bids_validation import validator_errors
from written_dicom import OBLIQUE, SHAPE, STUDY, in_place

from cereflow_bids.cli.convert import main
from cereflow_bids.demo.writers import ge, ge_easl, ge_t1w
from cereflow_bids.demo.writers.dicom import pack
from cereflow_bids.intake.heuristic import heuristic_file

# Series number → delay (s) and number of excitations.
SERIES = {7: (1.025, 4), 8: (1.525, 3), 9: (2.525, 2)}
DENSITY = 5000.0


def voxels(seed: int, high: int, count: int | None = None) -> np.ndarray:
    """Whole numbers from 1 to `high`: every voxel of every volume its own."""
    shape = SHAPE if count is None else (*SHAPE, count)
    return np.random.default_rng(seed).integers(1, high, shape).astype(float)


def density(seed: int) -> np.ndarray:
    """Return a proton-density image, equally bright on average whatever the seed."""
    return DENSITY + voxels(seed, 200) - 100


def converted(folder: Path, *options: str, code: int = 0) -> Path:
    """Pack ``folder/dicom``, convert it, and return the dataset: valid, unless it is pending."""
    archive = pack(folder / "dicom", folder / "upload.zip")
    dataset = folder / "bids"
    assert main([str(archive), str(dataset), *options]) == code
    assert code or validator_errors(dataset) == []
    return dataset


def sidecar(dataset: Path, name: str = "sub-01/perf/sub-01_asl") -> dict[str, Any]:
    """Return the JSON of one run."""
    return json.loads((dataset / f"{name}.json").read_text(encoding="utf-8"))


def context(dataset: Path) -> list[str]:
    """Return the volume types of the only ASL run."""
    text = (dataset / "sub-01/perf/sub-01_aslcontext.tsv").read_text(encoding="utf-8")
    return text.split()[1:]


def volumes(dataset: Path, name: str = "sub-01/perf/sub-01_asl") -> np.ndarray:
    """Return the voxels of one run."""
    return in_place(dataset / f"{name}.nii.gz")


# -- one to three delays -------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[1, 2, 3])
def delays(request, tmp_path_factory) -> tuple[int, Path]:
    """Return a number of delays and the dataset of that many series, maps and a T1w."""
    folder = tmp_path_factory.mktemp(f"delays{request.param}")
    for number in list(SERIES)[: request.param]:
        delay, excitations = SERIES[number]
        protocol = ge.GeProtocol(
            post_labeling_delay=delay,
            excitations=excitations,
            series_number=number,
            series_description=f"3D ASL PLD {1000 * delay:.0f}",
        )
        place = folder / "dicom" / str(number)
        pw, pd = voxels(number, 3000), density(number + 50)
        ge.write(place / "raw", STUDY, pw, pd, OBLIQUE, protocol=protocol)
        cbf = voxels(number + 90, 90)
        ge.write_cbf(place / "cbf", STUDY, cbf, OBLIQUE, protocol=protocol)
    ge_t1w.write(folder / "dicom/t1", STUDY, voxels(3, 900), OBLIQUE)
    return request.param, converted(folder)


def test_series_of_one_labelling_become_one_run(delays):
    count, dataset = delays
    assert [p.name for p in dataset.glob("sub-*/perf/*.nii.gz")] == ["sub-01_asl.nii.gz"]
    assert context(dataset) == ["deltam", "m0scan"] * count
    content = sidecar(dataset)
    told = [value for number in list(SERIES)[:count] for value in (SERIES[number][0], 0)]
    assert content["PostLabelingDelay"] == (told if count > 1 else SERIES[7][0])
    assert content["CereflowOrigins"]["PostLabelingDelay"].startswith("header (0018,0082)")


def test_every_volume_is_scaled_by_its_own_series_excitations(delays):
    count, dataset = delays
    found = volumes(dataset)
    for place, number in enumerate(list(SERIES)[:count]):
        excitations = SERIES[number][1]
        pw, pd = voxels(number, 3000), density(number + 50)
        np.testing.assert_allclose(found[..., 2 * place], pw / (32 * excitations), rtol=1e-6)
        np.testing.assert_array_equal(found[..., 2 * place + 1], pd)


def test_sidecar_tells_duration_m0_and_the_single_series(delays):
    count, dataset = delays
    content = sidecar(dataset)
    assert content["LabelingDuration"] == pytest.approx(1.45)
    assert content["ArterialSpinLabelingType"] == "PCASL"
    assert content["BackgroundSuppression"] is True
    assert content["M0Type"] == "Included"
    assert content["RepetitionTimePreparation"] == [4.848, 2.0] * count
    assert content["TotalAcquiredPairs"] == sum(SERIES[k][1] for k in list(SERIES)[:count])
    assert content["CereflowSeries"] == [
        {
            "SeriesNumber": number,
            "Volumes": [2 * place, 2 * place + 1],
            "ScalingFactor": 32.0,
            "NumberOfExcitations": SERIES[number][1],
            "GainCorrection": 1.0,
        }
        for place, number in enumerate(list(SERIES)[:count])
    ]


def test_console_maps_and_t1w_keep_out_of_the_run(delays):
    count, dataset = delays
    place = "derivatives/console/sub-01/perf/sub-01"
    for order, number in enumerate(list(SERIES)[:count], start=1):
        run = f"_run-{order}" if count > 1 else ""
        name = f"{place}{run}_desc-console_cbf"
        np.testing.assert_array_equal(volumes(dataset, name), voxels(number + 90, 90))
        assert sidecar(dataset, name)["Units"] == "mL/100 g/min"
        assert sidecar(dataset, name)["CereflowSeries"] == [{"SeriesNumber": 100 * number}]
    t1w = volumes(dataset, "sub-01/anat/sub-01_T1w")
    np.testing.assert_array_equal(t1w, voxels(3, 900))


def changed(folder: Path, change: Callable[[Any], None]) -> None:
    """Change the header of every written file."""
    for path in folder.rglob("*.MRDCM"):
        image = pydicom.dcmread(path)
        change(image)
        image.save_as(path)


def test_delays_that_no_header_holds_come_from_the_user_by_series_number(tmp_path):
    for number in (7, 8, 9):
        place = tmp_path / "dicom" / str(10 - number)
        pw, pd = voxels(number, 3000), density(1)
        ge.write(place, STUDY, pw, pd, OBLIQUE, protocol=ge.GeProtocol(series_number=number))
    changed(tmp_path, lambda image: image.pop("InversionTime"))
    dataset = converted(tmp_path, "--post-labeling-delay", "1", "1.5", "2.5")
    content = sidecar(dataset)
    assert content["PostLabelingDelay"] == [1.0, 0, 1.5, 0, 2.5, 0]
    assert content["CereflowOrigins"]["PostLabelingDelay"] == "command line"
    np.testing.assert_allclose(volumes(dataset)[..., 4], voxels(9, 3000) / 96, rtol=1e-6)


def test_an_anonymised_series_is_read_by_name_and_order(tmp_path, capsys):
    pw, pd = voxels(1, 3000), density(2)
    ge.write(tmp_path / "dicom", STUDY, pw, pd, OBLIQUE)

    def strip(image: Any) -> None:
        image.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
        image.remove_private_tags()

    changed(tmp_path, strip)
    dataset = converted(tmp_path, "--labeling-duration", "1.45")
    assert context(dataset) == ["deltam", "m0scan"]
    np.testing.assert_allclose(volumes(dataset)[..., 0], pw / 96, rtol=1e-6)
    np.testing.assert_array_equal(volumes(dataset)[..., 1], pd)
    assert "which of 2 volumes is the proton-density image" in capsys.readouterr().out


def test_old_software_has_another_scale(tmp_path):
    protocol = ge.GeProtocol(software=ge.OLD_SOFTWARE, excitations=2)
    pw = voxels(1, 3000)
    ge.write(tmp_path / "dicom", STUDY, pw, density(2), OBLIQUE, protocol=protocol)
    dataset = converted(tmp_path)
    np.testing.assert_allclose(volumes(dataset)[..., 0], pw / (45.24 * 2), rtol=1e-6)
    assert sidecar(dataset)["CereflowSeries"][0]["ScalingFactor"] == 45.24


def test_delays_of_different_receiver_gain_are_brought_to_one_scale(tmp_path, capsys):
    raised = 10 ** (3 / 20)
    for number, factor in ((7, 1.0), (8, raised)):
        protocol = ge.GeProtocol(post_labeling_delay=number / 5, series_number=number)
        pw, pd = factor * voxels(number, 3000), factor * density(7)
        place = tmp_path / "dicom" / str(number)
        ge.write(place, STUDY, pw, pd, OBLIQUE, protocol=protocol)
    dataset = converted(tmp_path)
    found = volumes(dataset)
    np.testing.assert_allclose(found[..., 2], voxels(8, 3000) / 96, atol=0.01)
    np.testing.assert_allclose(found[..., 3], found[..., 1], rtol=2e-4)
    traced = [one["GainCorrection"] for one in sidecar(dataset)["CereflowSeries"]]
    assert traced == pytest.approx([1.0, 1 / raised], rel=1e-4)
    assert "series 8 is 1.41 times as bright as that of series 7" in capsys.readouterr().out


def test_a_delay_scanned_twice_is_two_runs(tmp_path):
    for number in (7, 8):
        protocol = ge.GeProtocol(series_number=number)
        place = tmp_path / "dicom" / str(number)
        ge.write(place, STUDY, voxels(number, 3000), density(1), OBLIQUE, protocol=protocol)
    dataset = converted(tmp_path)
    found = sorted(p.name for p in dataset.glob("sub-*/perf/*.nii.gz"))
    assert found == ["sub-01_run-1_asl.nii.gz", "sub-01_run-2_asl.nii.gz"]


# -- eASL ----------------------------------------------------------------------------------------

EASL_DELAYS = [1.0, 1.222, 1.478, 1.781, 2.153, 2.635, 3.317]
EASL_DURATIONS = [0.222, 0.256, 0.303, 0.372, 0.481, 0.682, 1.183]
USERS_TIMES = ["--post-labeling-delay", "0.7", "1.273", "2.158"]
USERS_TIMES += ["--labeling-duration", "0.573", "0.885", "2.042"]


def write_easl(folder: Path, **protocol: Any) -> tuple[np.ndarray, np.ndarray]:
    """Write the three series of an eASL scan; return its decoded and its density images."""
    what = ge_easl.EaslProtocol(**protocol)
    decoded, pd = voxels(1, 3000, what.delays), density(2)
    ge_easl.write_raw(folder / "raw", STUDY, decoded, pd, OBLIQUE, protocol=what)
    ge_easl.write_flow(folder / "flow", STUDY, voxels(4, 90), OBLIQUE, protocol=what)
    delay = voxels(5, 2500) / 1000
    ge_easl.write_transit_delay(folder / "transit", STUDY, delay, OBLIQUE, protocol=what)
    return decoded, pd


@pytest.fixture(scope="module")
def easl(tmp_path_factory) -> tuple[np.ndarray, np.ndarray, Path]:
    """Return decoded images, density image and dataset of the product's default protocol."""
    folder = tmp_path_factory.mktemp("easl")
    decoded, pd = write_easl(folder / "dicom")
    return decoded, pd, converted(folder)


def test_easl_delays_and_durations_of_each_volume(easl):
    content = sidecar(easl[2])
    assert context(easl[2]) == ["deltam"] * 7 + ["m0scan"]
    assert content["PostLabelingDelay"] == [*EASL_DELAYS, 0]
    assert content["LabelingDuration"] == [*EASL_DURATIONS, 0]
    assert "(0019,10AB)" in content["CereflowOrigins"]["PostLabelingDelay"]
    assert content["RepetitionTimePreparation"] == [6.5] * 7 + [2.0]
    assert content["M0Type"] == "Included"


def test_easl_volumes_are_in_order_and_scaled(easl):
    decoded, pd, dataset = easl
    found = volumes(dataset)
    # 8 excitations in the header are the 8 encodings of 7 delays, once each.
    np.testing.assert_allclose(found[..., :7], decoded / 32, rtol=1e-6)
    np.testing.assert_array_equal(found[..., 7], pd)
    assert sidecar(dataset)["CereflowSeries"][0]["NumberOfExcitations"] == 1


def test_easl_maps_are_kept_apart_in_their_units(easl):
    place = "derivatives/console/sub-01/perf/sub-01_desc-console"
    np.testing.assert_array_equal(volumes(easl[2], f"{place}_cbf"), voxels(4, 90))
    np.testing.assert_allclose(volumes(easl[2], f"{place}_att"), voxels(5, 2500))
    assert sidecar(easl[2], f"{place}_cbf")["Units"] == "mL/100 g/min"
    assert sidecar(easl[2], f"{place}_att")["Units"] == "ms"


def test_easl_with_a_mean_image_behind_the_decoded_ones(tmp_path):
    decoded, pd = voxels(1, 3000, 8), density(2)
    protocol = ge_easl.EaslProtocol(delays=8)
    ge_easl.write_raw(tmp_path / "dicom", STUDY, decoded, pd, OBLIQUE, protocol=protocol)
    # The header tells of the delays, not of the images.
    changed(tmp_path, lambda image: setattr(image[0x0019, 0x10AD], "value", "7"))
    dataset = converted(tmp_path)
    assert context(dataset) == ["deltam"] * 7 + ["n/a", "m0scan"]
    assert sidecar(dataset)["PostLabelingDelay"] == [*EASL_DELAYS, 0, 0]
    np.testing.assert_allclose(volumes(dataset)[..., :7], decoded[..., :7] / 32, rtol=1e-6)
    np.testing.assert_array_equal(volumes(dataset)[..., 8], pd)


def test_easl_without_its_tags_waits_for_the_user_and_is_finished_later(tmp_path, capsys):
    decoded, _ = write_easl(tmp_path / "dicom", delays=3, told=False, excitations=4)
    dataset = converted(tmp_path, code=3)
    assert not {"PostLabelingDelay", "LabelingDuration"} & set(sidecar(dataset))
    (pending,) = json.loads((tmp_path / "bids.pending.json").read_text())["pending"]
    assert pending["missing"] == ["PostLabelingDelay", "LabelingDuration"]
    assert "--post-labeling-delay" in capsys.readouterr().out
    assert main([str(dataset), *USERS_TIMES]) == 0
    assert validator_errors(dataset) == []
    assert sidecar(dataset)["PostLabelingDelay"] == [0.7, 1.273, 2.158, 0]
    np.testing.assert_allclose(volumes(dataset)[..., :3], decoded / 32, rtol=1e-6)


def test_easl_without_its_tags_with_the_users_times(tmp_path):
    write_easl(tmp_path / "dicom", delays=3, told=False)
    content = sidecar(converted(tmp_path, *USERS_TIMES))
    assert content["PostLabelingDelay"] == [0.7, 1.273, 2.158, 0]
    assert content["LabelingDuration"] == [0.573, 0.885, 2.042, 0]
    assert content["CereflowOrigins"]["PostLabelingDelay"] == "command line"


def test_easl_times_that_leave_gaps_are_told(tmp_path, capsys):
    write_easl(tmp_path / "dicom", delays=3, told=False, excitations=4)
    options = ["--post-labeling-delay", "0.7", "1.7", "2.7", "--labeling-duration", "0.5"]
    content = sidecar(converted(tmp_path, *options, "0.5", "0.5", "--excitations", "2"))
    assert content["PostLabelingDelay"] == [0.7, 1.7, 2.7, 0]
    assert "each delay of eASL should be the one before plus" in capsys.readouterr().out
    # The inferred number gives way to the user's.
    assert content["CereflowSeries"][0]["NumberOfExcitations"] == 2


# -- HeuDiConv alone -----------------------------------------------------------------------------


def test_plain_heudiconv_names_the_same_files(tmp_path):
    write_easl(tmp_path / "dicom/easl", series_number=12)
    ge.write(tmp_path / "dicom/asl", STUDY, voxels(1, 900), density(1), OBLIQUE)
    ge.write_cbf(tmp_path / "dicom/cbf", STUDY, voxels(1, 90), OBLIQUE)
    ge_t1w.write(tmp_path / "dicom/t1", STUDY, voxels(1, 900), OBLIQUE)
    import dcm2niix

    path = os.pathsep.join((str(Path(dcm2niix.bin).parent), os.environ["PATH"]))
    command = [sys.executable, "-m", "heudiconv.cli.run", "-s", "01", "-c", "dcm2niix", "-b"]
    command += ["-f", str(heuristic_file()), "-o", str(tmp_path / "bids"), "--minmeta"]
    command += ["--files", str(tmp_path / "dicom")]
    done = subprocess.run(
        command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = {
        str(p.relative_to(tmp_path / "bids")): nib.load(p).shape[3:]
        for p in (tmp_path / "bids").rglob("*.nii.gz")
    }
    console = "derivatives/console/sub-01/perf/sub-01"
    assert set(found) == {
        "sub-01/anat/sub-01_T1w.nii.gz",
        "sub-01/perf/sub-01_run-1_asl1.nii.gz",
        "sub-01/perf/sub-01_run-1_asl2.nii.gz",
        "sub-01/perf/sub-01_run-2_asl1.nii.gz",
        "sub-01/perf/sub-01_run-2_asl2.nii.gz",
        f"{console}_run-1_desc-console_cbf.nii.gz",
        f"{console}_run-2_desc-console_cbf.nii.gz",
        f"{console}_desc-console_att.nii.gz",
    }
    assert (7,) in found.values()
