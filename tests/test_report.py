"""The participant report: what it says, that it stands alone, and that it repeats."""

import ast
import io
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import jinja2
import matplotlib.image
import pandas as pd
import pypdf
import pytest
from report_derivatives import (
    ATLAS,
    PARAMETERS,
    quality_table,
    region_table,
    sidecar,
    write_run,
    write_status,
)

import cereflow_bids
from cereflow_bids.bids.derivatives import DerivativeWriter
from cereflow_bids.errors import InputError, UsageError
from cereflow_bids.quality.flags import ALARMS, WITHHELD
from cereflow_bids.report.banner import MEASURES, banner, quality_rows
from cereflow_bids.report.parameters import parameter_rows
from cereflow_bids.report.participant import build_participant_report
from cereflow_bids.report.region_table import flagged_pairs, region_groups
from cereflow_bids.report.rendering import TEMPLATES, data_uri
from cereflow_bids.report.runs import RunRecord, read_run

RUN = "sub-01_ses-1"
REFUSAL = "M0 is absent & the controls are <suppressed>"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """Return the output folder, the HTML and the text of the PDF of a finished run."""
    out = tmp_path_factory.mktemp("out")
    write_run(out, RUN, moved=True, spatial_cov=0.8, flags="spatial_cov")
    html, pdf = build_participant_report(out, "01", [RUN])
    return out, html.read_text(encoding="utf-8"), text_of(pdf)


def text_of(pdf: Path) -> str:
    pages = pypdf.PdfReader(pdf).pages
    return " ".join(" ".join(page.extract_text() for page in pages).split())


def visible(html: str) -> str:
    """Return the text of a page without style, tags and pictures."""
    bare = re.sub(r"<style>.*?</style>|<[^>]+>", " ", html, flags=re.S)
    return " ".join(bare.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").split())


def test_every_region_and_origin_is_in_both(built: tuple[Path, str, str]) -> None:
    _, html, pdf = built
    names = set(pd.read_csv(ATLAS, sep="\t", keep_default_na=False)["name"])
    origins = {parameter["origin"] for parameter in PARAMETERS}
    for text in (visible(html), pdf):
        assert {name for name in names if name not in text} == set()
        assert {origin for origin in origins if origin not in text} == set()


def test_units_and_limits_are_told(built: tuple[Path, str, str]) -> None:
    for text in (visible(built[1]), built[2]):
        for words in (
            "mL/100 g/min",
            "not a diagnosis",
            "not a medical device",
            "not affiliated",
            "partial volume",
            "late arrival of blood looks like low CBF",
            "Errors of M0 and of the assumed constants",
            "are not in it",
            "radiological convention",
            "Use with care",
            "What to do:",
            "Elition X",
        ):
            assert words in text


def limitations_of(single: bool, several: bool, consensus: bool) -> str:
    page = (
        '{% from "limitations.html.j2" import limitations %}'
        "{{ limitations(true, single, several, consensus) }}"
    )
    made = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True)
    return made.from_string(page).render(single=single, several=several, consensus=consensus)


def test_limitations_are_those_of_the_model() -> None:
    """With several delays a wrong constant does not scale all values alike."""
    one, form = "all values by about the same factor", "the consensus form (Woods 2024)"
    assert one in limitations_of(True, False, False)
    assert "late arrival" in limitations_of(True, False, False)
    assert form not in limitations_of(True, False, False)
    assert one not in limitations_of(False, True, True)
    assert "move arrival times" in limitations_of(False, True, True)
    assert form in limitations_of(False, True, True)
    assert form not in limitations_of(False, True, False)


def test_only_constants_are_marked_as_assumed() -> None:
    chosen = {"name": "SpatialPriorGuide", "value": "none", "origin": "default"}
    record = RunRecord(RUN, "done", sidecar=sidecar(Parameters=[*PARAMETERS, chosen]))
    marked = [row["name"] for row in parameter_rows(record) if row["assumed"]]
    assert marked == ["LabelingEfficiency", "PartitionCoefficient"]


