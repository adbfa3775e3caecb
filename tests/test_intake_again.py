"""The second command into a dataset: what was chosen and said before still holds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from intake_uploads import (
    AFFINE,
    convert,
    dataset_bytes,
    head,
    philips_zip,
    read,
    siemens_zip,
    visit,
)

from cereflow_bids.cli.convert import main
from cereflow_bids.demo.writers import ge, philips
from cereflow_bids.demo.writers.dicom import pack

DELAY, DURATION = "--post-labeling-delay", "--labeling-duration"
Said = pytest.CaptureFixture[str]


def asl(dataset: Path) -> dict[str, Any]:
    return read(dataset / "sub-01/perf/sub-01_asl.json")


def ages(dataset: Path) -> list[str]:
    rows = (dataset / "participants.tsv").read_text("utf-8").splitlines()[1:]
    return [row.split("\t")[1] for row in rows]


def test_choices_hold_for_the_dataset(tmp_path: Path, capsys: Said) -> None:
    dataset = tmp_path / "bids"
    old = {name: siemens_zip(tmp_path, visit(name, age="093Y"), f"{name}.zip") for name in "ABC"}
    assert convert(old["A"], dataset, "--keep-ages", "--sessions", "always") == 0
    capsys.readouterr()
    assert convert(old["B"], dataset) == 0
    said = capsys.readouterr().out
    assert "every study gets a session" in said
    assert "ages above 89 are shown" in said
    assert ages(dataset) == ["93", "93"]
    assert (dataset / "sub-02/ses-01/perf").is_dir()
    assert convert(old["A"], old["C"], dataset, "--no-keep-ages", "--sessions", "auto") == 0
    assert ages(dataset) == ["89+", "93", "89+"]
    assert (dataset / "sub-03/perf").is_dir()
    assert read(tmp_path / "bids.key.json")["choices"]["keep ages"] is False


def test_faces_stay_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cereflow_bids.intake.nifti import defacing

    seen: list[int] = []

    def noted(scans: Any, folder: Path) -> tuple[list[Any], list[str]]:
        del folder
        seen.append(len(scans))
        return list(scans), []

    monkeypatch.setattr(defacing, "without_faces", noted)
    source, dataset = philips_zip(tmp_path, visit("P")), tmp_path / "bids"
    assert convert(source, dataset, "--deface") == 3
    assert convert(dataset, DELAY, 2.0, DURATION, 1.8) == 0
    assert convert(source, dataset, DELAY, 1.9) == 0
    assert len(seen) == 3
    assert convert(source, dataset, "--no-deface") == 0
    assert len(seen) == 3


def test_what_was_said_before_holds_and_what_is_said_now_wins(
    tmp_path: Path, capsys: Said
) -> None:
    source, dataset = philips_zip(tmp_path, visit("P")), tmp_path / "bids"
    assert convert(source, dataset, DELAY, 2.0) == 3
    assert convert(dataset, DELAY, 1.6, DURATION, 1.8) == 0
    assert asl(dataset)["PostLabelingDelay"] == 1.6
    before = dataset_bytes(dataset)
    assert convert(source, dataset, DURATION, 1.8) == 0
    assert "studies unchanged: 1" in capsys.readouterr().out
    assert dataset_bytes(dataset) == before
    assert convert(source, dataset, DELAY, 2.0) == 0
    assert (asl(dataset)["PostLabelingDelay"], asl(dataset)["LabelingDuration"]) == (2.0, 1.8)


def test_the_printed_command_can_be_given(tmp_path: Path, capsys: Said) -> None:
    folder = tmp_path / "a b"
    folder.mkdir()
    dataset = folder / "my data"
    assert convert(philips_zip(folder, visit("P")), dataset) == 3
    said = capsys.readouterr().out
    assert f"cereflow-convert '{dataset}' --post-labeling-delay SECONDS" in said


@pytest.mark.parametrize("text", ["1,8", "1.8,2.0", "1.8;2.0", "abc", ""])
def test_a_comma_is_no_number(text: str, tmp_path: Path, capsys: Said) -> None:
    source = philips_zip(tmp_path, visit("P"))
    assert main([str(source), str(tmp_path / "bids"), DELAY, text]) == 2
    assert not (tmp_path / "bids").exists()
    assert capsys.readouterr().err


def several(folder: Path, count: int) -> Path:
    stack = np.stack([head(8), head(8), head(0.4), head(0.39)], axis=-1)
    for number in range(count):
        protocol = philips.PhilipsProtocol(source_number=1903 + 100 * number)
        philips.write_source(folder / str(number), visit("P"), stack, AFFINE, protocol=protocol)
    return pack(folder, folder.with_suffix(".zip"))


def test_one_value_for_several_series_is_told(tmp_path: Path, capsys: Said) -> None:
    source = several(tmp_path / "three", 3)
    assert convert(source, tmp_path / "bids", DELAY, 1.8, DURATION, 1.8) == 0
    assert "series 1903, 2003, 2103 are alike and were taken for repeats" in (
        capsys.readouterr().out
    )
    assert convert(source, tmp_path / "joined", DELAY, 1, 1.5, 2, DURATION, 1.8) == 0
    assert "are alike" not in capsys.readouterr().out


def test_explanation_joins_what_lies_in_several_inputs(tmp_path: Path, capsys: Said) -> None:
    for number, delay in enumerate((1.0, 2.0)):
        protocol = ge.GeProtocol(post_labeling_delay=delay, series_number=5 + number)
        target = tmp_path / str(number)
        ge.write(target, visit("G"), head(960), head(1000), AFFINE, protocol=protocol)
    assert main(["--explain", str(tmp_path / "0"), str(tmp_path / "1")]) == 0
    said = capsys.readouterr().out
    assert "study in inputs 1, 2:" in said
    assert "ASL of series 5, 6 (joined into one run):" in said
    assert "PostLabelingDelay = 1 2" in said


def test_explanation_shows_descriptions_when_asked(tmp_path: Path, capsys: Said) -> None:
    source = philips_zip(tmp_path, visit("P"))
    main(["--explain", str(source)])
    assert "WIP SOURCE" not in capsys.readouterr().out
    main(["--explain", "--descriptions", str(source)])
    assert 'description "WIP SOURCE - 3DpCASL"' in capsys.readouterr().out


def test_too_many_delays_for_ge_are_a_conflict(tmp_path: Path, capsys: Said) -> None:
    from pydicom import dcmread

    files = tmp_path / "dicom"
    for path in ge.write(files, visit("G"), head(960), head(1000), AFFINE):
        image = dcmread(path)
        del image.InversionTime
        image.save_as(path)
    assert convert(files, tmp_path / "bids", DELAY, 1.5, 2) == 3
    said = capsys.readouterr().out
    assert "2 values do not fit a series of one delay" in said
    assert "--repeats-per-delay" not in said


def test_an_entry_that_fits_nothing_is_told(tmp_path: Path, capsys: Said) -> None:
    (tmp_path / "protocol.yaml").write_text(
        "- match: {vendor: ge}\n  parameters: {PostLabelingDelay: 2.0}\n", "utf-8"
    )
    source = siemens_zip(tmp_path, visit("S"))
    assert convert(source, tmp_path / "bids", "--protocol", tmp_path / "protocol.yaml") == 0
    assert "entry 1 of the protocol file fits no series" in capsys.readouterr().out


def test_archives_in_a_folder_are_inputs_of_their_own(tmp_path: Path, capsys: Said) -> None:
    folder = tmp_path / "uploads"
    folder.mkdir()
    for name in "AB":
        siemens_zip(tmp_path, visit(name), f"{name}.zip").rename(folder / f"{name}.zip")
    broken = (folder / "A.zip").read_bytes()
    (folder / "AA.zip").write_bytes(broken[: len(broken) // 2])
    assert convert(folder, tmp_path / "bids") == 1
    said = capsys.readouterr()
    assert "they are inputs 1 to 3" in said.out
    assert "FAILED input 2: " in said.err
    assert sorted(path.name for path in (tmp_path / "bids").glob("sub-*")) == ["sub-01", "sub-02"]


def test_an_earlier_examination_after_a_later_one(tmp_path: Path, capsys: Said) -> None:
    dataset = tmp_path / "bids"
    late = siemens_zip(tmp_path, visit("A", "20220101"), "late.zip")
    early = siemens_zip(tmp_path, visit("A", "20200101"), "early.zip")
    assert convert(late, dataset, "--sessions", "always") == 0
    assert convert(early, dataset) == 0
    assert "ses-02 is an earlier examination than ses-01" in capsys.readouterr().out


def test_a_dataset_is_not_named_like_an_archive(tmp_path: Path, capsys: Said) -> None:
    source = siemens_zip(tmp_path, visit("A"))
    assert convert(source, tmp_path / "other.zip") == 2
    assert "named like an archive" in capsys.readouterr().err
