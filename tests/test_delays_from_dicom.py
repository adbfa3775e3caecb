"""Scans with several delays from the three vendors' DICOM to CBF and ATT of known truth.

The truth comes from arterial input and residue, integrated numerically. Voxels are rounded to the
whole numbers of DICOM, M0 varies over the head so that this evens out over a band of equal truth.
"""

from dataclasses import replace

import nibabel as nib
import numpy as np
from convolution import curves
from numpy.testing import assert_allclose

from cereflow_bids.bids.dataset import Selection, select_runs
from cereflow_bids.bids.index import open_dataset
from cereflow_bids.cli.convert import main
from cereflow_bids.demo.writers import ge_easl, philips, siemens
from cereflow_bids.demo.writers.dicom import pack
from cereflow_bids.demo.writers.siemens_protocol import several_delays
from cereflow_bids.demo.writers.study import Identity, Study
from cereflow_bids.perfusion.scheme import LabelingScheme
from cereflow_bids.quantification.quantify import quantify
from cereflow_bids.quantification.science import Science

SHAPE = (30, 36, 12)
AFFINE = np.array([[6.0, 0, 0, -87], [0, 6.0, 0, -105], [0, 0, 8.0, -44], [0, 0, 0, 1]])
STUDY = Study(Identity.canary("DE"), "20310304", "091500")
T1_BLOOD, T1_TISSUE, PARTITION = 1.65, 1.3, 0.9
CBF = (30.0, 60.0, 90.0)


class Head:
    """An ellipsoid with three bands of CBF along x and four of ATT along y."""

    def __init__(self, atts):
        x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
        self.inside = x**2 + y**2 + z**2 < 0.9
        self.m0 = np.where(self.inside, 3000 * (1 + 0.1 * x + 0.07 * y + 0.05 * z), 0)
        self.flow = np.digitize(x, (-1 / 3, 1 / 3))
        self.arrival = np.digitize(y, (-0.5, 0, 0.5))
        self.atts = atts

    def deltam(self, scheme, offset=0.0):
        """Return ΔM of each measurement (x, y, z, n); `offset` is what each slice adds, s."""
        pairs = np.array([(f, a) for f in CBF for a in self.atts])
        table = curves(scheme, pairs[:, 0], pairs[:, 1], offset=offset).reshape(3, 4, -1)
        return self.m0[..., None] * table[self.flow, self.arrival] / PARTITION

    def check(self, cbf, att, *, cbf_tolerance, att_tolerance):
        """Compare the mean of each band, away from its borders, with the truth."""
        for f, flow in enumerate(CBF):
            for a, arrival in enumerate(self.atts):
                band = self.inside & (self.flow == f) & (self.arrival == a)
                assert_allclose(cbf[band].mean(), flow, rtol=cbf_tolerance)
                assert_allclose(att[band].mean(), arrival, atol=att_tolerance)


def recovered(seconds):
    return 1 - np.exp(-seconds / T1_TISSUE)


def quantified(folder, *options):
    """Convert a folder of DICOM and quantify its run; return run, CBF and ATT on our grid."""
    dataset = folder.with_name("bids")
    archive = pack(folder, folder.with_name("upload.zip"))
    assert main([str(part) for part in (archive, dataset, *options, "--quiet")]) == 0
    (run,), rejected = select_runs(open_dataset(dataset), Selection())
    assert not rejected
    image = nib.load(run.asl)
    series = image.get_fdata()
    if run.calibration.m0_file is None:
        m0 = series[..., run.volumes("m0scan")].mean(axis=-1)
    else:
        m0 = nib.load(run.calibration.m0_file).get_fdata()
    result = quantify(
        run, series, m0, m0 > 200, voxel_size=image.header.get_zooms()[:3],
        science=Science(estimator="least-squares", m0_smoothing=0),
    )  # fmt: skip
    maps = [
        nib.as_closest_canonical(nib.Nifti1Image(data, image.affine))
        for data in (result.cbf, result.further["att"])
    ]
    assert_allclose(maps[0].affine, AFFINE, atol=1e-3)
    return run, *(one.get_fdata() for one in maps)


