"""No byte of any output names the patient: a canary stands wherever a header could."""

import json
import stat
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import dcm2niix
import numpy as np
import pytest
from bids_validation import validator_errors
from canaries import canary, leaked, plant, zip_with_canaries
from identity import contents, leaks, named
from intake_uploads import AFFINE, head, visit
from pydicom import dcmread

from cereflow_bids.cli.convert import main
from cereflow_bids.demo.writers import (
    ge,
    philips,
    siemens,
    siemens_slices,
    siemens_xa,
    siemens_xa_classic,
)
from cereflow_bids.demo.writers.siemens_protocol import SiemensProtocol
from cereflow_bids.demo.writers.siemens_xa_protocol import XaProtocol

STUDY = visit("Q")
# What the element of the pixels begins with: (7FE0,0010), OW.
PIXELS = b"\xe0\x7f\x10\x00OW"
PROTOCOL_TEXT = canary(0x00291020)
# Texts of the Siemens protocol print; the free text of a research sequence is its author's.
LINES = {
    "tReferenceImage0": '""1.3.12.2.1107.5.2.43.1.30000021020310101000000000017""',
    "tPatientName": f'""{PROTOCOL_TEXT}1""',
    "sWipMemBlock.tFree": f'""{PROTOCOL_TEXT}2""',
    "tdefaultEVAProt": f'""%SiemensEvaDefProt%\\{PROTOCOL_TEXT}3""',
    "sProtConsistencyInfo.tSystemType": f'""{PROTOCOL_TEXT}4""',
}
SIEMENS_TEXTS = {f"{PROTOCOL_TEXT}{k}".encode() for k in range(1, 5)} | {
    b"1.3.12.2.1107.5.2.43.1.30000021020310101000000000017"
}


def write_siemens(folder: Path, *, whole: bool) -> None:
    stack = np.stack([head(value) for value in (1500, 300, 295, 300, 295)], axis=-1)
    protocol = SiemensProtocol(lines=LINES)
    protocol = protocol if whole else replace(protocol, post_labeling_delay=None)
    siemens.write(folder / "asl", STUDY, stack, AFFINE, protocol=protocol)
    siemens_slices.write(folder / "t1", STUDY, head(900), AFFINE, siemens_slices.MPRAGE)


def write_ge(folder: Path, *, whole: bool) -> None:
    for path in ge.write(folder / "asl", STUDY, head(960), head(1000), AFFINE):
        image = dcmread(path)
        if not whole:
            del image.NumberOfAverages, image[0x0027, 0x1062]
        image.save_as(path)
    ge.write_cbf(folder / "cbf", STUDY, head(50), AFFINE)


def write_philips(folder: Path, *, whole: bool) -> None:
    del whole  # no header of theirs ever is
    stack = np.stack([head(8), head(8), head(0.4), head(0.39)], axis=-1)
    philips.write_source(folder / "source", STUDY, stack, AFFINE)
    philips.write_cbf(folder / "cbf", STUDY, head(50), AFFINE)


def write_siemens_xa(folder: Path, *, whole: bool) -> None:
    stack = np.stack([head(value) for value in (1500, 300, 295, 300, 295)], axis=-1)
    tags = ["M_ZERO_SCAN", *["CONTROL", "LABEL"] * 2]
    del whole
    siemens_xa.write(folder, STUDY, stack, AFFINE, tags, protocol=XaProtocol(delays=(2.0,)))


def write_siemens_interoperability(folder: Path, *, whole: bool) -> None:
    stack = np.stack([head(value) for value in (1500, 300, 295, 300, 295)], axis=-1)
    siemens_xa_classic.write(folder, STUDY, stack, AFFINE, with_protocol=whole)


def write_philips_enhanced(folder: Path, *, whole: bool) -> None:
    del whole
    stack = np.stack([head(8), head(8), head(0.4), head(0.39)], axis=-1)
    philips.write_source(folder / "source", STUDY, stack, AFFINE, enhanced=True)


OTHERS: dict[str, Callable[..., None]] = {
    "siemens XA": write_siemens_xa,
    "siemens interoperability": write_siemens_interoperability,
    "philips enhanced": write_philips_enhanced,
}
WRITERS: dict[str, Callable[..., None]] = {
    "ge": write_ge,
    "philips": write_philips,
    "siemens": write_siemens,
}
PHILIPS_ANSWERS = ("--post-labeling-delay", "2.0", "--labeling-duration", "1.8")


class Upload(NamedTuple):
    """A ZIP full of canaries, the folder that it was made of, and what to search for."""

    maker: str
    archive: Path
    folder: Path
    planted: set[bytes]

    @property
    def answers(self) -> tuple[str, ...]:
        return PHILIPS_ANSWERS if self.maker == "philips" else ()


def made(folder: Path, maker: str, *, whole: bool) -> Upload:
    """Write an upload below `folder`, every text of which names somebody."""
    files = folder / canary(0xFFFE0001) / "dicom"
    (WRITERS | OTHERS)[maker](files, whole=whole)
    planted = plant(files, maker.partition(" ")[0])
    planted |= {text.encode() for text in STUDY.identity.texts()}
    planted |= SIEMENS_TEXTS if maker == "siemens" else set()
    archive = folder / canary(0xFFFE0001) / f"{canary(0xFFFE0002)}.zip"
    planted |= zip_with_canaries(files, archive)
    planted |= {canary(0xFFFE0001).encode(), canary(0xFFFE0002).encode()}
    return Upload(maker, archive, files, planted)


