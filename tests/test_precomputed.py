"""Anatomy that other software has prepared: found, read, used, and refused where it is unfit."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import quick_steps
from quick_calls import Place, Server

from cereflow_bids.bids.anatomy import find_anatomy
from cereflow_bids.bids.derivative_folders import dataset_links, open_folders
from cereflow_bids.bids.precomputed import of_participant, require_anatomy
from cereflow_bids.cli.cereflow import main
from cereflow_bids.cli.status import main as status
from cereflow_bids.errors import InputError, UsageError
from cereflow_bids.imaging import aseg, t1w
from cereflow_bids.imaging.point_map import PointMap
from cereflow_bids.imaging.resampling import area_average
from cereflow_bids.imaging.standard_space import downsample, template_mask
from cereflow_bids.resources import template
from cereflow_bids.workflow import anatomy
from cereflow_bids.workflow.anatomy import NO_ANATOMY, Anatomy, prepare_precomputed
from cereflow_bids.workflow.images import load
from cereflow_bids.workflow.origin import read_origin
from cereflow_bids.workflow.precomputed import read_precomputed

FMRIPREP = {"GeneratedBy": [{"Name": "fMRIPrep", "Version": "23.2.1"}], "BIDSVersion": "1.4.0"}
PARTS = ("desc-preproc_T1w", "desc-brain_mask", "label-GM_probseg", "label-WM_probseg")


def put(path: Path, data, affine=None) -> Path:
    """Write an image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = nib.MGHImage if path.suffix == ".mgz" else nib.Nifti1Image
    nib.save(kind(np.asarray(data, np.float32), np.eye(4) if affine is None else affine), path)
    return path


