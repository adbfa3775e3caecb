"""Real ZIPs: volume order, labelling, M0 and privacy are those of the scans."""

import base64
import gzip
import io
import json
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from bids_validation import validator_errors
from identity import identifying_texts, leaks, named

from cereflow_bids.cli.convert import main

STEMS = (
    "siemens_pcasl3d_1delay",
    "siemens_pasl3d",
    "philips_pcasl3d_1delay_t1",
    "siemens_xa30_asl2d_t1",
)
Converted = Callable[[str], Path]


def sidecar(dataset: Path, stem: str = "perf/sub-01_asl") -> dict[str, Any]:
    content: dict[str, Any] = json.loads((dataset / f"sub-01/{stem}.json").read_text("utf-8"))
    return content


def context(dataset: Path) -> list[str]:
    lines = (dataset / "sub-01/perf/sub-01_aslcontext.tsv").read_text("utf-8").splitlines()
    assert lines[0] == "volume_type"
    return lines[1:]


def test_siemens_research_pcasl(real_bids: Converted) -> None:
    dataset = real_bids("siemens_pcasl3d_1delay")
    asl = sidecar(dataset)
    assert context(dataset) == ["m0scan", "n/a", *["label", "control"] * 8]
    # dcm2niix gives the delay (1.2 s) as the duration, and 13929 as the preparation time.
    assert asl["LabelingDuration"] == pytest.approx(1.509, abs=1e-9)
    assert asl["PostLabelingDelay"] == pytest.approx(1.2)
    assert asl["RepetitionTimePreparation"] == pytest.approx(3.48)
    assert asl["ArterialSpinLabelingType"] == "PCASL"
    assert asl["TotalAcquiredPairs"] == 8
    assert asl["M0Type"] == "Included"
    assert asl["BackgroundSuppression"] is True
    origins = asl["CereflowOrigins"]
    assert "82 RF blocks x 18.4 ms" in origins["LabelingDuration"]
    assert origins["BackgroundSuppression"].startswith("inferred")


def test_siemens_product_pasl_has_no_calibration(real_bids: Converted) -> None:
    dataset = real_bids("siemens_pasl3d")
    asl = sidecar(dataset)
    assert context(dataset) == ["control", "label"] * 6
    assert asl["ArterialSpinLabelingType"] == "PASL"
    assert asl["BolusCutOffFlag"] is True
    assert asl["BolusCutOffDelayTime"] == pytest.approx(0.7)
    assert asl["BolusCutOffTechnique"] == "QUIPSSII"
    assert asl["PostLabelingDelay"] == pytest.approx(1.99)
    assert asl["RepetitionTimePreparation"] == pytest.approx(3.6)
    assert asl["TotalAcquiredPairs"] == 6
    assert "LabelingDuration" not in asl
    assert asl["M0Type"] == "Absent"
    assert asl["BackgroundSuppression"] is True
    assert not list(dataset.rglob("*m0scan*"))


def test_siemens_pasl_says_why_m0_was_left_out(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(data_dir / "zips/siemens_pasl3d.zip"), str(tmp_path / "bids"), "-q"]) == 0
    assert "no calibration scan" in capsys.readouterr().out


def test_philips_source(real_bids: Converted) -> None:
    dataset = real_bids("philips_pcasl3d_1delay_t1")
    asl = sidecar(dataset)
    assert context(dataset) == ["m0scan", "m0scan", "control", "label", "control", "label"]
    assert asl["LabelingDuration"] == 1.8
    assert asl["PostLabelingDelay"] == 2.0
    assert asl["CereflowOrigins"]["PostLabelingDelay"] == "command line"
    assert asl["RepetitionTimePreparation"] == pytest.approx(4.25)
    assert asl["TotalAcquiredPairs"] == 2
    assert asl["M0Type"] == "Included"
    assert asl["BackgroundSuppression"] is True
    assert asl["UsePhilipsFloatNotDisplayScaling"] == 1
    assert asl["PhilipsScaleSlope"] == pytest.approx(3.43251e-05)
    assert sidecar(dataset, "anat/sub-01_T1w")["MRAcquisitionType"] == "3D"


