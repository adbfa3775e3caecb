"""Atlases that a user gives: read, refused with a reason, known by their content."""

import nibabel as nib
import numpy as np
import pytest

from cereflow_bids.cli.cereflow import main
from cereflow_bids.errors import UsageError
from cereflow_bids.regions.atlas import packaged_atlas
from cereflow_bids.regions.user_atlas import user_atlases
from cereflow_bids.workflow.plan import _fingerprint
from cereflow_bids.workflow.settings import Settings

AFFINE = np.diag([4.0, 4, 4, 1])
AFFINE[:3, 3] = (-80, -100, -60)
TABLE = "index\tname\themisphere\n1\tfront\tL\n2\tfront\tR\n"


def fingerprint(settings):
    """Return the digest of some run with these settings."""
    return _fingerprint("a run", settings)


def cubes():
    """Return two cubes in the brain, left and right."""
    labels = np.zeros((40, 45, 40), np.int16)
    labels[10:16, 25:30, 18:24] = 1
    labels[24:30, 25:30, 18:24] = 2
    return labels


@pytest.fixture
def write(tmp_path):
    """Write an atlas and return its path."""

    def written(labels=None, table=TABLE, name="atlas-Mine_dseg", affine=AFFINE):
        path = tmp_path / f"{name}.nii.gz"
        nib.save(nib.Nifti1Image(cubes() if labels is None else labels, affine), path)
        if table is not None:
            (tmp_path / f"{name}.tsv").write_text(table)
        return path

    return written


def test_an_atlas_is_read_with_what_it_has(write):
    (atlas,) = user_atlases([write()])
    assert atlas.name == "Mine"
    assert list(atlas.regions().columns) == ["index", "name", "hemisphere", "group"]
    assert set(atlas.regions()["group"]) == {"Mine"}
    (bare,) = user_atlases([write(table="index\tname\n1\tone\n2\ttwo\n")])
    assert set(bare.regions()["hemisphere"]) == {"n/a"}
    assert bare.digest != atlas.digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"table": None}, "no table of names"),
        ({"table": "index,name\n1,a\n"}, "lacks the column index and name"),
        ({"table": "index\tname\n1\ta\n"}, r"1 labels .* not in the table \(such as 2\)"),
        ({"table": "index\tname\n1\ta\n2\ta\n"}, "several regions have the name 'a'"),
        ({"table": "index\tname\n1\ta\n1\tb\n"}, "stand in the table once"),
        ({"table": "index\tname\n1.5\ta\n2\tb\n"}, "something that is no label"),
        ({"table": TABLE.replace("L", "left")}, "hemisphere must be L, R or n/a"),
        ({"labels": cubes() * np.float32(0.5)}, "values are no labels"),
        ({"labels": np.stack([cubes()] * 3, axis=-1)}, "4 dimensions"),
        ({"labels": np.zeros((4, 4, 4), np.int16)}, "values are no labels"),
        ({"affine": np.diag([4.0, 4, 4, 1])}, "lie in the brain of MNI152NLin2009aSym"),
        ({"name": "atlas-Lobes_dseg"}, "of the name Lobes already"),
        ({"name": "my-own_dseg"}, "cannot be the name of an atlas"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(write, change, message):
    with pytest.raises(UsageError, match=message) as error:
        user_atlases([write(**change)])
    assert error.value.fix.endswith(".")


def test_an_atlas_that_is_broken_or_not_there_is_refused(write, tmp_path):
    path = write()
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UsageError, match="cannot be read"):
        user_atlases([path])
    with pytest.raises(UsageError, match="no such file"):
        user_atlases([tmp_path / "nothing.nii.gz"])


def test_a_packaged_atlas_under_another_name_is_accepted(tmp_path):
    known = packaged_atlas("Lobes")
    (tmp_path / "atlas-Own.nii.gz").write_bytes(known.labels.read_bytes())
    (tmp_path / "atlas-Own_dseg.tsv").write_bytes(known.table.read_bytes())
    (atlas,) = user_atlases([tmp_path / "atlas-Own.nii.gz"])
    assert atlas.regions().equals(known.regions())


def test_the_command_refuses_an_atlas_before_anything_runs(tmp_path, capsys):
    bids, out = tmp_path / "bids", tmp_path / "out"
    bids.mkdir()
    assert main([str(bids), str(out), "participant", "--atlas", str(bids / "no.nii.gz")]) == 2
    assert "--atlas: there is no such file" in capsys.readouterr().err
    assert not out.exists()


def test_a_run_is_done_again_when_an_atlas_is_new_or_another(write, tmp_path):
    folders = dict.fromkeys(("bids_dir", "out_dir", "work_dir"), tmp_path)
    plain = fingerprint(Settings(**folders))
    given = [
        fingerprint(Settings(**folders, atlases=user_atlases([write(table=table)])))
        for table in (TABLE, TABLE.replace("front", "back"))
    ]
    assert len({plain, *given}) == 3
    assert fingerprint(Settings(**folders)) == plain
