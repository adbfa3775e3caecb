"""Tables of a run: motion is that of the brain, and what is empty spoils no measure."""

import numpy as np
import pytest
from asl_run import run_of
from scipy.spatial.transform import Rotation

from cereflow_bids.workflow.images import save, save_json
from cereflow_bids.workflow.tables import confounds_table, quality_table

SHAPE = (20, 24, 12)
CONTEXT = ("m0scan", "control", "label", "control", "label")
PARAMETERS = ["trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"]


def affine_at(origin):
    affine = np.diag([4.0, 4.0, 6.0, 1.0])
    affine[:3, 3] = origin
    return affine


def moved_about(centre, shift, degrees):
    """Return a turn about the left-right axis through a point (mm) and a shift."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("x", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = centre + np.array(shift) - matrix[:3, :3] @ centre
    return matrix


def confounds_at(origin, folder):
    """Return the table of a scan at this origin in which the head nods and slides once."""
    mask = np.zeros(SHAPE, bool)
    mask[4:15, 6:19, 2:9] = True
    affine = affine_at(origin)
    path = save(mask, affine, folder / "mask.nii")
    brain = affine[:3, :3] @ [9, 12, 5] + affine[:3, 3]
    still = np.eye(4)
    nod = moved_about(brain, (0.2, -0.1, 0.3), 1.0)
    matrices = np.stack([still * np.nan, still, still, nod, still])
    run = run_of(CONTEXT, 1.8, SHAPE)
    return confounds_table(run, matrices, [], mask=path)


@pytest.mark.parametrize("origin", [(-38, -48, -30), (0, 0, 0), (70, -40, 900)])
def test_motion_is_that_of_the_brain_wherever_the_origin_lies(origin, tmp_path):
    table = confounds_at(np.array(origin, float), tmp_path)
    found = table[PARAMETERS].to_numpy()
    assert np.isnan(found[0]).all()
    np.testing.assert_allclose(found[[1, 2, 4]], 0, atol=1e-9)
    np.testing.assert_allclose(found[3], (0.2, -0.1, 0.3, np.deg2rad(1), 0, 0), atol=1e-9)
    displacement = table["framewise_displacement"].to_numpy()
    assert displacement[3] == pytest.approx(0.6 + 50 * np.deg2rad(1))
    assert np.isnan(displacement[:3]).all()
    assert displacement[4] == pytest.approx(0)


@pytest.mark.parametrize("empty", [(), (3, 4)])
def test_an_empty_control_does_not_take_the_others_along(empty, tmp_path):
    """Without M0 the difference is held against the controls."""
    context = ("control", "label", "control", "control", "label", "label")
    run = run_of(context, 1.8, SHAPE, M0Type="Absent")
    series = np.stack([np.full(SHAPE, 200.0 if k == "control" else 198.0) for k in context], -1)
    series[..., list(empty)] = np.nan
    brain = np.zeros(SHAPE)
    brain[4:15, 6:19, 2:9] = 1
    images = {
        "series": series, "aslref": 200 * brain, "deltam": np.full(SHAPE, 2.0), "mask": brain,
        "brain": brain, "gm": brain, "wm": brain,
    }  # fmt: skip
    paths = {
        k: save(data, affine_at((0, 0, 0)), tmp_path / f"{k}.nii") for k, data in images.items()
    }
    paths |= {"cbf": "", "m0": ""}
    paths["registration"] = save_json(
        {"measures": {}, "withheld": ""}, tmp_path / "registration.json"
    )
    rejected = [{"volumes": list(empty), "reason": "empty"}] if empty else []
    record = {"Findings": [], "RejectedVolumes": rejected, "Acquisition": {"NumberOfPairs": 3}}
    table = quality_table(run, paths, np.full(len(context), np.nan), record)
    assert table["mean_deltam_percent"][0] == pytest.approx(1)
