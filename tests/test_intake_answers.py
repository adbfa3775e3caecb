"""What the user says of the labelling: protocol files, options, --explain, and pending runs."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from bids_validation import validator_errors
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
from cereflow_bids.demo.writers import ge

DELAY, DURATION = "--post-labeling-delay", "--labeling-duration"
COHORT = """\
- match: {vendor: GE}
  parameters: {PostLabelingDelay: 2.5, NumberOfExcitations: 3}
- match: {vendor: philips, model: "ing*", software: "5.7*", description: "*source*3dpcasl"}
  parameters:
    PostLabelingDelay: 2.0
    LabelingDuration: 1.8
    BackgroundSuppressionNumberPulses: 4
- match: {vendor: philips, software: "9*"}
  parameters: {PostLabelingDelay: 0.7}
- match: {description: "pcasl_3d*"}
  parameters: {PostLabelingDelay: 1.8, LabelingDuration: 1.7}
"""


@pytest.fixture
def protocol(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes a protocol file."""

    def write(text: str) -> Path:
        path = tmp_path / "protocol.yaml"
        path.write_text(text, "utf-8")
        return path

    return write


def asl(dataset: Path, label: str = "01") -> dict[str, object]:
    return read(dataset / f"sub-{label}/perf/sub-{label}_asl.json")


def origin(dataset: Path, key: str, label: str = "01") -> str:
    origins = asl(dataset, label)["CereflowOrigins"]
    assert isinstance(origins, dict)
    return str(origins[key])


# -- protocol files ------------------------------------------------------------------------------


def test_one_protocol_file_serves_a_cohort(
    tmp_path: Path, protocol: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    ge.write(tmp_path / "ge", visit("G"), head(960), head(1000), AFFINE)
    inputs = (
        tmp_path / "ge",
        philips_zip(tmp_path, visit("P")),
        siemens_zip(tmp_path, visit("S")),
    )
    dataset = tmp_path / "bids"
    assert convert(*inputs, dataset, "--protocol", protocol(COHORT)) == 0
    assert validator_errors(dataset) == []
    said = capsys.readouterr().out
    # What a header says is kept, whatever the file says.
    assert (
        "PostLabelingDelay: the header (0018,0082) says 2.025, the protocol file says 2.5" in said
    )
    assert "says 1.656, the protocol file says 1.7; the header was followed" in said
    assert said.count("CONFLICT") == 2
    assert asl(dataset, "01")["PostLabelingDelay"] == 2.025
    assert (asl(dataset, "03")["PostLabelingDelay"], asl(dataset, "03")["LabelingDuration"]) == (
        1.8,
        1.656,
    )
    told = asl(dataset, "02")
    assert (told["PostLabelingDelay"], told["LabelingDuration"]) == (2.0, 1.8)
    assert told["BackgroundSuppressionNumberPulses"] == 4
    assert origin(dataset, "PostLabelingDelay", "02") == "protocol file"


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        ("{vendor: Philips}", True),
        ("{vendor: siemens}", False),
        ("{model: '*ingenia*'}", True),
        ("{model: ingenia elition}", False),
        ("{software: '5.7.*'}", True),
        ("{software: 5.7}", False),
        ("{description: 'WIP*source*'}", True),
        ("{description: source}", False),
        ("{vendor: philips, description: '*source*'}", True),
        ("{vendor: ge, description: '*source*'}", False),
        ("{}", True),
    ],
)
def test_matching(match: str, fits: bool, tmp_path: Path, protocol: Callable[[str], Path]) -> None:
    text = f"- match: {match}\n  parameters: {{PostLabelingDelay: 2.0, LabelingDuration: 1.8}}\n"
    code = main(
        ["--explain", str(philips_zip(tmp_path, visit("P"))), "--protocol", str(protocol(text))]
    )
    assert code == (0 if fits else 3)


