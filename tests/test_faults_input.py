"""Input that is not what it should be: each has a message that names file and remedy."""

import json
import math
import shutil
from pathlib import Path

import pytest
import quick_steps
from asl_run import VALUES

from cereflow_bids.bids.dataset import Rejected, Selection, select_runs
from cereflow_bids.bids.index import open_dataset
from cereflow_bids.bids.m0_metadata import read_calibration
from cereflow_bids.bids.metadata import read_labeling
from cereflow_bids.bids.sidecar import Sidecar
from cereflow_bids.errors import CereflowError, InputError, PendingError
from cereflow_bids.workflow.images import load_input

PAIRS = ("m0scan", "control", "label", "control", "label")
SHAPE = (6, 6, 4, 5)
PCASL = VALUES | {"PostLabelingDelay": 1.8}
PASL = {
    "ArterialSpinLabelingType": "PASL",
    "MRAcquisitionType": "2D",
    "MagneticFieldStrength": 3,
    "PostLabelingDelay": 1.8,
    "BolusCutOffFlag": True,
    "BolusCutOffDelayTime": [0.7, 1.6],
    "BolusCutOffTechnique": "Q2TIPS",
    "SliceTiming": [0, 0.05, 0.1, 0.15],
    "M0Type": "Included",
    "RepetitionTimePreparation": 4.0,
    "BackgroundSuppression": False,
}
ESTIMATE = PCASL | {
    "M0Type": "Estimate",
    "M0Estimate": 900.0,
    "BackgroundSuppression": True,
    "BackgroundSuppressionNumberPulses": 2,
}
LOOK_LOCKER = PCASL | {
    "LookLocker": True,
    "FlipAngle": 25,
    "PostLabelingDelay": [0, 0.3, 0.3, 0.6, 0.6],
}
NO_NUMBERS = [
    "1.8",
    "",
    True,
    math.nan,
    math.inf,
    [None],
    ["a"],
    [[1.8]],
    {"a": 1},
    [math.nan] * 5,
]


