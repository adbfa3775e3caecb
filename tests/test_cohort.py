"""The group level: the long table, its dictionary, the cohort report, and what it refuses."""

import doctest
import json
import os
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pandas as pd
import pypdf
import pytest
from report_derivatives import ATLAS, region_table, write_run, write_status

from cereflow_bids.bids.derivatives import DerivativeWriter
from cereflow_bids.bids.spec import column_dictionary
from cereflow_bids.cohort import summary
from cereflow_bids.cohort.content import group_content
from cereflow_bids.cohort.gather import read_cohort
from cereflow_bids.cohort.group import GroupResult, build_group
from cereflow_bids.cohort.long_table import long_table
from cereflow_bids.cohort.summary import regional_summary, screen
from cereflow_bids.errors import InputError, UsageError

RUNS = {"sub-01_ses-1": 50.0, "sub-01_ses-2": 60.0, "sub-02": 45.0}
MESSAGE = "PostLabelingDelay is in no file"


def dataset(folder: Path, *people: str) -> Path:
    """Write participants.tsv of a dataset with sites."""
    folder.mkdir(exist_ok=True)
    lines = [f"{label}\t{30 + k}\t{'FM'[k % 2]}\tnorth" for k, label in enumerate(people)]
    text = "\n".join(["participant_id\tage\tsex\tsite", *lines]) + "\n"
    (folder / "participants.tsv").write_text(text)
    return folder


def mixed_cohort(out: Path) -> None:
    """Two participants with results, one refused, one failed, one pending."""
    for run, cbf in RUNS.items():
        write_run(out, run, cbf=cbf)
    write_run(out, "sub-03", refused="M0 is absent", flags="motion")
    write_status(out, "sub-04", "failed", message="the mask is empty", fix="check the M0 volume")
    write_status(out, "sub-05", "pending", message=MESSAGE, fix="give --post-labeling-delay")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> GroupResult:
    folder = tmp_path_factory.mktemp("cohort")
    bids = dataset(folder / "bids", *(f"sub-0{k}" for k in range(1, 7)))
    mixed_cohort(folder / "out")
    return build_group(bids, folder / "out")


def test_runs_are_ranked_by_the_quality_evaluation_index(tmp_path: Path) -> None:
    values = {"sub-01": 0.8, "sub-02": np.nan, "sub-03": 0.9, "sub-04": 0.8}
    for run, value in values.items():
        write_run(tmp_path / "out", run, qei=value)
    cohort = read_cohort(dataset(tmp_path / "bids", *values), tmp_path / "out")
    content = group_content(cohort, long_table(cohort))
    shown = [(run["qei"], run["qei_rank"]) for run in content["runs"]]
    assert shown == [("0.80", "2 of 3"), ("n/a", ""), ("0.90", "1 of 3"), ("0.80", "2 of 3")]


def read(result: GroupResult) -> pd.DataFrame:
    return pd.read_csv(result.table, keep_default_na=False)


def text_of(pdf: Path) -> str:
    return " ".join(" ".join(p.extract_text() for p in pypdf.PdfReader(pdf).pages).split())


def test_counts(built: GroupResult) -> None:
    assert (built.n_participants, built.n_absolute, built.n_refused) == (5, 3, 1)
    assert (built.n_failed, built.n_pending, built.n_unfinished) == (1, 1, 0)
    assert built.summary() == (
        "5 participants, 6 runs: 3 with absolute CBF, 1 with relative perfusion only, 1 failed, "
        "1 waiting for a parameter."
    )
    with pytest.raises(FrozenInstanceError):
        built.n_failed = 0  # type: ignore[misc]


def test_long_table_obeys_the_contract(built: GroupResult) -> None:
    table = read(built)
    dictionary = json.loads(built.dictionary.read_text(encoding="utf-8"))
    assert list(table.columns) == list(column_dictionary("group")) == list(dictionary)
    assert all(entry["Description"] for entry in dictionary.values())
    keys = ["run", "atlas", "region", "hemisphere", "metric"]
    assert not table.duplicated(keys).any()
    assert set(table["site"]) == {"north"}
    assert set(table["n_pld"].astype(str)) == {"1"}


def test_values_are_those_of_the_runs(built: GroupResult) -> None:
    table = read(built).set_index(["run", "region", "hemisphere", "metric"])["value"]
    for run, cbf in RUNS.items():
        regions = region_table(cbf).set_index(["name", "hemisphere"])
        for side in "LR":
            value = float(table[run, "precuneus", side, "cbf_mean"])
            assert value == pytest.approx(regions.loc[("precuneus", side), "mean"], rel=1e-5)
        assert float(table[run, "precuneus", "n/a", "asymmetry"]) == -14.2
        assert float(table[run, "grey matter", "n/a", "gm_mean_cbf"]) == pytest.approx(cbf)
        assert table[run, "cerebellar cortex", "L", "cbf_mean"] == "n/a"