def fmriprep(folder: Path, *stems: str, parts=PARTS, shape=(4, 4, 4)) -> Path:
    """Write a folder as fMRIPrep leaves it; a stem is the path of an image without its part."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset_description.json").write_text(json.dumps(FMRIPREP))
    for stem in stems:
        for part in parts:
            put(folder / f"{stem}_{part}.nii.gz", np.ones(shape) * len(part))
        for more in ("space-MNI152NLin2009cAsym_desc-preproc_T1w.nii.gz", "desc-preproc_T1w.json"):
            (folder / f"{stem}_{more}").write_text("{}")
    return folder


def freesurfer(folder: Path, *subjects: str, files=("nu", "T1", "brainmask", "aseg")) -> Path:
    """Write a folder of subjects as FreeSurfer leaves it."""
    for subject in (*subjects, "fsaverage"):
        for name in files:
            put(folder / subject / "mri" / f"{name}.mgz", np.ones((4, 4, 4)))
        stamp = folder / subject / "scripts" / "build-stamp.txt"
        stamp.parent.mkdir()
        stamp.write_text("freesurfer-linux-ubuntu22_x86_64-7.3.2-20220804-6354275\n")
    return folder


def found_in(folder: Path, session=None):
    return of_participant(open_folders([str(folder)]), "01", session)


# -- which files ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stems", "session", "stem", "far"),
    [
        (["sub-01/anat/sub-01"], "1", "sub-01", 1),
        (["sub-01/anat/sub-01"], None, "sub-01", 0),
        (
            ["sub-01/ses-2/anat/sub-01_ses-2", "sub-01/ses-1/anat/sub-01_ses-1"],
            "1",
            "sub-01_ses-1",
            0,
        ),
        (["sub-01/ses-2/anat/sub-01_ses-2"], "1", "sub-01_ses-2", 2),
        (["sub-01/anat/sub-01_acq-mprage_run-1"], None, "sub-01_acq-mprage_run-1", 0),
        (["sub-010/anat/sub-010"], None, None, 3),
    ],
)
def test_the_files_of_fmriprep_are_found(tmp_path, stems, session, stem, far):
    ways = tmp_path / "fp" / Path(stems[0]).parent / (Path(stems[0]).name + "_from-T1w_to-")
    fmriprep(tmp_path / "fp", *stems)
    for space in ("MNI152NLin2009cAsym", "fsnative"):
        ways.with_name(f"{ways.name}{space}_mode-image_xfm.h5").touch()
    given, how_far = found_in(tmp_path / "fp", session)
    assert how_far == far
    if stem is None:
        assert given is None
        return
    assert (given.stem, given.origin, given.dataset) == (stem, "fMRIPrep 23.2.1", "fmriprep")
    assert set(given.files) == {"head", "brain", "gm", "wm"}
    assert all(f"/{stem}_" in uri for uri in given.uris)
    assert given.uris[0].startswith("bids:fmriprep:sub-01/")
    assert given.uris[0].endswith("_desc-preproc_T1w.nii.gz")
    if far != 2 and len(stems) == 1:
        assert given.unused == ("MNI152NLin2009cAsym",)
    assert str(tmp_path) not in repr(given), "the place of the folder is nobody's business"


def test_the_files_of_freesurfer_are_found_by_session(tmp_path):
    freesurfer(tmp_path / "subjects", "sub-01_ses-1", "sub-01_ses-2", "sub-01_ses-2.long.x")
    given, far = found_in(tmp_path / "subjects", "2")
    assert (given.stem, far, given.origin) == ("sub-01_ses-2", 0, "FreeSurfer 7.3.2")
    names = {part: path.name for part, path in given.files.items()}
    assert names == {"head": "nu.mgz", "brain": "brainmask.mgz", "aseg": "aseg.mgz"}
    assert given.uris[0] == "bids:freesurfer:sub-01_ses-2/mri/nu.mgz"
    for one in ("nu.mgz", "aseg.mgz"):
        (tmp_path / "subjects" / "sub-01_ses-2" / "mri" / one).unlink()
    given, _ = found_in(tmp_path / "subjects", "2")
    assert {part: path.name for part, path in given.files.items()} == {
        "head": "T1.mgz",
        "brain": "brainmask.mgz",
    }


def test_of_several_folders_the_closest_session_then_the_first_counts(tmp_path):
    fmriprep(tmp_path / "fp", "sub-01/anat/sub-01")
    freesurfer(tmp_path / "fs", "sub-01", "sub-01_ses-2")
    folders = open_folders([f"mine={tmp_path / 'fp'}", str(tmp_path / "fs")])
    assert [one.name for one in folders] == ["mine", "freesurfer"]
    assert of_participant(folders, "01", None)[0].dataset == "mine"
    assert of_participant(folders, "01", "2")[0].stem == "sub-01_ses-2"
    assert of_participant(folders[::-1], "01", "1")[0].dataset == "freesurfer"


def test_what_was_not_fetched_is_told_with_the_command(tmp_path):
    fmriprep(tmp_path / "fp", "sub-01/anat/sub-01")
    mask = tmp_path / "fp" / "sub-01" / "anat" / "sub-01_desc-brain_mask.nii.gz"
    mask.unlink()
    mask.symlink_to(".git/annex/nowhere")
    with pytest.raises(InputError, match="derivatives fmriprep") as told:
        found_in(tmp_path / "fp")
    assert "datalad get sub-01/anat/sub-01_desc-brain_mask.nii.gz" in told.value.fix


# -- before the T1w image of the dataset, or after it --------------------------------------------


def t1w_of(tmp_path: Path, *sessions: str | None):
    """Return the files of a dataset, with T1w images that were not fetched."""
    images = []
    for session in sessions:
        path = tmp_path / f"sub-01{f'_ses-{session}' if session else ''}_T1w.nii.gz"
        if not path.is_symlink():
            path.symlink_to("nowhere")
        own = {"session": session} if session else {}
        images.append(SimpleNamespace(entities=own, filename=path.name, path=str(path)))
    return SimpleNamespace(root=tmp_path, images=lambda *_: images)


@pytest.mark.parametrize(
    ("precomputed", "raw", "used"),
    [
        ("sub-01/anat/sub-01", ["1"], "sub-01"),
        ("sub-01/anat/sub-01", [], "sub-01"),
        ("sub-01/ses-1/anat/sub-01_ses-1", ["1"], "sub-01_ses-1"),
        ("sub-01/ses-2/anat/sub-01_ses-2", ["2"], "sub-01_ses-2"),
        ("sub-01/ses-2/anat/sub-01_ses-2", [], "sub-01_ses-2"),
        ("sub-01/ses-2/anat/sub-01_ses-2", ["2", "1"], None),
        ("sub-02/anat/sub-02", ["1"], None),
    ],
)
def test_anatomy_of_another_session_gives_way_to_the_runs_own(tmp_path, precomputed, raw, used):
    folders = open_folders([str(fmriprep(tmp_path / "fp", precomputed))])
    run = SimpleNamespace(entities={"subject": "01", "session": "1"})
    files = t1w_of(tmp_path, *raw)
    if used is None:
        # The T1w image is wanted then, and was not fetched.
        with pytest.raises(InputError, match="content it leads to"):
            find_anatomy(files, run, folders)
        for image in files.images():
            Path(image.path).unlink()
            Path(image.path).touch()
    found = find_anatomy(files, run, folders)
    assert (found.precomputed and found.precomputed.stem) == used
    assert (found.t1w is None) == (used is not None)
    other = used is not None and "ses-2" in used
    assert ("session 2" in " ".join(found.notes)) == other
    assert ("T1w image of the dataset was used" in " ".join(found.notes)) == (used is None)


def test_a_participant_without_any_anatomy_says_so(tmp_path):
    folders = open_folders([str(fmriprep(tmp_path / "fp", "sub-02/anat/sub-02"))])
    run = SimpleNamespace(entities={"subject": "01"})
    found = find_anatomy(t1w_of(tmp_path), run, folders)
    assert found.precomputed is None and found.t1w is None
    assert "nor has the dataset a T1w image" in found.notes[0]
    assert find_anatomy(t1w_of(tmp_path), run).notes == ()


# -- the option ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{fp}", "--ignore", "t1w"], "contradict"),
        (["{nowhere}"], "no such folder"),
        (["{bids}"], "no anatomy in the derivatives"),
        (["raw={fp}"], "name raw is taken"),
        (["a={fp}", "a={fp}"], "name a is taken"),
        (["{fp}", "-w", "{fp}/work"], "--work-dir lies inside the derivatives"),
        (["{out}"], "output_dir lies inside the derivatives"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_once(tmp_path, capsys, words, said):
    bids = quick_steps.dataset(tmp_path / "bids")
    fp, out = (fmriprep(tmp_path / name, "sub-01/anat/sub-01") for name in ("fp", "out"))
    places = {"fp": fp, "out": out, "bids": bids, "nowhere": tmp_path / "nowhere"}
    filled = [word.format_map({key: str(path) for key, path in places.items()}) for word in words]
    call = [
        str(bids),
        str(out),
        "participant",
        "-w",
        str(tmp_path / "w"),
        "--derivatives",
        *filled,
    ]
    assert main(call) == 2
    told = capsys.readouterr().err
    assert said in told and "To fix" in told


def test_a_description_that_is_damaged_is_told_and_none_is_needed(tmp_path):
    folder = fmriprep(tmp_path / "fp", "sub-01/anat/sub-01")
    (folder / "dataset_description.json").write_text("{")
    with pytest.raises(UsageError, match="no valid JSON"):
        open_folders([str(folder)])
    (folder / "dataset_description.json").unlink()
    (one,) = open_folders([str(folder)])
    require_anatomy([one])
    assert (one.name, one.generated_by) == ("derivatives", "")


def test_links_tell_no_name_of_a_folder_that_could_be_a_persons(tmp_path):
    bids = tmp_path / "study" / "bids"
    inside, outside = bids / "derivatives" / "fmriprep-23.2.1", tmp_path / "Jane_Doe" / "fmriprep"
    for folder in (inside, outside):
        fmriprep(folder, "sub-01/anat/sub-01")
    folders = open_folders([str(inside), str(outside)])
    assert [one.name for one in folders] == ["fmriprep", "fmriprep2"]
    out = bids / "derivatives" / "cereflow"
    assert dataset_links(bids, out, folders) == {"raw": "../..", "fmriprep": "../fmriprep-23.2.1"}
    for name in ("fmriprep_19620417", "Fmriprep", "bids2"):
        (named,) = open_folders([f"x={inside.rename(inside.with_name(name))}"])
        assert dataset_links(bids, out, [named]) == {"raw": "../.."}
        inside = named.path
    described = FMRIPREP | {"DatasetDOI": "https://doi.org/10.5/x"}
    (outside / "dataset_description.json").write_text(json.dumps(described))
    links = dataset_links(tmp_path / "Jane_Doe", out, open_folders([str(outside)]))
    assert links == {"fmriprep": "doi:10.5/x"}


# -- what is read --------------------------------------------------------------------------------


def test_labels_of_freesurfer_become_tissues():
    labels = np.array(
        [[3, 42, 8, 17, 1035, 12130], [2, 41, 251, 16, 28, 77], [4, 24, 0, 5, 15, 30]]
    )
    gm, wm = aseg.tissues_of_aseg(labels)
    np.testing.assert_array_equal(gm, [[1] * 6, [0] * 6, [0] * 6])
    np.testing.assert_array_equal(wm, [[0] * 6, [1] * 6, [0] * 6])
    assert not set(aseg.GREY) & set(aseg.WHITE)


def test_the_brain_of_labels_has_closed_sulci_and_no_holes():
    labels = np.zeros((40, 40, 40), np.int32)
    labels[10:30, 10:30, 10:30] = 3
    labels[18:21, 10:20, 10:30] = 0  # a sulcus of 3 mm
    labels[24:27, 24:27, 24:27] = 0
    brain = aseg.brain_of_aseg(labels, np.eye(4))
    assert brain[19, 15, 20] and brain[25, 25, 25]
    assert not brain[5, 20, 20] and not brain[33, 20, 20]
    assert not aseg.brain_of_aseg(np.zeros((5, 5, 5), np.int32), np.eye(4)).any()


@pytest.fixture(scope="module")
def head():
    """Return head, brain, grey and white matter of the template at 4 mm, and their matrix."""
    image = nib.load(template("T1w"))
    brain, affine = downsample(image.get_fdata(dtype=np.float32), image.affine, 4)
    gm, wm = (
        downsample(nib.load(template(one)).get_fdata(dtype=np.float32) / 255, image.affine, 4)[0]
        for one in ("GM", "WM")
    )
    return brain, template_mask(brain), gm, wm, affine


@pytest.fixture
def at_once(monkeypatch):
    """Leave registration out: the head is the template."""
    field = PointMap(np.eye(4), np.zeros((2, 2, 2, 3), np.float32), np.eye(4))
    monkeypatch.setattr(t1w, "deform", lambda *_, **__: (field, field))

    def never(*_, **__):
        raise AssertionError("made again what was there")

    for name in ("extract_brain", "correct_bias", "segment"):
        monkeypatch.setattr(t1w, name, never)


def of_fmriprep(folder: Path, head, **changed):
    """Return what is found of a head as fMRIPrep writes it, with changed parts."""
    brain, inside, gm, wm, affine = head
    images = dict(zip(PARTS, (brain, inside, gm, wm), strict=True)) | changed
    fmriprep(folder)
    for part, one in images.items():
        own, data = one if isinstance(one, tuple) else (affine, one)
        if data is not None:
            put(folder / "sub-01" / "anat" / f"sub-01_{part}.nii.gz", data, own)
    return found_in(folder)[0]


def far(affine):
    """Return a matrix that puts an image where nothing else is."""
    moved = affine.copy()
    moved[:3, 3] += 900
    return moved


def notes_of(made) -> str:
    return " ".join(json.loads(Path(made["notes"]).read_text()))


def test_nothing_that_is_there_is_made_again(tmp_path, head, at_once):
    given = of_fmriprep(tmp_path / "fp", head)
    made = prepare_precomputed(given, tmp_path, seed=0, threads=1)
    np.testing.assert_array_equal(load(made["brain"])[0], head[1])
    np.testing.assert_allclose(load(made["gm"])[0], head[2] * head[1], atol=1e-6)
    np.testing.assert_allclose(load(made["head"])[0], head[0], rtol=1e-6)
    csf = load(made["csf"])[0]
    np.testing.assert_allclose(csf[head[1]], (1 - head[2] - head[3])[head[1]].clip(0), atol=1e-6)
    assert "that of fMRIPrep 23.2.1 (fmriprep)" in notes_of(made)
    origin = read_origin(made)
    assert (origin.stem, origin.dataset) == ("sub-01", "fmriprep")
    (parameter,) = origin.parameters()
    assert parameter["value"] == "fMRIPrep 23.2.1"
    assert parameter["origin"] == "precomputed: fmriprep"


def test_freesurfers_labels_and_edited_brain_are_used(tmp_path, head, at_once):
    brain, inside, gm, wm, affine = head
    labels = np.where(inside, np.select([gm > 0.5, wm > 0.5], [3, 2], 24), 0)
    erased = np.where(inside, np.maximum(brain, 2), 0)
    beside = tuple(np.argwhere(~inside)[0])
    erased[beside] = 1  # as by hand
    for name, data in {"T1": brain, "brainmask": erased, "aseg": labels}.items():
        put(tmp_path / "fs" / "sub-01" / "mri" / f"{name}.mgz", data, affine)
    made = prepare_precomputed(found_in(tmp_path / "fs")[0], tmp_path, seed=0, threads=1)
    np.testing.assert_array_equal(load(made["brain"])[0] > 0.5, inside)
    np.testing.assert_array_equal(load(made["gm"])[0], labels == 3)
    np.testing.assert_array_equal(load(made["wm"])[0], labels == 2)
    assert "FreeSurfer (freesurfer)" in notes_of(made)


def test_parts_on_another_grid_are_brought_to_the_t1w_and_told(tmp_path, head, at_once):
    brain, inside, gm, wm, affine = head
    finer = affine @ np.diag([0.5, 0.5, 0.5, 1])
    shape = tuple(2 * n for n in brain.shape)
    gm_there, wm_there = (area_average(one, affine, shape, finer) for one in (gm, wm))
    given = of_fmriprep(
        tmp_path / "fp",
        head,
        **{"label-GM_probseg": (finer, gm_there), "label-WM_probseg": (finer, wm_there)},
    )
    made = prepare_precomputed(given, tmp_path, seed=0, threads=1)
    error = load(made["gm"])[0] - gm * inside
    assert np.abs(error).mean() < 0.02
    assert "another grid" in notes_of(made)
    assert "sub-01_label-GM_probseg.nii.gz" in notes_of(made)


def test_dseg_stands_in_for_fractions(tmp_path, head):
    _, inside, gm, wm, _ = head
    labels = np.where(inside, np.select([gm > 0.5, wm > 0.5], [1, 2], 3), 0)
    without = dict.fromkeys(PARTS[2:])
    ready = read_precomputed(of_fmriprep(tmp_path / "a", head, dseg=labels, **without))
    np.testing.assert_array_equal(ready.known.tissues[1], labels == 1)
    np.testing.assert_array_equal(ready.known.tissues[2], labels == 2)
    other = of_fmriprep(tmp_path / "b", head, dseg=labels + 1, **without)
    with pytest.raises(ValueError, match="other labels"):
        read_precomputed(other)


def test_what_is_missing_is_left_to_be_made_and_told(tmp_path, head):
    ready = read_precomputed(of_fmriprep(tmp_path / "fp", head, **dict.fromkeys(PARTS[1:])))
    assert ready.known.mask is None and ready.known.tissues is None and ready.known.unbiased
    assert "made here: the brain, grey matter, white matter and fluid." in " ".join(ready.notes)
    put(tmp_path / "fs" / "sub-01" / "mri" / "orig.mgz", head[0], head[-1])
    ready = read_precomputed(found_in(tmp_path / "fs")[0])
    assert not ready.known.unbiased
    assert "the bias field" in " ".join(ready.notes)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"label-GM_probseg": lambda h: h[2] * 100}, "fractions of GM are up to 99"),
        ({"label-GM_probseg": lambda h: h[2] * 0}, "0 % of its brain mask are grey"),
        ({"label-WM_probseg": lambda h: (far(h[-1]), h[3])}, "0 % of its brain mask are white"),
        ({"desc-brain_mask": lambda h: h[1] * 0}, "mask is empty"),
        ({"desc-brain_mask": lambda h: np.roll(h[1], 9, axis=0)}, "not fit the template"),
        (
            {
                "desc-brain_mask": lambda h: np.roll(h[1], 9, axis=0),
                "label-CSF_probseg": lambda h: h[2] * 0,
            },
            "tissues fill",
        ),
        ({"desc-preproc_T1w": lambda h: np.stack([h[0], h[0]], -1)}, "4 dimensions"),
    ],
)
def test_what_cannot_go_together_is_left_out_with_the_reason(
    tmp_path, head, at_once, changed, reason
):
    given = of_fmriprep(
        tmp_path / "fp", head, **{key: make(head) for key, make in changed.items()}
    )
    made = prepare_precomputed(given, tmp_path, seed=0, threads=1)
    assert made == NO_ANATOMY | {"notes": made["notes"]}
    (note,) = json.loads(Path(made["notes"]).read_text())
    assert note.startswith("The precomputed anatomy (fMRIPrep 23.2.1) was not used: ")
    assert re.search(reason, note), note


def test_a_damaged_file_makes_way_for_the_t1w_of_the_dataset(tmp_path, head, monkeypatch):
    given = of_fmriprep(tmp_path / "fp", head)
    content = given.files["gm"].read_bytes()
    given.files["gm"].write_bytes(content[:-50])
    asked = []

    def prepare(path, folder, **_):
        asked.append(path)
        (folder / "notes.json").write_text('["Own."]')
        return NO_ANATOMY | {"head": "x", "notes": str(folder / "notes.json")}

    monkeypatch.setattr(anatomy, "prepare", prepare)
    files = {part: str(path) for part, path in given.files.items()}
    node = Anatomy(precomputed=given, files=files, seed=0, version="1", out_dir=str(tmp_path))
    node.inputs.t1w = ""
    assert node._prepare(tmp_path)["head"] == ""
    node.inputs.t1w = str(tmp_path / "sub-01_T1w.nii.gz")
    notes = json.loads(Path(node._prepare(tmp_path)["notes"]).read_text())
    assert asked == [tmp_path / "sub-01_T1w.nii.gz"]
    assert "was not used: the image is damaged" in notes[0]
    assert notes[1:] == ["Instead of it sub-01_T1w.nii.gz of the dataset was used.", "Own."]


# -- in the graph --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    one = Server(tmp_path_factory.mktemp("server"))
    yield one
    one.close()


def content(folder: Path) -> dict[str, bytes]:
    return {str(one): one.read_bytes() for one in sorted(folder.rglob("*")) if one.is_file()}


def test_a_run_is_done_anew_when_its_precomputed_anatomy_has_changed(tmp_path, server):
    bids = quick_steps.dataset(tmp_path / "bids", ("01", "02"))
    shutil.rmtree(bids / "sub-01" / "anat")
    folder = fmriprep(tmp_path / "Jane_Doe", "sub-01/anat/sub-01")
    before = content(folder)
    place = Place(tmp_path, bids, server)
    words = ("--derivatives", str(folder))

    def done(ended) -> list[str]:
        return [line for line in ended.journal if line.startswith("end") and "Report" not in line]

    dry = place.call("none", 0, *words, "--dry-run")
    assert "to do    sub-01" in dry.said and not place.out.exists()
    first = place.call("none", 0, *words)
    assert first.code == 0, first.said
    assert {"end sub-01 Anatomy", "end sub-02 Anatomy"} <= set(first.journal)
    assert done(place.call("none", 0, *words)) == []
    assert status([str(place.out), "--bids", str(bids)]) == 0
    described = json.loads((place.out / "dataset_description.json").read_text())
    assert "fmriprep" not in described.get("DatasetLinks", {})
    kept = {name: data for name, data in place.content().items() if "logs" not in name}
    assert not any(b"Jane_Doe" in data for data in kept.values())
    assert content(folder) == before, "derivatives are never written to"

    put(folder / "sub-01" / "anat" / "sub-01_label-GM_probseg.nii.gz", np.zeros((4, 4, 4)))
    again = done(place.call("none", 0, *words))
    assert "end sub-01 Anatomy" in again and "end sub-01 Tissue" in again
    assert not any("sub-02" in line for line in again)
    without = done(place.call())
    assert "end sub-01 Tissue" in without and "end sub-01 Anatomy" not in without
