"""Look-Locker readouts: from the sidecar and volumes of a train to CBF and ATT."""

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
from cereflow_bids.quantification.quantify import quantify
from cereflow_bids.quantification.science import Science

SHAPE = (3, 2, 2)
TIMES = tuple(0.3 + 0.3 * k for k in range(9))
M0, T1B, BOLUS, FLIP = 1000.0, 1.65, 0.7, 35.0
VALUES = {
    "ArterialSpinLabelingType": "PASL",
    "BolusCutOffFlag": True,
    "BolusCutOffDelayTime": BOLUS,
    "MRAcquisitionType": "2D",
    "SliceTiming": [0.0, 0.02],
    "MagneticFieldStrength": 3,
    "LabelingEfficiency": 0.98,
    "LookLocker": True,
    "FlipAngle": FLIP,
    "M0Type": "Separate",
}
# Two trains of controls and labels each, as scanners send them.
CONTEXT = (("control",) * 9 + ("label",) * 9) * 2
DELAYS = TIMES * 4
M0SCAN = {"FlipAngle": 90, "RepetitionTimePreparation": 10.0}


def run_of(context=CONTEXT, delays=DELAYS, m0=M0SCAN, **changed):
    sidecar = Sidecar(VALUES | {"PostLabelingDelay": list(delays)} | changed, "sub-01_asl.nii.gz")
    labeling, notes = read_labeling(sidecar, context, SHAPE)
    separate = None if m0 is None else (Path("m0scan"), Sidecar(m0, "sub-01_m0scan.nii.gz"))
    calibration = read_calibration(sidecar, context, separate, labeling)
    return AslRun(
        "sub-01", "01", None, Path("asl"), "sub-01", tuple(context), labeling, calibration,
        notes=tuple(notes),
    )  # fmt: skip


def magnetisation(cbf, att, times, flip, step=2e-4):
    """Label left in tissue at each excitation, in small steps of time, per M0 of tissue."""
    left, read, now = 0.0, [], 0.0
    for time in times:
        while now < time - step / 2:
            inflow = np.exp(-(now + step / 2) / T1B) if att < now + step / 2 < att + BOLUS else 0
            left = left * np.exp(-step / T1B) + 2 * 0.98 * cbf / 6000 / 0.9 * inflow * step
            now += step
        read.append(left)
        left *= np.cos(np.radians(flip))
    return np.array(read)


def series_of(run, cbf, att, flip=FLIP):
    """Return volumes whose labels are below the controls by what the scanner would read."""
    volumes = np.full((*SHAPE, len(run.context)), 500.0)
    for number, offset in enumerate(run.labeling.slice_timing):
        left = magnetisation(cbf, att, np.array(TIMES) + offset, flip)
        signal = M0 * np.sin(np.radians(flip)) * left
        for k, kind in enumerate(run.context):
            if kind == "label":
                volumes[:, :, number, k] -= signal[k % len(TIMES)]
    return volumes


def quantified(run, series, m0):
    science = Science(estimator="least-squares", m0_smoothing=0)
    return quantify(
        run, series, np.full(SHAPE, m0), np.ones(SHAPE, bool), voxel_size=(3, 3, 3),
        science=science,
    )  # fmt: skip


@settings(max_examples=12)
@given(cbf=st.floats(10, 120), att=st.floats(0.4, 1.6), flip=st.floats(5, 60))
def test_a_train_gives_back_cbf_and_att(cbf, att, flip):
    """Against a simulation in small steps; M0 was read with another flip angle."""
    run = run_of(FlipAngle=flip)
    result = quantified(run, series_of(run, cbf, att, flip), M0)
    np.testing.assert_allclose(result.cbf, cbf, rtol=3e-3)
    np.testing.assert_allclose(result.further["att"], att, atol=3e-3)


def test_a_train_taken_for_single_excitations_would_be_wrong():
    """What the correction is worth: without it CBF of 60 comes out far too low."""
    run = run_of()
    series = series_of(run, 60, 0.8)
    single = run_of(LookLocker=False, m0={"RepetitionTimePreparation": 10.0})
    signal = np.sin(np.radians(FLIP))
    assert np.all(quantified(single, series, M0 * signal).cbf < 45)
    np.testing.assert_allclose(quantified(run, series, M0).cbf, 60, rtol=3e-3)


def test_the_record_tells_readout_and_m0_flip_angles():
    run = run_of()
    result = quantified(run, series_of(run, 60, 0.8), M0)
    known = {parameter.name: parameter for parameter in result.parameters}
    assert known["FlipAngle"].value == FLIP
    assert known["M0FlipAngle"].value == 90
    assert known["M0FlipAngleFactor"].value == pytest.approx(np.sin(np.radians(FLIP)), abs=1e-4)


def test_an_m0_of_the_same_excitation_is_taken_as_it_is():
    run = run_of(m0={"FlipAngle": [FLIP, FLIP], "RepetitionTimePreparation": [10.0, 10.0]})
    series = series_of(run, 60, 0.8)
    result = quantified(run, series, M0 * np.sin(np.radians(FLIP)))
    np.testing.assert_allclose(result.cbf, 60, rtol=3e-3)


def test_an_m0_of_unknown_flip_angle_waits_for_it():
    with pytest.raises(PendingError, match="FlipAngle of the M0 image") as told:
        run_of(m0={"RepetitionTimePreparation": 10.0})
    assert told.value.where == "sub-01_m0scan.nii.gz"


def test_m0_volumes_of_a_train_and_its_controls_are_no_m0():
    absent = run_of(m0=None, M0Type="Absent", BackgroundSuppression=False,
                    RepetitionTimePreparation=4.0)  # fmt: skip
    assert absent.calibration.source == "refused"
    assert "saturated" in absent.calibration.refusal
    context, delays = ("m0scan",) * 9 + CONTEXT, (0,) * 9 + DELAYS
    included = run_of(context, delays, None, M0Type="Included", RepetitionTimePreparation=4.0)
    assert included.calibration.source == "refused"
    assert "M0Estimate" in included.calibration.refusal
    context, delays = ("m0scan", *CONTEXT), (0, *DELAYS)
    flips = [90.0] + [FLIP] * len(CONTEXT)
    one = run_of(context, delays, None, M0Type="Included", RepetitionTimePreparation=9.0,
                 FlipAngle=flips)  # fmt: skip
    assert one.calibration.flip_angles == (90.0, FLIP)


@pytest.mark.parametrize(
    ("context", "delays"),
    [
        # The last excitation of one train is missing.
        (CONTEXT[:-1], DELAYS[:-1]),
        # The second pair of trains is shifted against the first.
        (CONTEXT, TIMES * 2 + tuple(time + 0.15 for time in TIMES) * 2),
        # Sorted by delay, and one delay came once only.
        (("control", "label") * 3, (0.3, 0.3, 0.3, 0.3, 0.6, 0.6)),
    ],
)
def test_what_is_not_whole_trains_is_refused(context, delays):
    with pytest.raises(InputError, match="whole trains"):
        run_of(context, delays)


def test_trains_in_the_order_of_their_delays_are_accepted():
    """As an enhanced Philips file may hold them: all repeats of a delay, then the next one."""
    context = ("control", "control", "label", "label") * 9
    delays = tuple(time for time in TIMES for _ in range(4))
    assert run_of(context, delays).labeling.readout_flip_angle.value == FLIP
