"""Time-encoded volumes: from matrix, aslcontext and times to CBF and ATT."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cereflow_bids.bids.m0_metadata import read_calibration
from cereflow_bids.bids.metadata import read_labeling
from cereflow_bids.bids.run import AslRun
from cereflow_bids.bids.sidecar import Sidecar
from cereflow_bids.errors import InputError, PendingError
from cereflow_bids.perfusion.kinetics import tissue_response
from cereflow_bids.perfusion.scheme import LabelingScheme
from cereflow_bids.quantification.quantify import quantify
from cereflow_bids.quantification.science import Science

SHAPE = (3, 2, 2)
# Walsh order of 8, as printed in public code: rows are blocks behind the row of ones.
WALSH = [
    [1, 1, 1, 1, 1, 1, 1, 1],
    [1, -1, 1, -1, 1, -1, 1, -1],
    [1, -1, 1, -1, -1, 1, -1, 1],
    [1, -1, -1, 1, -1, 1, 1, -1],
    [1, -1, -1, 1, 1, -1, -1, 1],
    [1, 1, -1, -1, 1, 1, -1, -1],
    [1, 1, -1, -1, -1, -1, 1, 1],
    [1, 1, 1, 1, -1, -1, -1, -1],
]
BLOCKS = (1.2, 0.7, 0.5, 0.4, 0.3, 0.25, 0.2)
FINAL = 0.8
CYCLE = ("control", *("label",) * 7)
CONTEXT = ("m0scan", *CYCLE, *CYCLE)
VALUES = {
    "ArterialSpinLabelingType": "PCASL",
    "MRAcquisitionType": "2D",
    "SliceTiming": [0.0, 0.3],
    "MagneticFieldStrength": 3,
    "LabelingEfficiency": 0.85,
    "PostLabelingDelay": FINAL,
    "LabelingDuration": [0, *(9, *BLOCKS) * 2],
    "M0Type": "Included",
    "RepetitionTimePreparation": 6.0,
    "TimeEncodedMatrixSize": 8,
    "TimeEncodedMatrix": WALSH,
}


def run_of(context=CONTEXT, **changed):
    values = {key: value for key, value in (VALUES | changed).items() if value is not None}
    sidecar = Sidecar(values, "sub-01_asl.nii.gz")
    labeling, notes = read_labeling(sidecar, context, SHAPE)
    calibration = read_calibration(sidecar, context, None, labeling)
    return AslRun(
        "sub-01", "01", None, Path("asl"), "sub-01", tuple(context), labeling, calibration,
        notes=tuple(notes),
    )  # fmt: skip


def series_of(cbf, att, matrix=WALSH, final=FINAL):
    """Each block that is label takes from the signal what it alone would at its own time.

    A block ends when the later ones have yet to be played and the final delay to pass.
    """
    ends = [final + sum(BLOCKS[k + 1 :]) for k in range(len(BLOCKS))]
    scheme = LabelingScheme("PCASL", tuple(ends), BLOCKS, 0.85, 1.65)
    offset = np.broadcast_to([0.0, 0.3], SHAPE).ravel()
    f = np.full(offset.size, cbf)
    deltam = 1000 / 0.9 / 6000 * cbf * tissue_response(scheme, f * 0 + att, offset=offset)
    cycle = 500.0 - deltam @ (np.array(matrix[1:]) == -1)
    volumes = np.concatenate([np.full((f.size, 1), 1000.0), cycle, cycle], axis=1)
    return volumes.reshape(*SHAPE, -1)


def quantified(run, series):
    return quantify(
        run, series, np.full(SHAPE, 1000.0), np.ones(SHAPE, bool), voxel_size=(3, 3, 3),
        science=Science(estimator="least-squares", m0_smoothing=0),
    )  # fmt: skip


@settings(max_examples=12)
@given(
    cbf=st.floats(10, 120),
    att=st.floats(1.15, 2.4),
    order=st.permutations(range(1, 8)),
    times=st.sampled_from(["final", "each"]),
)
def test_encoded_volumes_give_back_cbf_and_att(cbf, att, order, times):
    """For any order of blocks, with the final delay or with the effective delay of each block."""
    matrix = [WALSH[0], *(WALSH[k] for k in order)]
    each = [FINAL + sum(BLOCKS[k + 1 :]) for k in range(7)]
    delays = FINAL if times == "final" else [0, *(9, *each) * 2]
    run = run_of(TimeEncodedMatrix=matrix, PostLabelingDelay=delays)
    result = quantified(run, series_of(cbf, att, matrix))
    np.testing.assert_allclose(result.cbf, cbf, rtol=2e-3)
    np.testing.assert_allclose(result.further["att"], att, atol=2e-3)
    assert result.n_pairs == 14


def test_the_record_tells_blocks_and_matrix():
    run = run_of()
    known = {parameter.name: parameter for parameter in run.labeling.parameters()}
    delays = (0.8, 1.0, 1.25, 1.55, 1.95, 2.45, 3.15)
    assert known["PostLabelingDelay"].value == pytest.approx(delays)
    assert known["PostLabelingDelay"].origin == "derived"
    assert known["LabelingDuration"].value == BLOCKS[::-1]
    assert known["TimeEncodedMatrix"].value[:2] == ("+++++++", "+++−−−−")
    assert any("2 cycles of 8 volumes" in note for note in run.notes)


def test_a_matrix_the_wrong_way_round_is_named():
    inverted = [WALSH[0], *([-sign for sign in row] for row in WALSH[1:])]
    context = ("m0scan", *("label",) * 16)
    run = run_of(context, TimeEncodedMatrix=inverted)
    with pytest.raises(InputError, match="TimeEncodedMatrix, the label raises"):
        quantified(run, series_of(60, 1.2))


def test_decoded_volumes_need_no_matrix():
    context = ("m0scan", *("deltam",) * 7)
    times = {
        "PostLabelingDelay": [0, 3.15, 2.45, 1.95, 1.55, 1.25, 1.0, 0.8],
        "LabelingDuration": [0, *BLOCKS],
    }
    run = run_of(context, **times)
    assert run.labeling.encoding is None
    encoded = series_of(60, 1.2)[..., 1:9]
    decoded = encoded @ (np.array(WALSH[1:]).T / 4)
    series = np.concatenate([np.full((*SHAPE, 1), 1000.0), decoded], axis=-1)
    np.testing.assert_allclose(quantified(run, series).cbf, 60, rtol=2e-3)


def test_an_empty_cycle_is_told_once_per_block():
    """Both cycles hold the truth; one has no data, so that each block has a single difference."""
    series = series_of(60, 1.2)
    series[..., 12] = np.nan
    result = quantified(run_of(), series)
    np.testing.assert_allclose(result.cbf, 60, rtol=2e-3)
    assert [one.volumes for one in result.rejected] == [tuple(range(9, 17))] * 7
    assert "for the block of 0.8 s" in result.rejected[0].reason
    assert result.n_pairs == 7


TWICE = [*WALSH[:7], WALSH[1]]


@pytest.mark.parametrize(
    ("changed", "kind", "told"),
    [
        ({"TimeEncodedMatrix": None}, PendingError, "TimeEncodedMatrix is not known"),
        ({"LabelingDuration": 0.5}, PendingError, "of a block or of all blocks"),
        ({"TimeEncodedMatrixSize": 4}, InputError, "TimeEncodedMatrixSize is 4"),
        ({"TimeEncodedMatrix": WALSH[:5]}, InputError, "4 blocks and 8 volumes"),
        ({"TimeEncodedMatrix": [[1, "x"]]}, InputError, "not understood"),
        ({"TimeEncodedMatrix": TWICE}, InputError, "orthogonal"),
        ({"LabelingDuration": [0, *(9, *BLOCKS), *(9, *BLOCKS[::-1])]}, InputError, "cycles"),
        ({"PostLabelingDelay": [0, *(9, 3, 2.8, 2, 1.5, 1.2, 1, 0.8) * 2]}, InputError, "overlap"),
        ({"LabelingDuration": [0, *(9, 0, *BLOCKS[1:]) * 2]}, InputError, "of a block is 0"),
        ({"LabelingDuration": [0, *(9, *(700,) * 7) * 2]}, InputError, "milliseconds"),
        ({"EchoTime": [0.01, *(0.01, 0.02) * 8]}, InputError, "EchoTime differs"),
        ({"LookLocker": True, "FlipAngle": 30}, InputError, "Look-Locker"),
        ({"ArterialSpinLabelingType": "PASL"}, InputError, "for PASL"),
    ],
)
def test_what_does_not_fit_is_told_with_its_remedy(changed, kind, told):
    with pytest.raises(kind, match=told) as error:
        run_of(**changed)
    assert error.value.fix


@pytest.mark.parametrize(
    ("context", "told"),
    [
        (("m0scan", *CYCLE, *CYCLE[:-1], "n/a"), "no whole number of cycles of 8"),
        (("m0scan", *("control", "label") * 8), "a label, aslcontext.tsv lists a control"),
        (("m0scan", *CYCLE, *("deltam",) * 8), "decoded and encoded"),
    ],
)
def test_an_aslcontext_that_does_not_fit_the_matrix_is_refused(context, told):
    with pytest.raises(InputError, match=told):
        run_of(context)
