"""CBF by one M0 of blood from CSF or white matter, from metadata and images to the record."""

from dataclasses import replace

import numpy as np
import pytest
from asl_run import run_of

from cereflow_bids.errors import InputError
from cereflow_bids.perfusion.reference_region import CSF, T2_BLOOD, WHITE_MATTER
from cereflow_bids.quantification.quantify import quantify
from cereflow_bids.quantification.science import Science
from cereflow_bids.quantification.tissues import Tissues

SHAPE = (24, 24, 12)
TE = 0.02
M0_BLOOD = 1000.0
FACTOR = 6000 * np.exp(1.8 / 1.65) / (2 * 0.85 * 1.65 * (1 - np.exp(-1.8 / 1.65)))
"""CBF over ΔM/M0a at a labelling duration and delay of 1.8 s; λ does not occur in it."""


def brain():
    """Return the mask and tissues of a box with grey, white and, in the middle, CSF."""
    mask = np.zeros(SHAPE, bool)
    mask[1:-1, 1:-1] = True
    gm, wm, csf = (np.zeros(SHAPE) for _ in range(3))
    gm[1:-1, 1:-1] = 1
    wm[4:-4, 4:-4], gm[4:-4, 4:-4] = 1, 0
    csf[10:14, 10:14], wm[10:14, 10:14] = 1, 0
    # Fluid at the rim of the brain, where M0 is not that of fluid alone.
    csf[1, 1:-1], gm[1, 1:-1] = 1, 0
    return mask, Tissues(gm, wm, csf)


def scene(m0_type="Included"):
    """Return run, series and M0; the tissues give the same M0 of blood, seen at TR 6 s."""
    mask, tissues = brain()
    m0 = np.full(SHAPE, 40.0)
    for region, tissue in ((tissues.csf, CSF), (tissues.wm, WHITE_MATTER)):
        signal = M0_BLOOD * tissue.partition_coefficient
        signal *= (1 - np.exp(-6.0 / tissue.t1)) * np.exp(-TE / tissue.t2)
        m0[region > 0] = signal
    m0[1] = 300
    series = np.stack([m0, np.full(SHAPE, 200.0), np.full(SHAPE, 194.0)], axis=-1)
    run = run_of(("m0scan", "control", "label"), 1.8, SHAPE, M0Type=m0_type, M0Estimate=500.0)
    return replace(run, acquisition={"EchoTime": TE}), series, m0, mask, tissues


def quantified(reference, *, of=None, **choices):
    run, series, m0, mask, tissues = of or scene()
    science = Science(m0_reference=reference, **choices)
    return quantify(run, series, m0, mask, voxel_size=(3, 3, 5), science=science, tissues=tissues)


@pytest.mark.parametrize(("reference", "voxels"), [("csf", 4 * 4 * 12), ("wm", 240 * 12)])
def test_cbf_is_by_the_m0_of_blood_without_lambda(reference, voxels):
    result = quantified(reference)
    mask, _ = brain()
    at_readout = M0_BLOOD * np.exp(-TE / T2_BLOOD)
    np.testing.assert_allclose(result.cbf[mask], FACTOR * 6 / at_readout, rtol=1e-6)
    used = {p.name: p for p in result.parameters}
    assert used["M0Blood"].value == pytest.approx(at_readout, rel=1e-4)
    assert (used["M0Reference"].value, used["M0Reference"].origin) == (reference, "command line")
    assert used["M0ReferenceVoxels"].value == voxels
    assert used["RepetitionTimePreparation"].value == 6.0
    assert "BloodBrainPartitionCoefficient" not in used
    assert "M0SmoothingFWHM" not in used
    assert any("sensitivity of the receiver coils" in note for note in result.notes)


def test_the_record_of_the_default_does_not_speak_of_a_reference():
    assert not [p for p in quantified("voxelwise").parameters if "Reference" in p.name]


def test_a_given_m0_of_blood_needs_no_reference():
    result = quantified("csf", of=scene("Estimate"))
    mask, _ = brain()
    np.testing.assert_allclose(result.cbf[mask], FACTOR * 6 / 500, rtol=1e-6)
    assert any("--m0-reference was not applied" in note for note in result.notes)


def no_fluid(scene_of):
    run, series, m0, mask, tissues = scene_of
    return run, series, m0, mask, replace(tissues, csf=np.zeros(SHAPE))


@pytest.mark.parametrize(
    ("change", "choices", "told"),
    [
        (no_fluid, {}, "CSF region has 0 voxels"),
        (lambda s: (replace(s[0], acquisition={}), *s[1:]), {}, "EchoTime is None"),
        (lambda s: s, {"quantification": "ge-product"}, "proton density of each voxel"),
    ],
)
def test_what_cannot_serve_is_refused_with_a_way_out(change, choices, told):
    with pytest.raises(InputError, match=told) as caught:
        quantified("csf", of=change(scene()), **choices)
    assert "voxelwise" in caught.value.fix