def test_philips_console_map_is_not_raw(real_bids: Converted) -> None:
    dataset = real_bids("philips_pcasl3d_1delay_t1")
    console = dataset / "derivatives/console"
    described = json.loads((console / "dataset_description.json").read_text("utf-8"))
    assert described["DatasetType"] == "derivative"
    cbf = nib.load(console / "sub-01/perf/sub-01_desc-console_cbf.nii.gz")
    asl = nib.load(dataset / "sub-01/perf/sub-01_asl.nii.gz")
    assert cbf.shape == asl.shape[:3]
    np.testing.assert_allclose(cbf.affine, asl.affine, atol=1e-3)
    assert not list((dataset / "sub-01").rglob("*cbf*"))
    assert 10 < np.percentile(cbf.get_fdata(), 90) < 100


def test_siemens_xa_2d(real_bids: Converted) -> None:
    dataset = real_bids("siemens_xa30_asl2d_t1")
    asl = sidecar(dataset)
    assert context(dataset) == ["m0scan", *["label", "control"] * 3]
    assert asl["LabelingDuration"] == pytest.approx(1.8)
    assert asl["PostLabelingDelay"] == pytest.approx(1.8)
    assert asl["RepetitionTimePreparation"] == pytest.approx(4.8)
    assert asl["TotalAcquiredPairs"] == 3
    assert asl["M0Type"] == "Included"
    assert asl["BackgroundSuppression"] is False
    assert asl["MRAcquisitionType"] == "2D"
    assert len(asl["SliceTiming"]) == 12
    assert asl["SliceTiming"][-1] == pytest.approx(0.4225)
    assert nib.load(dataset / "sub-01/anat/sub-01_T1w.nii.gz").shape == (96, 128, 128)
    names = {path.name for path in dataset.rglob("*.nii.gz")}
    assert names == {"sub-01_asl.nii.gz", "sub-01_T1w.nii.gz"}


@pytest.mark.parametrize("stem", STEMS[:3])
def test_no_slice_times_for_3d(stem: str, real_bids: Converted) -> None:
    for path in real_bids(stem).rglob("*.json"):
        assert "SliceTiming" not in path.read_text("utf-8")


@pytest.mark.parametrize("stem", STEMS)
def test_voxels_are_those_of_dcm2niix(
    stem: str, real_bids: Converted, data_dir: Path, tmp_path: Path
) -> None:
    import dcm2niix

    with zipfile.ZipFile(data_dir / "zips" / f"{stem}.zip") as archive:
        archive.extractall(tmp_path / "dicom")
    (tmp_path / "nifti").mkdir()
    command = [dcm2niix.bin, "-z", "n", "-f", "%s", "-o", tmp_path / "nifti", tmp_path / "dicom"]
    subprocess.run(command, check=True, capture_output=True)
    candidates = [nib.load(path) for path in (tmp_path / "nifti").glob("*.nii")]
    ours = nib.load(real_bids(stem) / "sub-01/perf/sub-01_asl.nii.gz")
    same = [one for one in candidates if one.shape == ours.shape]
    assert any(
        np.array_equal(one.dataobj, ours.dataobj) and np.array_equal(one.affine, ours.affine)
        for one in same
    )


@pytest.mark.parametrize("stem", STEMS)
def test_valid_bids(stem: str, real_bids: Converted) -> None:
    assert validator_errors(real_bids(stem)) == []


# -- privacy -------------------------------------------------------------------------------------


@pytest.mark.parametrize("stem", STEMS)
def test_no_identity_in_any_byte(stem: str, real_bids: Converted, data_dir: Path) -> None:
    secrets = identifying_texts(data_dir / "zips" / f"{stem}.zip")
    assert leaks(real_bids(stem), secrets) == []


def test_the_search_for_identities_finds_one(data_dir: Path, tmp_path: Path) -> None:
    secrets = identifying_texts(data_dir / "zips/siemens_xa30_asl2d_t1.zip")
    leak = tmp_path / "leak.nii.gz"
    leak.write_bytes(gzip.compress(b"0000" + b"XAtest_sub-July11" + b"0000"))
    assert leaks(tmp_path, secrets) == ["leak.nii.gz: b'XAtest_sub-July11'"]