@pytest.fixture(scope="module", params=WRITERS)
def upload(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Upload:
    """Return an upload whose headers hold all that there is to know."""
    return made(tmp_path_factory.mktemp("upload"), request.param, whole=True)


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def assert_nobody_is_named(
    folder: Path, upload: Upload, said: tuple[str, str], allowed: set[bytes] | None = None
) -> None:
    """Search names and bytes of all that was written, but for the key file, and what was said."""
    key = folder / "bids.key.json"
    found = {
        (path.name, text)
        for path, content in contents(folder)
        if path != key or content == key.name.encode()
        for text in named(content, upload.planted)
        if not (allowed and text in allowed and path.parent.parent.name == "bids.pending")
    }
    assert not found
    assert not leaked(said, upload.planted)


def test_the_search_finds_what_dcm2niix_writes(upload: Upload, tmp_path: Path) -> None:
    """Without this, a search that finds nothing would mean nothing."""
    command = [dcm2niix.bin, "-ba", "n", "-f", "%n", "-o", str(tmp_path), str(upload.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = {line.split(": ")[0] for line in leaks(tmp_path, upload.planted)}
    assert {name.rpartition(".")[2] for name in found} >= {"json"}
    assert leaked([done.stdout], upload.planted)
    assert len(upload.planted) > 1500


def test_a_conversion_names_nobody(
    upload: Upload, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = run(upload.archive, tmp_path / "bids", *upload.answers)
    said = capfd.readouterr()
    assert code == 0, said.err
    assert "converting 1/1" in said.err
    assert validator_errors(tmp_path / "bids") == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bids", "bids.key.json"]
    assert_nobody_is_named(tmp_path, upload, said)


def test_the_key_file_alone_joins_label_and_patient(upload: Upload, tmp_path: Path) -> None:
    assert run(upload.archive, tmp_path / "bids", *upload.answers) == 0
    key = tmp_path / "bids.key.json"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    (patient,) = json.loads(key.read_text("utf-8"))["patients"]
    issuer, number, birth = patient.split("|")
    assert (issuer, number) == (canary(0x00100021), canary(0x00100020))
    (entry,) = json.loads(key.read_text("utf-8"))["patients"].values()
    (study,) = entry["studies"].values()
    # It tells patients and their studies apart; names and UIDs are no part of that.
    joined = set(named(key.read_bytes(), upload.planted))
    assert joined <= {text.encode() for text in (issuer, number, birth, study["date"])}


def test_a_pending_conversion_names_nobody(
    upload: Upload,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    capfd: pytest.CaptureFixture[str],
) -> None:
    lacking = made(tmp_path_factory.mktemp("lacking"), upload.maker, whole=False)
    code = run(lacking.archive, tmp_path / "bids")
    said = capfd.readouterr()
    assert code == 3, said.err
    assert {path.name for path in tmp_path.iterdir()} == {
        "bids",
        "bids.key.json",
        "bids.pending",
        "bids.pending.json",
    }
    # A protocol file matches descriptions, which the owner alone can therefore read.
    assert stat.S_IMODE((tmp_path / "bids.pending").stat().st_mode) == 0o700
    description = {canary(0x0008103E).encode()}
    assert_nobody_is_named(tmp_path, lacking, said, description)
    answers = {
        "ge": ("--excitations", "3"),
        "philips": PHILIPS_ANSWERS,
        "siemens": ("--post-labeling-delay", "1.8"),
    }
    assert run(tmp_path / "bids", *answers[upload.maker]) == 0
    assert_nobody_is_named(tmp_path, lacking, capfd.readouterr())


@pytest.mark.parametrize(
    ("maker", "whole", "code"),
    [
        ("siemens XA", True, 0),
        # Its slices are timed by their acquisition times, all of which are one canary.
        ("siemens interoperability", True, 3),
        ("siemens interoperability", False, 3),
        ("philips enhanced", False, 3),
    ],
)
def test_other_exports_name_nobody(  # noqa: PLR0917 - two fixtures of folders, one of output
    maker: str,
    whole: bool,
    code: int,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    capfd: pytest.CaptureFixture[str],
) -> None:
    upload = made(tmp_path_factory.mktemp("upload"), maker, whole=whole)
    assert run(upload.archive, tmp_path / "bids") == code
    said = capfd.readouterr()
    assert_nobody_is_named(tmp_path, upload, said, {canary(0x0008103E).encode()})


@pytest.mark.parametrize("fault", ["cut", "missing", "nothing"])
def test_a_failure_names_nobody(
    fault: str, upload: Upload, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / canary(0xFFFE0001)
    source.mkdir()
    for number, path in enumerate(sorted(upload.folder.rglob("*.*"))):
        content = path.read_bytes()
        if fault == "nothing" or (fault == "missing" and number % 5 == 3):
            continue
        kept = content.index(PIXELS) + 100 if fault == "cut" else len(content)
        (source / f"{canary(0xFFFF0000, 3)}{number}.dcm").write_bytes(content[:kept])
    (source / f"{canary(0xFFFF0000, 3)}.txt").write_text(canary(0xFFFF0000, 4), "utf-8")
    (tmp_path / "out").mkdir()
    assert run(source, tmp_path / "out" / "bids", *upload.answers) == 1
    said = capfd.readouterr()
    assert "FAILED" in said.err
    assert_nobody_is_named(tmp_path / "out", upload, said)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_explanation_names_nobody(
    upload: Upload, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("--explain", upload.archive) == (3 if upload.maker == "philips" else 0)
    said = capfd.readouterr()
    assert "ASL of series" in said.out
    assert_nobody_is_named(tmp_path, upload, said)


def test_usage_errors_name_nobody(
    upload: Upload, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    absent = tmp_path / canary(0xFFFE0002)
    assert run(upload.archive, absent, tmp_path / "bids") == 2
    assert run(upload.archive) == 2
    assert run(upload.archive, upload.archive) == 2
    assert_nobody_is_named(tmp_path, upload, capfd.readouterr())