def test_command_line_before_protocol_file(
    tmp_path: Path, protocol: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    source, dataset = philips_zip(tmp_path, visit("P")), tmp_path / "bids"
    assert convert(source, dataset, "--protocol", protocol(COHORT), DELAY, 1.5) == 0
    assert asl(dataset)["PostLabelingDelay"] == 1.5
    assert origin(dataset, "PostLabelingDelay") == "command line"
    assert origin(dataset, "LabelingDuration") == "protocol file"
    assert (
        "CONFLICT PostLabelingDelay: the command line says 1.5, the protocol file says 2; "
        "the command line was followed."
    ) in capsys.readouterr().out


def test_entries_that_disagree(
    tmp_path: Path, protocol: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    both = COHORT + "- match: {vendor: philips}\n  parameters: {PostLabelingDelay: 1.9}\n"
    source = philips_zip(tmp_path, visit("P"))
    for arguments in (("--explain", source), (source, tmp_path / "bids")):
        assert convert(*arguments, "--protocol", protocol(both)) != 0
        said = "".join(capsys.readouterr())
        assert "Entries 2 and 5 give series 1903 different values of PostLabelingDelay." in said
    assert not (tmp_path / "bids").exists()
    agreeing = both.replace("1.9", "2.0")
    assert convert(source, tmp_path / "bids", "--protocol", protocol(agreeing)) == 0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- match: {vendor: ge}\n  parameters: {PLD: 2}", "entry 1: PLD is not known."),
        ("- match: {coil: x}\n  parameters: {EchoTime: 0.01}", "entry 1: coil is not known."),
        ("- when: {}\n  parameters: {EchoTime: 0.01}", "entry 1: when is not known."),
        ("- match: {vendor: toshiba}\n  parameters: {EchoTime: 0.01}", "toshiba is no vendor."),
        ("- match: {vendor: ge}", "entry 1: The entry lacks its parameters"),
        ("match: {vendor: ge}", "is not a list of entries"),
        ("", "is not a list of entries"),
        ("- match: {vendor: ge\n  parameters: 1", "is not valid YAML at line 2"),
        ("- parameters: {PostLabelingDelay: 1800}", "1800 is not a possible value of PostLab"),
        ("- parameters: {LabelingDuration: [1.8, 1800]}", "1.8 1800 is not a possible value"),
        ("- parameters: {PostLabelingDelay: '1.8 s'}", "1.8 s is not a possible value"),
        ("- parameters: {PostLabelingDelay: yes}", "True is not a possible value"),
        ("- parameters: {PostLabelingDelay: .nan}", "nan is not a possible value"),
        ("- parameters: {PostLabelingDelay: -1}", "-1 is not a possible value"),
        ("- parameters: {RepeatsPerDelay: [2, 0]}", "2 0 is not a possible value"),
        ("- parameters: {ArterialSpinLabelingType: VSASL}", "VSASL is not a possible value"),
        ("- parameters: {BackgroundSuppression: 'on'}", "on is not a possible value"),
        ("- parameters: {BackgroundSuppressionNumberPulses: 2.5}", "2.5 is not a possible value"),
        ("- !!python/object/apply:os.system ['exit 1']", "is not valid YAML"),
    ],
)
def test_a_protocol_file_that_is_not_understood(
    text: str,
    sentence: str,
    tmp_path: Path,
    protocol: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = tmp_path / "empty"
    source.mkdir()
    assert convert(source, tmp_path / "bids", "--protocol", protocol(text)) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert "To fix: " in said
    if "1800" in text:
        assert "seconds, not milliseconds" in said
    assert not (tmp_path / "bids").exists()


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", b"- \x00"])
def test_a_protocol_file_that_cannot_be_read(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "protocol.yaml"
    if content is not None:
        path.write_bytes(content)
    assert convert(tmp_path, tmp_path / "bids", "--protocol", path) == 2
    said = capsys.readouterr().err
    assert "protocol file cannot be read" in said or "not valid YAML" in said


# -- --explain -----------------------------------------------------------------------------------


def test_explanation_of_what_is_there_and_what_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = philips_zip(tmp_path, visit("P"))
    before = sorted(tmp_path.rglob("*"))
    assert main(["--explain", str(source), DELAY, "2.0"]) == 3
    said = capsys.readouterr().out.splitlines()
    assert "  series 1901: cbf (philips-console-cbf): the console's CBF map" in said
    assert "  series 1903: asl (philips-source): control and label images" in said
    assert "    PostLabelingDelay = 2   [command line]" in said
    assert any(line.startswith("    ArterialSpinLabelingType = PCASL   [") for line in said)
    assert (
        "    MISSING LabelingDuration: give --labeling-duration SECONDS, or in a protocol file: "
        "LabelingDuration: SECONDS"
    ) in said
    # What only the images tell is not said to be missing.
    assert any(line.startswith("    BackgroundSuppression: from the bright") for line in said)
    assert sorted(tmp_path.rglob("*")) == before
    capsys.readouterr()
    assert main(["--explain", str(source), DELAY, "2.0", DURATION, "1.8"]) == 0
    assert "MISSING" not in capsys.readouterr().out
    assert convert(source, tmp_path / "bids", *ANSWERS) == 0


def test_the_line_that_explain_adds_is_what_is_needed(
    tmp_path: Path, protocol: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    source = philips_zip(tmp_path, visit("P"))
    assert main(["--explain", str(source)]) == 3
    missing = [line for line in capsys.readouterr().out.splitlines() if "MISSING" in line]
    lines = "".join(f"    {line.split('protocol file: ')[1]}\n" for line in missing)
    assert "SECONDS" in lines, "a number to copy would be a guess"
    lines = lines.replace("SECONDS", "1.8")
    text = f"- match: {{vendor: philips}}\n  parameters:\n{lines}"
    assert convert(source, tmp_path / "bids", "--protocol", protocol(text)) == 0


def test_explanation_of_several_inputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.txt").write_text("no DICOM", "utf-8")
    sources = (siemens_zip(tmp_path, visit("S")), tmp_path / "other.txt")
    assert main(["--explain", *map(str, sources), DURATION, "1.0"]) == 1
    said = capsys.readouterr().out
    assert "study in input 1:" in said
    assert "CONFLICT LabelingDuration: the header" in said
    assert "FAILED input 2: " in said
    # A dataset at the end of the line is no input.
    assert main(["--explain", str(sources[0]), str(tmp_path / "bids")]) == 0
    assert "input 2" not in capsys.readouterr().out
    assert not (tmp_path / "bids").exists()


# -- pending -------------------------------------------------------------------------------------

ANSWERS = (DELAY, 2.0, DURATION, 1.8)


def test_finishing_gives_what_a_direct_conversion_gives(
    tmp_path: Path, protocol: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    source, dataset = philips_zip(tmp_path, visit("P")), tmp_path / "bids"
    assert convert(source, tmp_path / "direct", *ANSWERS) == 0
    assert convert(source, dataset) == 3
    kept = sorted(path.name for path in tmp_path.glob("bids*"))
    assert kept == ["bids", "bids.key.json", "bids.pending", "bids.pending.json"]
    pending = dataset_bytes(dataset)
    capsys.readouterr()
    assert convert(source, dataset) == 3, "the same again changes nothing, and is still pending"
    said = capsys.readouterr().out
    assert "pending: 1" in said
    assert "studies unchanged: 1" in said
    assert "bids --post-labeling-delay SECONDS --labeling-duration SEC" in said
    assert dataset_bytes(dataset) == pending
    assert convert(dataset, DELAY, 2.0) == 3, "one of two"
    (entry,) = read(tmp_path / "bids.pending.json")["pending"]
    assert entry["missing"] == ["LabelingDuration"]
    # The archive is not needed any more.
    source.unlink()
    assert convert(dataset, *ANSWERS) == 0
    assert dataset_bytes(dataset) == dataset_bytes(tmp_path / "direct")
    assert sorted(path.name for path in tmp_path.glob("bids*")) == ["bids", "bids.key.json"]
    assert validator_errors(dataset) == []
    capsys.readouterr()
    assert convert(dataset, *ANSWERS) == 2
    assert "Nothing in this dataset waits for a parameter." in capsys.readouterr().err


def test_what_was_said_before_is_not_asked_again(
    tmp_path: Path, protocol: Callable[[str], Path]
) -> None:
    source, dataset = philips_zip(tmp_path, visit("P")), tmp_path / "bids"
    rule = "- match: {vendor: philips}\n  parameters: {BackgroundSuppressionNumberPulses: 4}\n"
    first = (DURATION, 1.5, "--protocol", protocol(rule))
    assert convert(source, dataset, *first) == 3
    # What is said later is stronger; still not everything.
    assert convert(dataset, DURATION, 1.8) == 3
    assert convert(dataset, DELAY, 2.0) == 0
    found = asl(dataset)
    assert (found["PostLabelingDelay"], found["LabelingDuration"]) == (2.0, 1.8)
    assert found["BackgroundSuppressionNumberPulses"] == 4
    assert origin(dataset, "LabelingDuration") == "command line"


def test_finishing_by_a_protocol_file(tmp_path: Path, protocol: Callable[[str], Path]) -> None:
    path = protocol(COHORT)
    source, dataset = philips_zip(tmp_path, visit("P")), tmp_path / "bids"
    assert convert(source, tmp_path / "direct", "--protocol", path) == 0
    assert convert(source, dataset) == 3
    assert convert(dataset, "--protocol", path) == 0
    assert dataset_bytes(dataset) == dataset_bytes(tmp_path / "direct")


def test_finishing_leaves_others_as_they_are(tmp_path: Path) -> None:
    dataset = tmp_path / "bids"
    first, second = tmp_path / "1", tmp_path / "2"
    assert convert(philips_zip(first, visit("P")), siemens_zip(first, visit("S")), dataset) == 3
    assert convert(philips_zip(second, visit("Q")), dataset, "--sessions", "always") == 3
    listed = [entry["run"] for entry in read(tmp_path / "bids.pending.json")["pending"]]
    assert listed == [
        "sub-01/perf/sub-01_asl.nii.gz",
        "sub-03/ses-01/perf/sub-03_ses-01_asl.nii.gz",
    ]
    before = dataset_bytes(dataset / "sub-02")
    assert convert(dataset, *ANSWERS) == 0
    assert dataset_bytes(dataset / "sub-02") == before
    assert asl(dataset)["PostLabelingDelay"] == 2.0
    later = read(dataset / "sub-03/ses-01/perf/sub-03_ses-01_asl.json")
    assert later["PostLabelingDelay"] == 2.0
    assert validator_errors(dataset) == []


def test_answers_given_again_with_the_archive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, dataset = philips_zip(tmp_path, visit("P")), tmp_path / "bids"
    assert convert(source, dataset, *ANSWERS) == 0
    before = dataset_bytes(dataset)
    times = {path: path.stat().st_mtime_ns for path in dataset.rglob("*_asl.*")}
    assert convert(source, dataset, *ANSWERS) == 0
    assert "studies unchanged: 1" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in times} == times
    # Another answer is another conversion.
    assert convert(source, dataset, DELAY, 1.5, DURATION, 1.8) == 0
    assert asl(dataset)["PostLabelingDelay"] == 1.5
    after = dataset_bytes(dataset)
    changed = {path for path, content in before.items() if after[path] != content}
    assert changed == {"sub-01/perf/sub-01_asl.json"}


# -- several at a time ---------------------------------------------------------------------------


def test_several_processes_change_nothing(tmp_path: Path) -> None:
    archives = [
        siemens_zip(tmp_path, visit("A", "20220101"), "1.zip"),
        philips_zip(tmp_path, visit("P")),
        siemens_zip(tmp_path, visit("A", "20200101"), "3.zip"),
        siemens_zip(tmp_path, visit("B"), "4.zip"),
    ]
    (tmp_path / "broken.zip").write_bytes(archives[0].read_bytes()[:2000])
    inputs = [*archives[:2], tmp_path / "broken.zip", *archives[2:]]
    for name, count in (("one", 1), ("two", 2)):
        assert convert(*inputs, tmp_path / name, "--nprocs", count) == 1
    assert dataset_bytes(tmp_path / "two") == dataset_bytes(tmp_path / "one")
    for suffix in (".key.json", ".pending.json"):
        both = [(tmp_path / f"{name}{suffix}").read_bytes() for name in ("one", "two")]
        assert both[0] == both[1]
    assert sorted(path.name for path in (tmp_path / "one").glob("sub-*")) == [
        "sub-01",
        "sub-02",
        "sub-03",
    ]


def test_two_converters_on_one_dataset(tmp_path: Path) -> None:
    dataset = tmp_path / "bids"
    tags = ("A", "B", "C")
    archives = [siemens_zip(tmp_path, visit(tag), f"{tag}.zip") for tag in tags]
    command = [sys.executable, "-m", "cereflow_bids.cli.convert"]
    running = [
        subprocess.Popen(
            [*command, str(archive), str(dataset)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONWARNINGS": "error"},
        )
        for archive in archives
    ]
    for process in running:
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0, said.decode()
    assert sorted(path.name for path in tmp_path.iterdir() if "packed" not in path.name) == [
        *(f"{tag}.zip" for tag in tags),
        "bids",
        "bids.key.json",
    ]
    assert validator_errors(dataset) == []
    rows = (dataset / "participants.tsv").read_text("utf-8").splitlines()
    assert [row.split("\t")[0] for row in rows[1:]] == ["sub-01", "sub-02", "sub-03"]
    patients = read(tmp_path / "bids.key.json")["patients"]
    assert {entry["label"] for entry in patients.values()} == {"01", "02", "03"}
    assert len(list(dataset.glob("sub-*/perf/*_asl.nii.gz"))) == len(tags)


# -- ages, keys, and the command line ------------------------------------------------------------


def test_ages(tmp_path: Path) -> None:
    old = siemens_zip(tmp_path, visit("O", age="093Y", sex="F"))
    assert convert(old, tmp_path / "hidden") == 0
    assert convert(old, tmp_path / "shown", "--keep-ages") == 0
    for name, age in (("hidden", "89+"), ("shown", "93")):
        rows = (tmp_path / name / "participants.tsv").read_text("utf-8").splitlines()
        assert rows == ["participant_id\tage\tsex", f"sub-01\t{age}\tF"]
    assert validator_errors(tmp_path / "hidden") == []
    for path, content in dataset_bytes(tmp_path / "hidden").items():
        assert b"093Y" not in content, path


def test_a_lost_key_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, dataset = siemens_zip(tmp_path, visit("A")), tmp_path / "bids"
    assert convert(source, dataset) == 0
    before = dataset_bytes(dataset)
    key = (tmp_path / "bids.key.json").rename(tmp_path / "elsewhere.json")
    assert convert(source, dataset) == 2
    said = capsys.readouterr().err
    assert "key file of this dataset is not there" in said
    assert dataset_bytes(dataset) == before
    assert convert(source, dataset, "--key-file", key) == 0
    key.write_text("{}", "utf-8")
    assert convert(source, dataset, "--key-file", key) == 1
    assert "key file cannot be read" in capsys.readouterr().err
    assert dataset_bytes(dataset) == before
    assert key.read_text("utf-8") == "{}"


@pytest.mark.parametrize(
    "line",
    [
        "DELAY 2.0 DURATION 1.8 SOURCE DATASET",
        "DELAY 2.0 SOURCE DURATION 1.8 DATASET",
        "SOURCE DATASET DELAY 2.0 DURATION 1.8",
        "DELAY=2.0 SOURCE DURATION=1.8 DATASET",
        "SOURCE DELAY 2.0 -q DURATION 1.8 DATASET",
    ],
)
def test_options_anywhere(line: str, tmp_path: Path) -> None:
    source = philips_zip(tmp_path, visit("P"))
    words = {"SOURCE": source, "DATASET": tmp_path / "bids", "DELAY": DELAY, "DURATION": DURATION}
    parts = [word.partition("=") for word in line.split()]
    assert main([f"{words.get(a, a)}{b}{c}" for a, b, c in parts]) == 0
    assert asl(tmp_path / "bids")["PostLabelingDelay"] == 2.0
    assert asl(tmp_path / "bids")["LabelingDuration"] == 1.8


@pytest.mark.parametrize(
    "options",
    [
        (DELAY, "1800"),
        (DELAY, "-1"),
        (DELAY, "nan"),
        (DELAY, ""),
        (DURATION, "1.8", "1800"),
        ("--bolus-cutoff", "700"),
        ("--repeats-per-delay", "2", "0"),
        ("--repeats-per-delay", "1.5"),
        ("--excitations", "0"),
        ("--background-suppression", "maybe"),
        ("--background-suppression-pulses", "-2"),
        ("--nprocs", "0"),
        ("--max-size", "0"),
    ],
)
def test_options_that_cannot_be_right(
    options: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "empty"
    source.mkdir()
    assert main([*options, str(source), str(tmp_path / "bids")]) == 2
    said = capsys.readouterr().err
    assert said
    assert "Traceback" not in said
    assert sorted(tmp_path.iterdir()) == [source]