def read(values: dict) -> None:
    sidecar = Sidecar(values, "sub-01_asl.json")
    labeling, _ = read_labeling(sidecar, PAIRS, SHAPE)
    read_calibration(sidecar, PAIRS, None, labeling)


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
@pytest.mark.parametrize(
    ("base", "key"),
    [
        (PCASL, "PostLabelingDelay"),
        (PCASL, "LabelingDuration"),
        (PCASL, "LabelingEfficiency"),
        (PCASL, "MagneticFieldStrength"),
        (PCASL, "RepetitionTimePreparation"),
        (PASL, "PostLabelingDelay"),
        (PASL, "BolusCutOffDelayTime"),
        (PASL, "SliceTiming"),
        (PASL, "RepetitionTimePreparation"),
        (ESTIMATE, "M0Estimate"),
        (LOOK_LOCKER, "FlipAngle"),
        (LOOK_LOCKER, "PostLabelingDelay"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_what_is_no_number_is_never_taken_for_one(base, key, value):
    read(base)
    with pytest.raises((InputError, PendingError), match=key):
        read(base | {key: value})


@pytest.mark.parametrize("base", [PCASL, PASL, ESTIMATE, LOOK_LOCKER])
def test_no_wrong_type_is_a_bug(base):
    """Whatever stands under any key is either taken or refused with file and remedy."""
    names = {"CereflowOrigins", "LabelingType", "Manufacturer", "BackgroundSuppressionPulseTime"}
    for key in {*base, *names}:
        for value in [*NO_NUMBERS, None, False, 0, -1, 1e300, [], {}, [1, 2, 3]]:
            try:
                read(base | {key: value})
            except CereflowError as error:
                assert error.where and error.fix, f"{key}: {value!r}"


def test_null_is_as_good_as_absent():
    with pytest.raises(PendingError) as told:
        read(PCASL | {"PostLabelingDelay": None})
    assert told.value.missing == ("PostLabelingDelay",)


# -- datasets ------------------------------------------------------------------------------------


@pytest.fixture
def bids(tmp_path: Path) -> Path:
    return quick_steps.dataset(tmp_path / "bids", ("01", "02"))


def with_m0(bids: Path) -> None:
    """Give sub-01 a calibration scan of its own."""
    perf = bids / "sub-01" / "perf"
    sidecar = json.loads((perf / "sub-01_asl.json").read_text()) | {"M0Type": "Separate"}
    (perf / "sub-01_asl.json").write_text(json.dumps(sidecar))
    (perf / "sub-01_aslcontext.tsv").write_text("volume_type\nn/a\ncontrol\nlabel\n")
    shutil.copy(perf / "sub-01_asl.nii.gz", perf / "sub-01_m0scan.nii.gz")
    intended = {"IntendedFor": "bids::sub-01/perf/sub-01_asl.nii.gz"}
    values = {"RepetitionTimePreparation": 6, "EchoTime": 0.01} | intended
    (perf / "sub-01_m0scan.json").write_text(json.dumps(values))


def unfetched(path: Path) -> None:
    """Leave of a file what DataLad leaves before its content is fetched."""
    path.unlink(missing_ok=True)
    path.symlink_to(f"../../.git/annex/objects/xX/yY/MD5E-s12--abc/{path.name}")


def rejected(bids: Path, database: Path | None = None) -> dict[str, Rejected]:
    runs, found = select_runs(open_dataset(bids, database), Selection())
    assert {run.stem for run in runs} | {one.stem for one in found} == {"sub-01", "sub-02"}
    return {one.stem: one for one in found}


@pytest.mark.parametrize("indexed", [False, True], ids=["", "database"])
@pytest.mark.parametrize(
    "name",
    [
        "sub-01/perf/sub-01_asl.nii.gz",
        "sub-01/perf/sub-01_asl.json",
        "sub-01/perf/sub-01_aslcontext.tsv",
        "sub-01/perf/sub-01_m0scan.nii.gz",
        "sub-01/perf/sub-01_m0scan.json",
        "sub-01/sub-01_asl.json",
        "sub-01/anat/sub-01_T1w.nii.gz",
    ],
)
def test_what_was_not_fetched_is_told_with_the_command_that_fetches_it(
    bids, name, indexed, tmp_path
):
    with_m0(bids)
    unfetched(bids / name)
    found = rejected(bids, tmp_path / "database" if indexed else None)
    assert list(found) == ["sub-01"], "the other participant is none the worse"
    error = found["sub-01"].error
    assert isinstance(error, InputError)
    assert error.where == name
    assert f"datalad get {name}" in error.fix


@pytest.mark.parametrize("name", ["participants.tsv", "asl.json"])
def test_what_all_share_and_was_not_fetched_is_not_passed_over(bids, name):
    unfetched(bids / name)
    found = rejected(bids)
    assert sorted(found) == ["sub-01", "sub-02"]
    assert all(f"datalad get {name}" in one.error.fix for one in found.values())


def test_a_dataset_of_which_nothing_was_fetched_says_so(bids):
    unfetched(bids / "dataset_description.json")
    with pytest.raises(InputError, match="content") as told:
        open_dataset(bids)
    assert "datalad get dataset_description.json" in told.value.fix


def test_a_calibration_scan_that_is_missing_is_told(bids):
    with_m0(bids)
    (bids / "sub-01" / "perf" / "sub-01_m0scan.nii.gz").unlink()
    found = rejected(bids)
    assert "no _m0scan goes with this run" in found["sub-01"].error.what


@pytest.mark.parametrize("suffix", ["asl", "m0scan"])
def test_an_image_cut_off_in_its_header_is_told(bids, suffix):
    with_m0(bids)
    image = bids / "sub-01" / "perf" / f"sub-01_{suffix}.nii.gz"
    image.write_bytes(image.read_bytes()[:60])
    error = rejected(bids)["sub-01"].error
    assert error.where == f"sub-01/perf/{image.name}"
    assert "truncated" in error.what


@pytest.mark.parametrize("harm", ["cut", "flipped", "not compressed and cut"])
def test_an_image_damaged_behind_its_header_is_told(tmp_path, harm):
    import nibabel as nib
    import numpy as np

    folder = tmp_path / "Anna_Weber"
    folder.mkdir()
    path = folder / ("image.nii" if harm.startswith("not") else "image.nii.gz")
    noise = np.random.default_rng(0).normal(size=(12, 12, 12)).astype(np.float32)
    nib.save(nib.Nifti1Image(noise, np.eye(4)), path)
    assert load_input(path, "x")[0].shape == noise.shape
    content = path.read_bytes()
    middle = len(content) // 2
    wrong = bytes(byte ^ 255 for byte in content[middle : middle + 40])
    rest = wrong + content[middle + 40 :] if harm == "flipped" else b""
    path.write_bytes(content[:middle] + rest)
    with pytest.raises(InputError, match="damaged") as told:
        load_input(path, "sub-01/perf/x")
    assert told.value.where == "sub-01/perf/x"
    # It goes into notes and reports, and folders may have names of persons.
    assert "Weber" not in str(told.value)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="damaged") as told:
        load_input(path, "sub-01/perf/x")
    assert "Weber" not in str(told.value)


def test_what_the_system_refuses_is_recorded_without_its_folders(bids, monkeypatch):
    from cereflow_bids.bids import dataset
    from cereflow_bids.workflow.step import told

    def refuse(*_words):
        raise PermissionError(13, "Permission denied", "/srv/Anna_Weber/fs/sub-01/mri")

    monkeypatch.setattr(dataset, "find_anatomy", refuse)
    try:
        refuse()
    except PermissionError as error:
        in_a_step = " ".join(told(error))
    for said in (in_a_step, str(rejected(bids)["sub-01"].error)):
        assert "Permission denied" in said
        assert "mri" in said
        assert "Weber" not in said


def test_a_damaged_t1w_image_is_left_out_but_a_full_disk_is_no_damage(tmp_path, monkeypatch):
    import errno

    import nibabel as nib
    import numpy as np

    from cereflow_bids.imaging import t1w
    from cereflow_bids.workflow.anatomy import prepare

    image = tmp_path / "sub-01_T1w.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((9, 9, 9), np.float32), np.eye(4)), image)
    whole = image.read_bytes()
    image.write_bytes(whole[:-20])
    made = prepare(image, tmp_path, seed=0, threads=1)
    assert made["head"] == ""
    (note,) = json.loads(Path(made["notes"]).read_text())
    assert note.startswith("The T1w image was not used: the image is damaged")
    image.write_bytes(whole)

    def full(*_words, **_choices):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(t1w, "prepare_t1w", full)
    with pytest.raises(OSError, match="No space"):
        prepare(image, tmp_path, seed=0, threads=1)