def test_html_stands_alone(built: tuple[Path, str, str]) -> None:
    """No file, no server, no script: every picture is inside the page."""
    _, html, _ = built
    sources = re.findall(r"(?:src|href)=\"([^\"]{0,40})", html)
    assert sum(source.startswith("data:image/png;base64,") for source in sources) == 4
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert "<script" not in html
    assert "url(" not in html


def test_page_furniture(built: tuple[Path, str, str]) -> None:
    out, _, _ = built
    reader = pypdf.PdfReader(out / "sub-01.pdf")
    total = len(reader.pages)
    for number, page in enumerate(reader.pages, start=1):
        text = page.extract_text()
        assert f"Page {number} of {total}" in text
        assert "sub-01 · cerebral blood flow report" in text
        width, height = float(page.mediabox.width), float(page.mediabox.height)
        assert (round(width), round(height)) == (595, 842)  # A4 in points


def test_metadata_names_nobody(built: tuple[Path, str, str]) -> None:
    out, html, _ = built
    reader = pypdf.PdfReader(out / "sub-01.pdf")
    assert set(reader.metadata or {}) <= {"/Title", "/Producer"}
    assert str(out).encode() not in (out / "sub-01.pdf").read_bytes()
    assert str(out) not in html


def test_same_derivatives_same_bytes(built: tuple[Path, str, str], tmp_path: Path) -> None:
    """Another process, folder and hash seed must not change a byte of page, PDF or picture."""
    out, _, _ = built
    code = (
        "import sys; from pathlib import Path\n"
        "from report_derivatives import write_run\n"
        "from cereflow_bids.report.participant import build_participant_report\n"
        "out = Path(sys.argv[1])\n"
        f"write_run(out, {RUN!r}, moved=True, spatial_cov=0.8, flags='spatial_cov')\n"
        f"build_participant_report(out, 'sub-01', [{RUN!r}])\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(Path(__file__).parent)}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, env=environment)
    names = ["sub-01.html", "sub-01.pdf"]
    names += [f"sub-01/figures/{p.name}" for p in (out / "sub-01" / "figures").iterdir()]
    assert len(names) == 6
    assert [n for n in names if (out / n).read_bytes() != (tmp_path / n).read_bytes()] == []


def test_refused_run_shows_why_and_no_regional_numbers(tmp_path: Path) -> None:
    write_run(tmp_path, RUN, refused=REFUSAL)
    # a table of an earlier, calibrated attempt must not creep in
    DerivativeWriter(tmp_path).write_table("regions", RUN, region_table())
    html, pdf = build_participant_report(tmp_path, "01", [RUN])
    text = visible(html.read_text(encoding="utf-8"))
    assert REFUSAL in text
    assert "precuneus" not in text
    assert "Relative perfusion" in text
    assert "No absolute CBF" in text_of(pdf)
    figures = {path.name for path in (tmp_path / "sub-01" / "figures").iterdir()}
    assert f"{RUN}_desc-relative_cbf.png" in figures
    assert f"{RUN}_desc-mosaic_cbf.png" not in figures


def test_withheld_regions_are_a_sentence_and_no_table(tmp_path: Path) -> None:
    why = "reference image and perfusion place the brain 4.5 mm apart"
    write_run(tmp_path, RUN, withheld=why, flags=WITHHELD)
    html, pdf = build_participant_report(tmp_path, "01", [RUN])
    page = html.read_text(encoding="utf-8")
    text = visible(page)
    assert f"well enough to say what lies in which region: {why}." in text
    assert f"Regional values are withheld ({why}): regions and territories may" in text
    assert "precuneus" not in text
    assert 'class="regions"' not in page
    assert "52.0" in text  # grey matter stands
    assert "there are no regional values" in text_of(pdf)
    assert banner(read_run(DerivativeWriter(tmp_path), RUN)).level == "amber"


def test_atlases_are_drawn_in_both_reports(built: tuple[Path, str, str]) -> None:
    out, page, text = built
    picture = (out / "sub-01" / "figures" / f"{RUN}_desc-atlas_aslref.png").read_bytes()
    assert data_uri(picture) in page
    height, width = matplotlib.image.imread(io.BytesIO(picture)).shape[:2]
    sizes = [
        (image.image.size)
        for sheet in pypdf.PdfReader(out / "sub-01.pdf").pages
        for image in sheet.images
    ]
    assert (width, height) in sizes
    for words in (visible(page), text):
        assert "Upper row: outlines of the gyral atlas" in words
        assert "Regional values are withheld (" not in words


def test_failed_run_beside_a_good_one(tmp_path: Path) -> None:
    write_run(tmp_path, "sub-01_run-1")
    message = "M0 holds zeros only <volume 0>"
    write_status(tmp_path, "sub-01_run-2", "failed", message=message, fix="check aslcontext.tsv")
    html, pdf = build_participant_report(tmp_path, "01", ["sub-01_run-1", "sub-01_run-2"])
    page = html.read_text(encoding="utf-8")
    assert "<volume 0>" not in page
    for text in (visible(page), text_of(pdf)):
        assert message in text
        assert "check aslcontext.tsv" in text
        assert "Processing failed" in text
        assert "precuneus" in text


@pytest.mark.parametrize(
    ("flags", "quality", "level"),
    [
        ((), {}, "green"),
        (("motion",), {}, "amber"),
        (("spatial_cov",), {"spatial_cov": 0.8}, "amber"),
        (("spatial_cov",), {"spatial_cov": 1.2}, "red"),
        (("motion", "swapped_order"), {}, "red"),
        (("possible_phantom",), {"inner_contrast": 0.02}, "red"),
        (("unknown_gm_mean_cbf",), {}, "red"),
    ],
)
def test_banner_level(flags: tuple[str, ...], quality: dict[str, float], level: str) -> None:
    shown = banner(RunRecord(run=RUN, state="done", flags=flags, quality=quality))
    assert shown.level == level
    assert len(shown.reasons) == len(flags)
    assert all(reason and todo for reason, todo in shown.reasons)


def test_expected_ranges_are_those_of_the_alarms() -> None:
    """What the table calls expected must raise no alarm, and a step outside it must."""
    alarms = {measure.name: [] for measure in MEASURES}
    for alarm in ALARMS:
        alarms[alarm.measure].append(alarm)
    for measure in MEASURES:
        limits = [end for end in (measure.low, measure.high) if math.isfinite(end)]
        assert not (limits and measure.typical) or measure.typical[0] in ";,", measure.name
        assert len(limits) == len({alarm.side for alarm in alarms[measure.name]}), measure.name
        for limit in limits:
            step = 1e-6 if limit == measure.high else -1e-6
            inside, outside = (limit / measure.scale, (limit + step) / measure.scale)
            assert not any(alarm.raised(inside) for alarm in alarms[measure.name])
            assert any(alarm.raised(outside) for alarm in alarms[measure.name])


def test_quality_rows_follow_the_flags() -> None:
    record = RunRecord(
        run=RUN,
        state="done",
        quality={"spatial_cov": 0.8, "gm_mean_cbf": math.nan, "negative_fraction": 0.012},
        flags=("spatial_cov", "unknown_gm_mean_cbf"),
    )
    rows = {row["label"]: row for row in quality_rows(record)}
    assert rows["Spatial coefficient of variation"]["verdict"] == "check"
    assert rows["Spatial coefficient of variation"]["expected"].endswith("here: vascular")
    assert rows["Grey matter CBF, mean"]["verdict"] == "check"
    assert rows["Grey matter CBF, mean"]["value"] == "n/a"
    assert rows["Grey matter voxels below 0"]["value"] == "1.2"
    assert rows["Grey matter voxels below 0"]["verdict"] == "ok"


def test_regions_side_by_side(tmp_path: Path) -> None:
    write_run(tmp_path, RUN)
    record = read_run(DerivativeWriter(tmp_path), RUN)
    assert record.regions is not None
    groups = region_groups(record.regions, 50.0)
    rows = {row.name: row for group in groups for row in group.rows}
    assert [group.name for group in groups][:3] == ["frontal", "parietal", "temporal"]
    table = record.regions.set_index(["name", "hemisphere"])["mean"]
    precuneus = rows["precuneus"]
    assert precuneus.left is not None and precuneus.right is not None
    assert precuneus.left.mean == f"{table['precuneus', 'L']:.1f}"
    assert precuneus.right.relative == f"{table['precuneus', 'R'] / 50:.2f}"
    assert precuneus.asymmetry == "-14.2" and precuneus.flagged
    assert rows["brainstem"].midline
    cerebellum = rows["cerebellar cortex"].left
    assert cerebellum is not None
    assert (cerebellum.reason, cerebellum.coverage) == ("n/a: < 50 % covered", "20")
    assert flagged_pairs(groups) == (1, 40)


def test_wrong_use_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="sub-02_run-1"):
        build_participant_report(tmp_path, "01", ["sub-01", "sub-02_run-1"])
    with pytest.raises(InputError, match="neither a CBF map"):
        build_participant_report(tmp_path, "01", ["sub-01"])
    write_run(tmp_path, RUN)
    path = DerivativeWriter(tmp_path).path("quality", run=RUN)
    quality_table().drop(columns="mask_dice").to_csv(path, sep="\t", index=False, na_rep="n/a")
    with pytest.raises(InputError, match="mask_dice"):
        build_participant_report(tmp_path, "01", [RUN])


