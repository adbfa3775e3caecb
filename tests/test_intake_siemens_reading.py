"""What is read from Siemens headers alone, without converting: names, numbers, parts, times."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from siemens_uploads import AFFINE, STUDY, pairs, volumes

from cereflow_bids.demo.writers import siemens as ve
from cereflow_bids.demo.writers import siemens_slices, siemens_xa
from cereflow_bids.demo.writers.siemens_protocol import (
    DELAYS,
    SiemensProtocol,
    several_delays,
)
from cereflow_bids.demo.writers.siemens_xa_protocol import XaProtocol
from cereflow_bids.intake.headers.series import Series, index
from cereflow_bids.intake.parameters.labeling import Labeling
from cereflow_bids.intake.vendors import siemens
from cereflow_bids.intake.vendors.siemens_protocol import number, seconds


def series(folder: Path) -> list[Series]:
    return index(sorted(path for path in folder.rglob("*") if path.is_file()))


@pytest.fixture
def read(tmp_path: Path) -> Callable[[SiemensProtocol, Sequence[float]], Labeling]:
    """Return a function that writes mosaics and reads their labelling."""

    def written(protocol: SiemensProtocol, levels: Sequence[float]) -> Labeling:
        ve.write(tmp_path / "dicom", STUDY, volumes(levels), AFFINE, protocol=protocol)
        (only,) = series(tmp_path / "dicom")
        return siemens.read(only)

    return written


def value(labeling: Labeling, key: str) -> Any:
    found = labeling.parameters.get(key)
    return None if found is None else found.value


# -- numbers and names ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4", 4.0),
        ("0x20", 32.0),
        ("1800000.0", 1.8e6),
        ("yes", None),
        ("", None),
        ("0x", None),
        ("0xffffffffffffffff", None),
        ("nan", None),
        ("1e999", None),
    ],
)
def test_numbers_of_the_protocol(text: str, expected: float | None) -> None:
    assert number({"key": text}, "key") == expected


@pytest.mark.parametrize(("text", "expected"), [("700000", 0.7), ("0", None), ("-1", None)])
def test_times_of_the_protocol(text: str, expected: float | None) -> None:
    assert seconds({"key": text}, "key") == expected


@pytest.mark.parametrize(
    ("name", "several"),
    [
        ("tgse_pcasl_pld5", True),
        ("pcasl_5delay_3d", True),
        ("tgse_pcasl_5_PLDs", True),
        ("tgse_pcasl_ve11c_Multidelay", True),
        ("tgse_pcasl_LT1800_16TI_800", True),
        ("pcasl_3d_mTI15", True),
        ("tgse_pcasl_pld1800", False),
        ("tgse_pcasl_pld2.5", False),
        ("tgse_pcasl_pld2s", False),
        ("pcasl_3d_1delay", False),
        ("3D_TI_asl", False),
        ("multiband_pcasl", False),
        ("pcasl_3d", False),
    ],
)
def test_a_name_can_speak_of_several_delays(
    name: str, several: bool, read: Callable[..., Labeling]
) -> None:
    found = read(SiemensProtocol(series_description=name), pairs(1))
    assert value(found, "PostLabelingDelay") == (None if several else 1.8)
    assert bool(found.notes) == several


# -- research pCASL ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delays", "repeats", "count"),
    [
        (DELAYS, (2, 2, 2, 3, 3), 26),
        (DELAYS, (1, 1, 1, 1, 1), 12),
        ((1.0, 2.0), (1, 2), 7),
    ],
)
def test_delays_and_repeats_that_fit(
    delays: tuple[float, ...],
    repeats: tuple[int, ...],
    count: int,
    read: Callable[..., Labeling],
) -> None:
    found = read(several_delays(delays, repeats), [300.0] * count)
    assert value(found, "PostLabelingDelay") == delays
    assert value(found, "RepeatsPerDelay") == repeats


def test_delays_in_milliseconds(read: Callable[..., Labeling]) -> None:
    written = several_delays((1.0, 2.0), (1, 1))
    lines = {**written.lines, "sWipMemBlock.alFree[0]": "1000", "sWipMemBlock.alFree[1]": "2000"}
    found = read(replace(written, lines=lines), [300.0] * 6)
    assert value(found, "PostLabelingDelay") == (1.0, 2.0)


@pytest.mark.parametrize(
    ("delays", "repeats", "count"),
    [
        (DELAYS, (2, 2, 2, 3, 3), 18),
        (DELAYS, (2, 2, 2, 3, 3), 34),
        ((2.0, 1.0), (2, 2), 10),
        ((1.0, 8.0), (2, 2), 10),
        (DELAYS, (2, 2, 2, 6), 26),
    ],
    ids=["too few volumes", "too many volumes", "falling", "too long", "a delay without pairs"],
)
def test_what_cannot_be_delays_is_not_taken(
    delays: tuple[float, ...],
    repeats: tuple[int, ...],
    count: int,
    read: Callable[..., Labeling],
) -> None:
    found = read(several_delays(delays, repeats), [300.0] * count)
    assert value(found, "PostLabelingDelay") is None
    assert value(found, "RepeatsPerDelay") is None


def test_the_length_of_a_block_is_known_for_one_version_only(
    read: Callable[..., Labeling],
) -> None:
    other = replace(SiemensProtocol(), sequence=r"%CustomerSeq%\tgse_pcasl_xa30")
    origin = read(other, pairs(1)).parameters["LabelingDuration"].origin
    assert origin.startswith("inferred")


@pytest.mark.parametrize("blocks", [0, 5, 400])
def test_an_impossible_number_of_blocks_is_none(
    blocks: int, read: Callable[..., Labeling]
) -> None:
    found = read(SiemensProtocol(labeling_blocks=blocks), pairs(1))
    assert value(found, "LabelingDuration") is None


def test_volumes_of_single_slices_are_counted_as_volumes(tmp_path: Path) -> None:
    """Export the mosaics of a research scan slice by slice, as some archives do."""
    protocol = several_delays((1.0, 2.0), (1, 2))
    mosaic = ve.write(tmp_path / "ve", STUDY, volumes([300.0] * 8), AFFINE, protocol=protocol)
    private = dcmread(mosaic[0])
    plain = siemens_slices.SliceProtocol(
        15, "tgse_pcasl", image_type=("ORIGINAL", "PRIMARY", "ASL")
    )
    for path in siemens_slices.write(
        tmp_path / "slices", STUDY, volumes([300.0] * 8), AFFINE, plain
    ):
        image = dcmread(path)
        block = image.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
        block.add_new(0x20, "OB", private[0x0029, 0x1020].value)
        image.save_as(path)
    (found,) = series(tmp_path / "slices")
    assert value(siemens.read(found), "RepeatsPerDelay") == (1, 2)


@pytest.mark.parametrize(("mode", "dark"), [(1, False), (2, True), (8, True)])
def test_suppression_by_its_mode(mode: int, dark: bool, read: Callable[..., Labeling]) -> None:
    found = read(SiemensProtocol(suppression=mode), pairs(1))
    assert value(found, "BackgroundSuppression") is dark
    assert found.parameters["BackgroundSuppression"].origin.startswith("inferred")


# -- XA without its protocol ----------------------------------------------------------------------


def test_without_a_protocol_the_standard_tags_serve(tmp_path: Path) -> None:
    protocol = XaProtocol(labeling_duration=1.5, delays=(2.0,))
    paths = siemens_xa.write(
        tmp_path, STUDY, volumes(pairs(1)), AFFINE, ["LABEL", "CONTROL"], protocol=protocol
    )
    for path in paths:
        image = dcmread(path)
        del image.SharedFunctionalGroupsSequence[0][0x0021, 0x10FE]
        image.save_as(path)
    (only,) = series(tmp_path)
    found = siemens.read(only).parameters
    assert (found["LabelingDuration"].value, found["PostLabelingDelay"].value) == (1.5, 2.0)
    assert found["LabelingDuration"].origin == "header (0018,9258)"
    assert found["PostLabelingDelay"].origin == "header (0021,1189)"
    assert "BackgroundSuppression" not in found


@pytest.mark.parametrize(
    ("times", "expected", "technique"),
    [((700,), 0.7, "QUIPSSII"), ((700, 1600), [0.7, 1.6], "Q2TIPS"), ((), None, None)],
)
def test_pasl_without_a_protocol(
    times: tuple[int, ...], expected: Any, technique: str | None, tmp_path: Path
) -> None:
    protocol = XaProtocol(contrast="PULSED", delays=(1.99,))
    tags = ["LABEL", "CONTROL"]
    paths = siemens_xa.write(tmp_path, STUDY, volumes(pairs(1)), AFFINE, tags, protocol=protocol)
    for path in paths:
        image = dcmread(path)
        del image.SharedFunctionalGroupsSequence[0][0x0021, 0x10FE]
        for frame in image.PerFrameFunctionalGroupsSequence:
            labelling = frame.MRArterialSpinLabelingSequence[0]
            labelling.ASLBolusCutoffTimingSequence = [Dataset() for _ in times]
            for item, time in zip(labelling.ASLBolusCutoffTimingSequence, times, strict=True):
                item.ASLBolusCutoffDelayTime = time
        image.save_as(path)
    (only,) = series(tmp_path)
    found = siemens.read(only)
    assert value(found, "PostLabelingDelay") == 1.99
    assert value(found, "BolusCutOffDelayTime") == expected
    assert value(found, "BolusCutOffTechnique") == technique