def test_siemens_with_five_delays_and_unequal_repeats(tmp_path):
    delays, repeats = (0.5, 1.0, 1.5, 2.0, 2.5), (2, 2, 2, 3, 3)
    protocol = several_delays(delays, repeats)
    head = Head((0.7, 1.1, 1.4, 1.8))
    scheme = LabelingScheme("PCASL", delays, (protocol.labeling_duration,) * 5, 0.85, T1_BLOOD)
    deltam = head.deltam(scheme)
    control = 0.2 * head.m0
    volumes = [head.m0 * recovered(protocol.repetition_time)] * 2
    for k, count in enumerate(repeats):
        volumes += [control - deltam[..., k], control] * count
    siemens.write(tmp_path / "in", STUDY, np.stack(volumes, -1), AFFINE, protocol=protocol)
    run, cbf, att = quantified(tmp_path / "in")
    assert run.labeling.post_labeling_delay.value == delays
    head.check(cbf, att, cbf_tolerance=0.02, att_tolerance=0.02)


def test_philips_with_one_series_per_delay(tmp_path):
    delays, duration = (0.8, 1.3, 1.8, 2.3), 1.8
    head = Head((1.0, 1.3, 1.6, 2.0))
    deltam = head.deltam(LabelingScheme("PCASL", delays, (duration,) * 4, 0.85, T1_BLOOD))
    protocol = philips.PhilipsProtocol()
    m0 = head.m0 * recovered(protocol.repetition_time)
    control = 0.2 * head.m0
    for k in range(len(delays)):
        own = replace(protocol, source_number=1903 + 100 * k)
        volumes = [m0, m0, *([control, control - deltam[..., k]] * 2)]
        # The scanner's floating point units; each series is stored with a scale of its own.
        stack = 1e4 * np.stack(volumes, axis=-1)
        philips.write_source(tmp_path / "in" / str(k), STUDY, stack, AFFINE, protocol=own)
    options = ("--post-labeling-delay", *delays, "--labeling-duration", duration)
    run, cbf, att = quantified(tmp_path / "in", *options)
    assert run.labeling.post_labeling_delay.value == delays
    head.check(cbf, att, cbf_tolerance=0.02, att_tolerance=0.02)


def test_ge_easl_with_seven_delays(tmp_path):
    delays = (1.0, 1.222, 1.478, 1.781, 2.153, 2.635, 3.317)
    durations = (0.222, 0.256, 0.303, 0.372, 0.481, 0.682, 1.183)
    head = Head((1.2, 1.5, 1.9, 2.4))
    deltam = head.deltam(LabelingScheme("PCASL", delays, durations, 0.85, T1_BLOOD))
    density = head.m0 * recovered(2.0)
    ge_easl.write_raw(tmp_path / "in", STUDY, 32 * deltam, density, AFFINE)
    run, cbf, att = quantified(tmp_path / "in")
    assert run.labeling.labeling_duration.value == durations
    head.check(cbf, att, cbf_tolerance=0.02, att_tolerance=0.02)


def test_philips_multiphase_is_a_look_locker_train(tmp_path):
    """A 2D PASL scan; each slice is excited at its own delays, M0 with another flip angle."""
    protocol = replace(philips.MULTIPHASE, phases=7)
    delays = tuple(0.3 + 0.25 * k for k in range(7))
    scheme = LabelingScheme(
        "PASL", delays, (0.7,) * 7, 0.98, T1_BLOOD, readout_flip_angle=protocol.flip_angle
    )
    head = Head((0.4, 0.6, 0.8, 1.0))
    read = np.sin(np.radians(protocol.flip_angle))
    slices = [head.deltam(scheme, protocol.slice_interval * k) for k in range(SHAPE[2])]
    deltam = read * np.stack([one[:, :, k] for k, one in enumerate(slices)], axis=2)
    control = np.repeat(0.3 * read * head.m0[..., None], 7, axis=-1)
    stack = 1e4 * np.concatenate([control, control - deltam] * 2, axis=-1)
    philips.write_source(tmp_path / "in" / "a", STUDY, stack, AFFINE, protocol=protocol)
    philips.write_m0(tmp_path / "in" / "b", STUDY, 1e4 * head.m0, AFFINE, protocol=protocol)
    options = ("--labeling-type", "PASL", "--bolus-cutoff", 0.7)
    run, cbf, att = quantified(tmp_path / "in", *options, "--background-suppression", "no")
    assert run.labeling.readout_flip_angle.value == 40
    assert run.calibration.flip_angles == (90, 40)
    head.check(cbf, att, cbf_tolerance=0.02, att_tolerance=0.02)