def last_words(node: ast.expr, module: ast.Module) -> list[str]:
    """Return how a text can end; an inserted value at the end comes out empty."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=[*_, last]):
            return last_words(last, module)
        case ast.IfExp(body=first, orelse=second):
            return last_words(first, module) + last_words(second, module)
        case ast.Name(id=name):
            constants = [n for n in module.body if isinstance(n, ast.Assign)]
            values = [n.value for n in constants if ast.unparse(n.targets[0]) == name]
            return [text for value in values for text in last_words(value, module)]
    return [""]


@pytest.mark.parametrize("room", ["report", "cohort", "demo"])
def test_error_sentences_end(room: str) -> None:
    """What is wrong and what to do are printed one after the other."""
    found = 0
    for path in sorted((Path(cereflow_bids.__file__).parent / room).rglob("*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(module):
            if not isinstance(node, ast.Call):
                continue
            if ast.unparse(node.func) not in {"CereflowError", "InputError", "UsageError"}:
                continue
            found += 1
            fixes = [keyword.value for keyword in node.keywords if keyword.arg == "fix"]
            assert len(fixes) == 1, f"{path.name}:{node.lineno} has no fix"
            for text in (node.args[0], *fixes):
                ends = last_words(text, module)
                assert all(end.endswith(".") for end in ends), f"{path.name}:{node.lineno}"
    assert found > 1


@pytest.mark.parametrize(
    ("value", "delays"), [([0, 1.8, 1.8], [0, 1.8]), (1.8, [1.8]), (0, [0])], ids=str
)
def test_delays_are_told_once_each_and_zero_is_one(value: object, delays: list[float]) -> None:
    parameters = [{"name": "PostLabelingDelay", "value": value, "unit": "s", "origin": "x"}]
    record = RunRecord(run=RUN, state="done", sidecar=sidecar(Parameters=parameters))
    assert record.delays == delays
    assert record.has_att == (len(delays) > 1)


def test_no_font_is_missing(built: tuple[Path, str, str]) -> None:
    """A sign without a glyph would come out as nothing."""
    reader = pypdf.PdfReader(io.BytesIO((built[0] / "sub-01.pdf").read_bytes()))
    text = "".join(page.extract_text() for page in reader.pages)
    assert {sign for sign in "▲✔⚑◆α" if sign not in text} == set()
