"""From atlases and maps of a run to labels, tables, the long table's source and the report."""

import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from test_user_atlas import AFFINE, TABLE, cubes

from cereflow_bids.bids.derivatives import DerivativeWriter
from cereflow_bids.perfusion.estimate import Flag
from cereflow_bids.regions.atlas import packaged_atlas
from cereflow_bids.regions.user_atlas import user_atlases
from cereflow_bids.report.runs import RunRecord, read_table
from cereflow_bids.report.territory_table import territory_rows
from cereflow_bids.workflow.atlases import Regional, bring_atlases, deposit_atlases
from cereflow_bids.workflow.images import load_labels, save
from cereflow_bids.workflow.resume import remove_outputs

SHAPE = (44, 52, 34)
GRID = np.diag([4.0, 4, 5, 1])
GRID[:3, 3] = (-86, -112, -70)
MOVED = np.eye(4)
MOVED[:3, 3] = (5, -3, 2)


@pytest.fixture(scope="module")
def deposited(tmp_path_factory):
    """Write labels and tables of two atlases; CBF 60 left and 40 right, ATT 1 and 1.5 s."""
    folder = tmp_path_factory.mktemp("run")
    own = folder / "atlas-Mine_dseg.nii.gz"
    nib.save(nib.Nifti1Image(cubes(), AFFINE), own)
    (folder / "atlas-Mine_dseg.tsv").write_text(TABLE)
    atlases = (packaged_atlas("ArterialTerritories"), *user_atlases([own]))
    mask = save(np.ones(SHAPE, bool), GRID, folder / "mask.nii")
    back = np.linalg.inv(MOVED)
    brought = bring_atlases(atlases, mask, folder, to_template=MOVED, to_asl=back)
    x = GRID[0, 0] * np.indices(SHAPE)[0] + GRID[0, 3] + MOVED[0, 3]
    flags = np.zeros(SHAPE, np.int32)
    flags[:, :, ::2] = int(Flag.BEFORE_FIRST_DELAY)
    flags[:, ::4] = int(Flag.NO_PERFUSION)
    att = np.where(flags == int(Flag.NO_PERFUSION), 99, np.where(x < 0, 1.0, 1.5))
    maps = {
        "mask": mask,
        "cbf": save(np.where(x < 0, 60.0, 40.0), GRID, folder / "cbf.nii"),
        "att": save(att, GRID, folder / "att.nii"),
        "fit_flags": save(flags, GRID, folder / "flags.nii"),
    }
    out = DerivativeWriter(folder / "out")
    regional = Regional(atlases, brought["labels"], brought["coverage"])
    written = deposit_atlases(out, "sub-01", regional, maps, {"Sources": ["bids:raw:x"]})
    return out, written


def table(out, key, columns, atlas):
    return read_table(out.path(key, "sub-01", atlas=atlas), columns).set_index(
        ["name", "hemisphere"]
    )


def test_every_atlas_has_labels_and_tables(deposited):
    out, written = deposited
    assert sorted(path.name for path in written) == [
        f"sub-01_atlas-{atlas}_{end}"
        for atlas in ("ArterialTerritories", "Mine")
        for end in ("att.tsv", "cbf.tsv", "dseg.nii.gz")
    ]
    assert list(out.by_atlas("regions", "sub-01")) == ["ArterialTerritories", "Mine"]
    sidecar = out.path("atlas_labels", "sub-01", atlas="ArterialTerritories")
    about = json.loads(sidecar.with_name(sidecar.name.replace(".nii.gz", ".json")).read_text())
    assert "not a segmentation of angiograms" in about["AtlasDescription"]
    assert {"AtlasLicense", "AtlasVersion", "AtlasDerivedFrom"} <= set(about)


def test_an_atlas_on_a_grid_of_its_own_lies_where_it_should(deposited):
    out, _ = deposited
    labels, affine = load_labels(out.path("atlas_labels", "sub-01", atlas="Mine"))
    for label in (1, 2):
        here = (affine @ [*np.argwhere(labels == label).mean(axis=0), 1])[:3]
        there = (AFFINE @ [*np.argwhere(cubes() == label).mean(axis=0), 1])[:3]
        np.testing.assert_allclose(here + MOVED[:3, 3], there, atol=1)
        volume = (cubes() == label).sum() * 64
        assert (labels == label).sum() * 80 == pytest.approx(volume, rel=0.06)


def test_transit_times_leave_out_what_has_none_and_tell_what_is_a_limit(deposited):
    out, _ = deposited
    times = table(out, "regions_att", "regions_att", "ArterialTerritories")
    flow = table(out, "regions", "regions", "ArterialTerritories")
    middle = ("middle cerebral artery", "L")
    assert times.loc[middle, "mean"] == pytest.approx(1, abs=1e-3)
    assert times.loc[middle, "difference"] == pytest.approx(-0.5, abs=1e-3)
    assert times.loc[middle, "censored"] == pytest.approx(0.5, abs=0.05)
    used = times.loc[middle, "n_voxels"] / flow.loc[middle, "n_voxels"]
    assert used == pytest.approx(0.75, abs=0.05)
    assert flow.loc[middle, "asymmetry"] == pytest.approx(40, abs=0.1)


def test_the_report_shows_territories_in_one_row_each(deposited):
    out, _ = deposited
    tables = {
        key: read_table(out.path(key, "sub-01", atlas="ArterialTerritories"), key)
        for key in ("regions", "regions_att")
    }
    rows = territory_rows(RunRecord("sub-01", "done", atlases={"ArterialTerritories": tables}))
    assert [row.name for row in rows][:2] == ["anterior cerebral artery", "middle cerebral artery"]
    middle, brainstem = rows[1], rows[-1]
    assert (middle.left, middle.right, middle.flagged) == ("60.0", "40.0", True)
    assert (middle.att_left, middle.att_right, middle.att_difference) == ("1.00", "1.50", "-0.50")
    assert (brainstem.right, brainstem.att_right, brainstem.asymmetry) == ("", "", "")
    assert territory_rows(RunRecord("sub-01", "done")) == []


def test_outputs_of_every_atlas_are_removed_and_no_others(deposited):
    out, written = deposited
    other = out.path("regions", "sub-010", atlas="Mine")
    other.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame().to_csv(other)
    remove_outputs("sub-01", out.out_dir)
    assert not any(path.exists() for path in written)
    assert not list((out.out_dir / "sub-01").rglob("*.*"))
    assert other.exists()
