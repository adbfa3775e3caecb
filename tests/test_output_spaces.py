"""The spaces that maps are written in: their names, and templates through templateflow."""

import os
import shutil
import signal

import nibabel as nib
import numpy as np
import pytest
from template_folder import FAR, NAME, write_template

from cereflow_bids.errors import InputError, UsageError
from cereflow_bids.resources import template
from cereflow_bids.workflow.output_spaces import OutputSpaces, Standard, read_spaces
from cereflow_bids.workflow.spaces import space_notes

PACKAGED = "MNI152NLin2009aSym"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_template(tmp_path_factory.mktemp("written") / "templates")


@pytest.fixture
def home(written, tmp_path, monkeypatch):
    """Return a folder of templateflow with one template; there is no network."""
    folder = shutil.copytree(written, tmp_path / "templates")
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(folder))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    return folder


def test_nothing_said_is_what_there_always_was():
    assert read_spaces([]) == OutputSpaces((Standard(PACKAGED, 2),), t1w=True, asked=False)


def test_spaces_are_those_named_in_any_order_and_once():
    words = ["T1w", "native", f"{PACKAGED}:res-2", PACKAGED, f"{PACKAGED}:res-01"]
    expected = OutputSpaces((Standard(PACKAGED, 1), Standard(PACKAGED, 2)), True, True)
    assert read_spaces(words) == read_spaces(words[::-1]) == expected
    assert read_spaces(["aslref"]) == OutputSpaces((), t1w=False, asked=True)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("t1W", "capitals count"),
        ("anat", "is no output space"),
        (f"{PACKAGED}:res-3", "for voxels of 1 or 2 mm"),
        (f"{PACKAGED}:cohort-1", "is no output space"),
        (f"{NAME[:-1]}", f"perhaps {NAME}"),
    ],
)
def test_a_wrong_name_is_told_with_what_is_there(home, word, told):
    with pytest.raises(UsageError) as caught:
        read_spaces(["native", word])
    assert told in str(caught.value)
    assert caught.value.where == "--output-spaces"


def test_only_those_who_asked_are_told_that_there_is_no_t1w():
    assert space_notes(OutputSpaces(), t1w=False) == []
    assert space_notes(read_spaces(["T1w"]), t1w=True) == []
    assert "no T1w image" in space_notes(read_spaces(["T1w"]), t1w=False)[0]


def test_a_template_in_the_folder_is_used_without_network(home):
    spaces = read_spaces([f"{NAME}:res-1", f"{NAME}:res-2"])
    (found,) = spaces.others
    assert nib.load(found.head).shape == nib.load(found.mask).shape
    assert nib.load(found.grids[2]).header.get_zooms() == (2, 2, 2)
    # Another file is another template, wherever it lies.
    before = repr(spaces)
    assert str(home) not in before
    image = nib.load(found.head)
    nib.save(nib.Nifti1Image(image.get_fdata(dtype=np.float32) + 1, image.affine), found.head)
    assert repr(read_spaces([f"{NAME}:res-1", f"{NAME}:res-2"])) != before


@pytest.mark.parametrize("how", ["not fetched", "damaged", "surface", "no folder"])
def test_a_template_that_cannot_be_had_is_told_before_anything_is_done(home, how, monkeypatch):
    head = home / f"tpl-{NAME}" / f"tpl-{NAME}_res-01_T1w.nii.gz"
    told = {"not fetched": "with network, run once"}
    if how == "not fetched":
        head.write_bytes(b"")
    elif how == "damaged":
        head.write_bytes(head.read_bytes()[:1000])
        told[how] = "fetch it again"
    elif how == "surface":
        head.unlink()
        told[how] = "no single T1w image of 1 mm"
    else:
        monkeypatch.setenv("TEMPLATEFLOW_HOME", "/proc/nowhere")
        told[how] = "set TEMPLATEFLOW_HOME"
    with pytest.raises(Exception, match=told[how]) as caught:
        read_spaces([f"{NAME}:res-1"])
    assert caught.value.exit_code in (1, 2)


def test_the_way_between_templates_is_found(home):
    from cereflow_bids.imaging.point_map import transform
    from cereflow_bids.imaging.template_bridge import bridge

    (other,) = read_spaces([f"{NAME}:res-1"]).others
    head, mask = (nib.load(path) for path in (other.head, other.mask))
    brain = np.where(mask.get_fdata() > 0, head.get_fdata(dtype=np.float32), 0)
    packaged = nib.load(template("T1w"))
    found = bridge(
        brain, head.affine, packaged.get_fdata(dtype=np.float32), packaged.affine, seed=1
    )
    points = transform(head.affine, np.argwhere(mask.get_fdata() > 0)[::500].T.astype(float))
    apart = np.linalg.norm(found.apply(points) - transform(FAR, points), axis=0)
    assert np.linalg.norm(transform(FAR, points) - points, axis=0).mean() > 8
    assert np.median(apart) < 0.5
    assert np.percentile(apart, 95) < 1.5


def test_templates_that_do_not_fit_are_refused(monkeypatch):
    from cereflow_bids.imaging import template_bridge
    from cereflow_bids.imaging.point_map import PointMap

    far = np.eye(4)
    far[:3, 3] = 12, 12, 12
    astray = PointMap(far, np.zeros((2, 2, 2, 3), np.float32), np.eye(4))
    monkeypatch.setattr(template_bridge, "deform", lambda *_images, **_seed: (astray, astray))
    image = nib.load(template("T1w"))
    brain = image.get_fdata(dtype=np.float32)
    with pytest.raises(ValueError, match=r"Dice overlap of 0\.[78]"):
        template_bridge.bridge(brain, image.affine, brain, image.affine)


def test_a_registration_that_the_system_killed_is_told(home, tmp_path, monkeypatch):
    from cereflow_bids.workflow import bridges
    from cereflow_bids.workflow.settings import Settings

    spaces = read_spaces([NAME])
    settings = Settings(tmp_path / "bids", tmp_path / "out", tmp_path / "work", spaces=spaces)
    monkeypatch.setattr(bridges, "_make", _die)
    with pytest.raises(InputError, match="the system killed the process") as told:
        bridges.make_bridges(settings)
    assert told.value.where == NAME


def _die(*_words):
    os.kill(os.getpid(), signal.SIGKILL)