def test_refused_run_has_quality_and_no_regions(built: GroupResult) -> None:
    table = read(built)
    refused = table[table["run"] == "sub-03"]
    assert set(refused["atlas"]) == {"quality"}
    assert set(refused["method"]) == {"relative"}
    assert set(refused["qc_flag"]) == {"motion"}
    assert {"sub-04", "sub-05"}.isdisjoint(table["participant"])


def test_report_tells_everything(built: GroupResult) -> None:
    html, pdf = built.html.read_text(encoding="utf-8"), text_of(built.pdf)
    names = set(pd.read_csv(ATLAS, sep="\t", keep_default_na=False)["name"])
    for text in (html, pdf):
        assert {name for name in names if name not in text} == set()
        for words in (
            "Absolute CBF in 3 of 6 runs",
            "the mask is empty",
            "check the M0 volume",
            MESSAGE,
            "give --post-labeling-delay",
            "lists sub-06",
            "Site north was not screened: 4 runs",
            "not a diagnosis",
            "Errors of M0",
            "Philips Elition X: 4",
            "median 31, from 30 to 32 years",
        ):
            assert words in text
    assert "http" not in html
    assert html.count("data:image/png;base64,") == 1


def test_sessions_of_one_participant_count_once(built: GroupResult) -> None:
    table = pd.read_csv(built.table)
    table["hemisphere"] = table["hemisphere"].fillna("n/a")
    rows = regional_summary(table).set_index(["region", "hemisphere", "metric"])
    row = rows.loc[("precuneus", "L", "cbf_mean")]
    means = {
        run: region_table(cbf).set_index(["name", "hemisphere"]).loc[("precuneus", "L"), "mean"]
        for run, cbf in RUNS.items()
    }
    persons = [(means["sub-01_ses-1"] + means["sub-01_ses-2"]) / 2, means["sub-02"]]
    assert row["n"] == 2
    assert row["mean"] == pytest.approx(np.mean(persons), rel=1e-5)
    assert row["sd"] == pytest.approx(np.std(persons, ddof=1), rel=1e-4)


