"""Mutated uploads: the first of those that ``benchmarks/fuzz.py`` runs by the thousand."""

import gzip
import os
import time
from collections.abc import Callable
from pathlib import Path

import fuzz_driver
import mutations
import pytest

SEED = 1
COUNT = int(os.environ.get("CEREFLOW_FUZZ_CASES", "30"))


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fuzz_driver.good_dataset(tmp_path_factory.mktemp("good"))


@pytest.mark.parametrize("number", range(COUNT))
def test_mutated_upload(number: int, start: Path, tmp_path: Path) -> None:
    case = mutations.case(SEED, number)
    outcome = fuzz_driver.run(case, start, tmp_path)
    assert outcome.problems == (), f"{case.vendor}: {case.changes}\n{outcome.said}"


def test_sound_uploads_convert(start: Path, tmp_path: Path) -> None:
    """Without mutations all three reach the end: what is mutated is worth it."""
    for number, vendor in enumerate(mutations.VENDORS):
        case = mutations.Case(2 * number + 1, vendor, (), mutations.sound(vendor))
        folder = tmp_path / vendor
        folder.mkdir()
        outcome = fuzz_driver.run(case, start, folder)
        assert (outcome.code, outcome.problems) == (0, ()), outcome.said
        assert (folder / "work/bids/sub-02/perf/sub-02_asl.nii.gz").is_file()


def test_same_seed_same_uploads() -> None:
    first = list(mutations.mutations(5, 40))
    assert first == list(mutations.mutations(5, 40))
    assert first[17] == mutations.case(5, 17)
    assert len({case.content for case in first}) > 35
    assert first[3].content != mutations.case(6, 3).content


def _raises(_: Path) -> int:
    raise ValueError("a bug")


def _exits(_: Path) -> int:
    return 2


def _says_nothing(_: Path) -> int:
    return 1


def _prints_a_name(_: Path) -> int:
    os.write(2, b"canaryid")
    return 0


def _prints_a_traceback(_: Path) -> int:
    print("Traceback (most recent call last):")
    return 0


def _hangs(_: Path) -> int:
    while True:
        time.sleep(0.01)


def _writes_beside(dataset: Path) -> int:
    (dataset.parent / "beside").touch()
    return 0


def _writes_into_the_temporary_folder(dataset: Path) -> int:
    import tempfile

    Path(tempfile.mkstemp()[1]).touch()
    return 0


def _changes_the_upload(dataset: Path) -> int:
    next((dataset.parent.parent / "uploads").iterdir()).write_bytes(b"")
    return 0


def _changes_the_good_subject(dataset: Path) -> int:
    (dataset / "sub-01/perf/sub-01_asl.json").chmod(0o644)
    (dataset / "sub-01/perf/sub-01_asl.json").write_text("{}")
    return 0


def _leaves_the_half_of_it(dataset: Path) -> int:
    (dataset / "participants.tsv").write_text("participant_id\n")
    return 0


def _hides_a_name(dataset: Path) -> int:
    (dataset / "sub-02").mkdir()
    (dataset / "sub-02/image.nii.gz").write_bytes(gzip.compress(b"CANARY^NAME"))
    return 0


@pytest.mark.parametrize(
    ("main", "problem"),
    [
        (_raises, "raised ValueError"),
        (_exits, "exit code 2"),
        (_says_nothing, "without saying what to do"),
        (_prints_a_name, "printed a canary"),
        (_prints_a_traceback, "printed a traceback"),
        (_hangs, "took more than 1 s"),
        (_writes_beside, "outside the dataset: work/beside"),
        (_writes_into_the_temporary_folder, "outside the dataset: temporary/"),
        (_changes_the_upload, "outside the dataset: uploads/"),
        (_changes_the_good_subject, "the other subject's file"),
        (_leaves_the_half_of_it, "no new subject"),
        (_hides_a_name, "a canary in bids/sub-02/image.nii.gz"),
    ],
)
def test_every_kind_of_trouble_is_seen(
    main: Callable[[Path], int],
    problem: str,
    start: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fuzz_driver, "main", lambda arguments: main(Path(arguments[1])))
    monkeypatch.setattr(fuzz_driver, "SECONDS", 1)
    outcome = fuzz_driver.run(mutations.Case(0, "ge", (), b"upload"), start, tmp_path)
    assert len(outcome.problems) == 1
    assert problem in outcome.problems[0]
