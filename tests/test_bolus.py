"""PASL whose bolus no pulse cuts off: relative perfusion, or CBF with the user's duration."""

from pathlib import Path

import numpy as np
import pytest

from cereflow_bids.bids.m0_metadata import read_calibration
from cereflow_bids.bids.metadata import read_labeling
from cereflow_bids.bids.run import AslRun
from cereflow_bids.bids.sidecar import Sidecar
from cereflow_bids.cli.cereflow import parser
from cereflow_bids.cli.science_options import science_of
from cereflow_bids.perfusion.kinetics import tissue_response
from cereflow_bids.perfusion.scheme import LabelingScheme
from cereflow_bids.quantification.quantify import quantify
from cereflow_bids.quantification.science import Science

SHAPE = (3, 2, 2)
TIMES = (0.6, 1.2, 1.8, 2.4)
BOLUS, CBF, ATT = 0.9, 60.0, 0.7
VALUES = {
    "ArterialSpinLabelingType": "PASL",
    "BolusCutOffFlag": False,
    "MRAcquisitionType": "3D",
    "MagneticFieldStrength": 3,
    "LabelingEfficiency": 0.98,
    "M0Type": "Included",
    "RepetitionTimePreparation": 6.0,
}


def run_of(times=TIMES, **changed):
    context = ("m0scan", *("control", "label") * len(times))
    delays = [0, *np.repeat(times, 2)]
    sidecar = Sidecar(VALUES | {"PostLabelingDelay": delays} | changed, "sub-01_asl.nii.gz")
    labeling, _ = read_labeling(sidecar, context, SHAPE)
    calibration = read_calibration(sidecar, context, None, labeling)
    return AslRun("sub-01", "01", None, Path("asl"), "sub-01", context, labeling, calibration)


def quantified(run, **choices):
    times = sorted(set(run.labeling.volume_delays[1:]))
    scheme = LabelingScheme("PASL", tuple(times), (BOLUS,) * len(times), 0.98, 1.65)
    deltam = 1000 / 0.9 / 6000 * CBF * tissue_response(scheme, [ATT])[0]
    values = [1000.0, *(v for change in deltam for v in (500.0, 500.0 - change))]
    series = np.broadcast_to(np.array(values), (*SHAPE, len(values)))
    science = Science(estimator="least-squares", m0_smoothing=0, **choices)
    return quantify(
        run, series, np.full(SHAPE, 1000.0), np.ones(SHAPE, bool), voxel_size=(3, 3, 3),
        science=science,
    )  # fmt: skip


@pytest.mark.parametrize("times", [TIMES, (2.0,)])
def test_with_the_users_bolus_there_is_cbf(times):
    """At one delay it holds once all of the bolus has arrived: 2.0 > 0.9 + 0.7 s."""
    result = quantified(run_of(times), bolus_duration=BOLUS)
    np.testing.assert_allclose(result.cbf, CBF, rtol=1e-3)
    known = {parameter.name: parameter for parameter in result.parameters}
    assert known["BolusDuration"].value == BOLUS
    assert known["BolusDuration"].origin == "command line"


def test_without_it_perfusion_is_relative_and_says_what_would_help():
    result = quantified(run_of())
    assert result.cbf is None
    assert "--bolus-duration" in result.refusal


def test_a_bolus_that_is_cut_off_keeps_its_own_duration():
    run = run_of(BolusCutOffFlag=True, BolusCutOffDelayTime=BOLUS)
    result = quantified(run, bolus_duration=0.3)
    np.testing.assert_allclose(result.cbf, CBF, rtol=1e-3)
    assert "BolusDuration" not in {parameter.name for parameter in result.parameters}
    assert any("--bolus-duration was not applied" in note for note in result.notes)


def test_without_m0_it_is_the_m0_that_is_missing():
    result = quantified(run_of(M0Type="Separate"), bolus_duration=BOLUS)
    assert result.cbf is None
    assert "no _m0scan" in result.refusal


def test_the_option_takes_seconds(capsys):
    words = ["bids", "out", "participant", "--bolus-duration"]
    assert science_of(parser().parse_args([*words, "0.9"])).bolus_duration == 0.9
    with pytest.raises(SystemExit):
        parser().parse_args([*words, "900"])
    assert "not a number of seconds from 0.1 to 5" in capsys.readouterr().err