def test_same_derivatives_same_bytes(built: GroupResult, tmp_path: Path) -> None:
    bids = dataset(tmp_path / "bids", *(f"sub-0{k}" for k in range(1, 7)))
    code = (
        "import sys; from pathlib import Path\n"
        "from test_cohort import mixed_cohort\n"
        "from cereflow_bids.cohort.group import build_group\n"
        "mixed_cohort(Path(sys.argv[2])); build_group(Path(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "11", "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", code, str(bids), str(tmp_path / "out")]
    subprocess.run(command, check=True, env=environment)
    assert len(built.paths) == 4
    for path in built.paths:
        assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes(), path.name


@pytest.mark.parametrize("n", [1, 2])
def test_small_cohorts_without_participants_tsv(tmp_path: Path, n: int) -> None:
    for k in range(n):
        write_run(tmp_path / "out", f"sub-{k}", cbf=50.0 + k)
    result = build_group(tmp_path / "absent", tmp_path / "out")
    text = text_of(result.pdf)
    assert f"With {n} participant" in text
    assert "Not screened" in text
    assert len(pypdf.PdfReader(result.pdf).pages) == 2
    assert "nan" not in text
    assert set(read(result)["site"]) == {"n/a"}


def test_only_failed_runs_still_give_a_report(tmp_path: Path) -> None:
    write_status(tmp_path / "out", "sub-01", "failed", message="no M0", fix="add an m0scan")
    result = build_group(dataset(tmp_path / "bids", "sub-01"), tmp_path / "out")
    assert "Absolute CBF in 0 of 1 runs" in text_of(result.pdf)
    assert result.summary() == "1 participant, 1 run: 0 with absolute CBF, 1 failed."
    assert read(result).empty


def test_a_damaged_status_record_does_not_stop_the_others(tmp_path: Path) -> None:
    for label in ("sub-01", "sub-02"):
        write_run(tmp_path, label)
    for label in ("sub-02", "sub-03"):
        (tmp_path / "logs" / "status" / f"{label}.json").write_text('{"run": "sub')
    assert build_group(tmp_path / "absent", tmp_path).n_absolute == 2


def test_strangers_are_named(tmp_path: Path) -> None:
    write_run(tmp_path / "out", "sub-01")
    write_run(tmp_path / "out", "sub-7x")
    bids = dataset(tmp_path / "bids", "sub-01", "sub-07")
    with pytest.raises(InputError, match="sub-7x"):
        build_group(bids, tmp_path / "out")
    assert not (tmp_path / "out" / "group_cbf.csv").exists()


def test_labels_join_without_their_prefix(tmp_path: Path) -> None:
    write_run(tmp_path / "out", "sub-01")
    result = build_group(dataset(tmp_path / "bids", "01"), tmp_path / "out")
    assert set(read(result)["site"]) == {"north"}


def test_twice_listed_and_no_runs_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run") as caught:
        build_group(dataset(tmp_path / "bids", "sub-01"), tmp_path / "out")
    assert "cereflow BIDS_DIR OUTPUT_DIR participant" in caught.value.fix
    write_run(tmp_path / "out", "sub-01")
    with pytest.raises(InputError, match="sub-01 appears more than once"):
        build_group(dataset(tmp_path / "bids", "sub-01", "01"), tmp_path / "out")


def values_of(site: str, values: list[float]) -> pd.DataFrame:
    rows = [
        {
            "run": f"sub-{site}{k}",
            "site": site,
            "region": "grey matter",
            "hemisphere": "n/a",
            "metric": "gm_mean_cbf",
            "value": value,
            "units": "mL/100 g/min",
        }
        for k, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_outliers_are_judged_within_their_site() -> None:
    """60 is usual at one site and far off at the other; four runs are too few to tell."""
    table = pd.concat(
        [
            values_of("a", [60, 61, 62, 59, 58, 60]),
            values_of("b", [40, 41, 39, 42, 38, 60]),
            values_of("c", [50, 51, 49, 500]),
            values_of("d", [50, 50, 50, 50, 90]),  # no spread: a z cannot be told
        ]
    )
    result = screen(table)
    assert [(one.run, one.median) for one in result.outliers] == [("sub-b5", 40.5)]
    assert result.outliers[0].z == pytest.approx(0.6745 * 19.5 / 1.5)
    assert result.too_few == (("c", 4),)
    assert [site for site, _ in result.screened] == ["a", "b", "d"]


def test_outliers_stay_in_the_table(tmp_path: Path) -> None:
    for k, cbf in enumerate([50.0, 51.0, 49.0, 52.0, 48.0, 140.0]):
        write_run(tmp_path, f"sub-{k}", cbf=cbf)
    result = build_group(tmp_path / "absent", tmp_path)
    text = text_of(result.pdf)
    assert "sub-5 n/a Grey matter CBF, mean 1 grey matter 140.0" in text
    assert "sub-5 n/a Regional mean CBF 81" in text
    assert "and 73 more" in text
    assert len(set(read(result)["run"])) == 6


def test_examples_in_docstrings() -> None:
    result = doctest.testmod(summary)
    assert result.attempted
    assert not result.failed


def test_reports_of_participants_are_linked_where_they_are(tmp_path: Path) -> None:
    for label in ("sub-01", "sub-02"):
        write_run(tmp_path, label)
    DerivativeWriter(tmp_path).write_text("report_html", "<p>", participant="01")
    html = build_group(tmp_path / "absent", tmp_path).html.read_text(encoding="utf-8")
    assert 'href="sub-01.html"' in html
    assert 'href="sub-02.html"' not in html


def test_corrected_regions_stand_beside_the_others(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_run(out, "sub-01")
    plain = long_table(read_cohort(tmp_path, out))
    writer = DerivativeWriter(out)
    writer.write_table("regions_gm", "sub-01", region_table(70.0))
    both = long_table(read_cohort(tmp_path, out))
    corrected = both[both["pvc"] == "linear-regression"]
    pd.testing.assert_frame_equal(both[both["pvc"] == "none"].reset_index(drop=True), plain)
    assert len(corrected) == (plain["atlas"] != "quality").sum()
    assert corrected["value"].max() > plain.loc[plain["metric"] == "cbf_mean", "value"].max()
    assert (
        group_content(read_cohort(tmp_path, out), both)["regions"]
        == (group_content(read_cohort(tmp_path, out), plain)["regions"])
    )


def test_every_atlas_is_in_the_long_table_and_the_gyral_one_in_the_report(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_run(out, "sub-01")
    plain = group_content(read_cohort(tmp_path, out), long_table(read_cohort(tmp_path, out)))
    writer = DerivativeWriter(out)
    writer.write_table("regions", "sub-01", region_table(33.0), atlas="Mine")
    times = region_table(1.2).drop(columns="asymmetry").assign(censored=0.1, difference=0.0)
    times = times[[*times.columns.drop("reason"), "reason"]]
    writer.write_table("regions_att", "sub-01", times, atlas="Mine")
    cohort = read_cohort(tmp_path, out)
    table = long_table(cohort)
    mine = table[table["atlas"] == "Mine"]
    assert set(mine["metric"]) == {
        *("cbf_mean", "cbf_median", "cbf_sd", "asymmetry"),
        *("att_mean", "att_median", "att_sd"),
    }
    assert set(mine.loc[mine["metric"] == "att_mean", "units"]) == {"s"}
    assert set(table["atlas"]) == {"quality", "DesikanKilliany", "Mine"}
    content = group_content(cohort, table)
    assert content["regions"] == plain["regions"]
    assert content["outliers"] == plain["outliers"]