@pytest.mark.parametrize("chunk", ["tEXt", "zTXt", "iTXt"])
@pytest.mark.parametrize("inside", ["figure.png", "report.html"])
def test_the_search_looks_into_the_texts_of_figures(
    chunk: str, inside: str, tmp_path: Path
) -> None:
    from PIL import Image, PngImagePlugin

    texts = PngImagePlugin.PngInfo()
    if chunk == "iTXt":
        texts.add_itxt("Title", "made for Doe^Jane", "en", "Titel", zip=True)
    else:
        texts.add_text("Title", "made for Doe^Jane", zip=chunk == "zTXt")
    figure = io.BytesIO()
    Image.new("L", (4, 4)).save(figure, "PNG", pnginfo=texts)
    content = figure.getvalue()
    assert chunk.encode() in content
    if inside == "report.html":
        content = b'<img src="data:image/png;base64,' + base64.b64encode(content) + b'">'
    (tmp_path / inside).write_bytes(content)
    assert leaks(tmp_path, {b"DOE^JANE", b"absent"}) == [f"{inside}: b'DOE^JANE'"]


@pytest.mark.parametrize("stem", STEMS)
def test_headers_and_times_are_clean(stem: str, real_bids: Converted) -> None:
    for path in real_bids(stem).rglob("*.nii.gz"):
        raw = path.read_bytes()
        assert raw[3] == 0, "the gzip header must hold no file name"
        assert raw[4:8] == bytes(4), "the gzip header must hold no time"
        header = nib.load(path).header
        for field in ("descrip", "aux_file", "db_name", "intent_name"):
            assert header[field].tobytes().strip(b"\0") == b""
        assert not header.extensions


def test_same_bytes_twice(real_bids: Converted, data_dir: Path, tmp_path: Path) -> None:
    stem = "siemens_xa30_asl2d_t1"
    assert main([str(data_dir / "zips" / f"{stem}.zip"), str(tmp_path / "bids"), "-q"]) == 0
    first, second = real_bids(stem), tmp_path / "bids"
    names = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert names == sorted(p.relative_to(second) for p in second.rglob("*") if p.is_file())
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


def test_console_output_names_nobody(
    data_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    archive = data_dir / "zips/siemens_xa30_asl2d_t1.zip"
    assert main([str(archive), str(tmp_path / "bids")]) == 0
    said = "".join(capfd.readouterr()).encode()
    assert b"sub-01" in said
    assert named(said, identifying_texts(archive)) == []
    assert archive.stem.encode() not in said


@pytest.mark.parametrize("stem", STEMS)
def test_no_leftovers_of_heudiconv(stem: str, real_bids: Converted) -> None:
    dataset = real_bids(stem)
    names = [path.name for path in dataset.rglob("*")]
    assert ".heudiconv" not in names
    assert not [name for name in names if "scans" in name or "events" in name or "task" in name]
    header, row = (dataset / "participants.tsv").read_text("utf-8").splitlines()
    assert header == "participant_id\tage\tsex"
    assert row.startswith("sub-01\t")
    assert "group" not in header
    assert all(path.stat().st_mode & 0o200 for path in dataset.rglob("*"))
    beside = {path.name for path in dataset.parent.iterdir()}
    assert beside == {"bids", "bids.key.json"}
    assert (dataset.parent / "bids.key.json").stat().st_mode & 0o777 == 0o600


def test_defacing_clears_the_face_and_nothing_else(
    real_bids: Converted, data_dir: Path, tmp_path: Path
) -> None:
    stem = "siemens_xa30_asl2d_t1"
    archive = data_dir / "zips" / f"{stem}.zip"
    assert main([str(archive), str(tmp_path / "bids"), "--deface", "--quiet"]) == 0
    name = "sub-01/anat/sub-01_T1w"
    before, after = (
        nib.as_closest_canonical(nib.load(folder / f"{name}.nii.gz"))
        for folder in (real_bids(stem), tmp_path / "bids")
    )
    np.testing.assert_array_equal(before.affine, after.affine)
    whole, rest = before.get_fdata(), after.get_fdata()
    cleared = rest != whole
    assert not rest[cleared].any()
    # Of the head, the front of the lower half is gone, and the back and the top are not.
    head = whole > 0.1 * np.percentile(whole, 99)
    _, y, z = (int(n) for n in np.array(whole.shape) * (0, 0.75, 0.45))
    assert cleared[:, y:, :z][head[:, y:, :z]].mean() > 0.9
    assert not cleared[:, : whole.shape[1] // 2, whole.shape[2] // 2 :].any()
    told = json.loads((tmp_path / f"bids/{name}.json").read_text("utf-8"))
    assert told["CereflowDefaced"].startswith("quickshear")
