"""The project itself: one version, light doors, a complete lock file and a complete wheel."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import cereflow_bids
from cereflow_bids.resources import RESOURCES

PROJECT = Path(__file__).resolve().parent.parent
SPEC = PROJECT / "derivatives_spec"
COMMANDS = {
    "cereflow": "cereflow",
    "cereflow-convert": "convert",
    "cereflow-demo": "demo",
    "cereflow-status": "status",
}
HEAVY = {
    "ants",
    "bids",
    "heudiconv",
    "matplotlib",
    "nibabel",
    "nilearn",
    "nipype",
    "onnxruntime",
    "pandas",
    "pydicom",
    "scipy",
    "templateflow",
    "weasyprint",
}


@pytest.fixture(scope="module")
def pyproject() -> dict:
    return tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    if not (PROJECT / ".git").exists():
        pytest.skip("not a git checkout: there is no list of tracked files")
    command = ["git", "-c", f"safe.directory={PROJECT}", "ls-files", "-z"]
    listing = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True)
    return [PROJECT / name for name in listing.stdout.split("\0") if name]


def test_version_is_written_once(pyproject):
    assert "version" in pyproject["project"]["dynamic"]
    assert importlib.metadata.version("cereflow-bids") == cereflow_bids.__version__


@pytest.mark.parametrize(("command", "module"), COMMANDS.items())
def test_command_is_installed_and_opens_the_right_door(command, module):
    (script,) = importlib.metadata.entry_points(group="console_scripts", name=command)
    assert script.value == f"cereflow_bids.cli.{module}:main"
    assert callable(script.load())


@pytest.mark.parametrize("module", COMMANDS.values())
def test_help_loads_no_heavy_library(module):
    code = (
        "import sys\n"
        f"from cereflow_bids.cli.{module} import main\n"
        "try:\n"
        "    main(['--help'])\n"
        "finally:\n"
        "    print(*sys.modules, file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert "usage:" in run.stdout.lower()
    loaded = {name.partition(".")[0] for name in run.stderr.split()}
    assert "cereflow_bids" in loaded
    assert not loaded & HEAVY


def test_output_spec_is_consistent():
    outputs = yaml.safe_load((SPEC / "outputs.yaml").read_text(encoding="utf-8"))["outputs"]
    columns = yaml.safe_load((SPEC / "columns.yaml").read_text(encoding="utf-8"))
    assert {path.name for path in SPEC.iterdir()} == {"outputs.yaml", "columns.yaml"}
    placeholders = {"run", "participant", "atlas", "space", "template"}
    for key, output in outputs.items():
        assert {"folder", "name", "description", "when"} <= set(output), key
        assert set(re.findall(r"{(\w+)}", output["name"])) <= placeholders, key
    places = [(output["folder"], output["name"]) for output in outputs.values()]
    assert len(set(places)) == len(places)
    named = {output["columns"] for output in outputs.values() if "columns" in output}
    assert named == set(columns)
    for table, fields in columns.items():
        for column, field in fields.items():
            # An unquoted comma would split a description into keys of its own.
            assert "description" in field, f"{table}.{column}"
            assert set(field) <= {"description", "units", "levels"}, f"{table}.{column}"


def test_packaged_data_come_with_licence_and_origin():
    folders = {
        path.parent
        for path in RESOURCES.rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    }
    assert folders
    for folder in folders:
        assert any(folder.glob("LICENSE*")), f"{folder} has no licence"
        assert (folder / "README.md").is_file(), f"{folder} does not say where its data come from"


def test_lock_file_pins_and_hashes_every_dependency(pyproject):
    lock = (PROJECT / "requirements.lock").read_text(encoding="utf-8")
    blocks = re.findall(r"^([\w.-]+)==(\S+) \\\n((?:    --hash=sha256:\w{64}.*\n)+)", lock, re.M)
    pins = {canonicalize_name(name): version for name, version, _ in blocks}
    assert len(pins) == len(re.findall(r"^[\w.-]+==", lock, re.M)), "a pin without a hash"
    project = pyproject["project"]
    wanted = [*project["dependencies"], *pyproject["build-system"]["requires"]]
    for extra in project["optional-dependencies"].values():
        wanted += [line for line in extra if not line.startswith("cereflow-bids")]
    for requirement in map(Requirement, wanted):
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin is not None, f"{requirement.name} is not locked: run make lock"
        assert requirement.specifier.contains(pin), f"{requirement} is locked at {pin}"
    other = re.compile(r"(?![\w.-]+==|    --hash=sha256:| *#|$)")
    assert not [line for line in lock.splitlines() if other.match(line)], "an option or address"


def imported_packages() -> set[str]:
    """Return the third-party distributions that the package's code names, wherever it does."""
    names = set()
    for folder in ("cereflow_bids", "heuristics"):
        for path in (PROJECT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    names |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names.add(node.module)
    modules = {name.partition(".")[0] for name in names} - sys.stdlib_module_names
    own = {"cereflow_bids", *(path.stem for path in (PROJECT / "heuristics").glob("*.py"))}
    owners = importlib.metadata.packages_distributions()
    return {canonicalize_name(owners[module][0]) for module in modules - own}


def test_dependencies_are_those_that_the_code_imports(pyproject):
    declared = {Requirement(line).name for line in pyproject["project"]["dependencies"]}
    programs = {"heudiconv"}  # run in a process of its own, never imported
    assert {canonicalize_name(name) for name in declared} == imported_packages() | programs


def last_words(text: ast.expr) -> str | None:
    """Return how a literal ends; None where it is no literal."""
    if isinstance(text, ast.JoinedStr):
        text = text.values[-1]
    if isinstance(text, ast.FormattedValue):
        return ast.unparse(text.value)
    if isinstance(text, ast.Constant) and isinstance(text.value, str):
        return text.value
    return None


def error_sentences() -> list[tuple[str, str | None]]:
    """Return place and ending of what and fix of every error of our family that is made."""
    family = {"CereflowError"}
    trees = {
        path: ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted((PROJECT / "cereflow_bids").rglob("*.py"))
    }
    nodes = [(path, node) for path, tree in trees.items() for node in ast.walk(tree)]
    grown = 0
    while grown != len(family):
        grown = len(family)
        for _, node in nodes:
            if isinstance(node, ast.ClassDef) and family & set(map(ast.unparse, node.bases)):
                family.add(node.name)
    found = []
    for path, node in nodes:
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in family:
            named = [word.value for word in node.keywords if word.arg in {"what", "fix"}]
            place = f"{path.relative_to(PROJECT)}:{node.lineno}"
            found += [(place, last_words(text)) for text in [*node.args[:1], *named]]
    return found


def test_every_error_is_made_of_whole_sentences():
    sentences = error_sentences()
    known = [(place, words) for place, words in sentences if words is not None]
    assert len(known) > 0.8 * len(sentences) > 50
    open_ended = [
        f"{place}: …{words[-40:]}" for place, words in known if not words.endswith((".", "?", "!"))
    ]
    assert open_ended == [], "what and fix are printed one behind the other"


# Written with brackets so that this file does not contain what it forbids.
LEAKS = re.compile(
    r"pypi[.]org/simple|files[.]pythonhosted|deb[.]debian[.]org|registry[.]npmjs|"
    r"(?<![\w.*])/(?:root|home/\w+|work/(?:main|shared)|opt/(?:pypi|wheels))/"
)


def test_no_tracked_file_names_a_machine_or_a_registry(tracked):
    assert tracked
    for path in tracked:
        try:
            text = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue  # an image, or a file that a commit is about to remove
        found = LEAKS.search(text)
        assert found is None, f"{path.relative_to(PROJECT)}: {found[0]}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Build the wheel with the build tool itself: nothing is downloaded."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=PROJECT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_holds_every_tracked_file_that_runs(wheel, tracked):
    carried = set(zipfile.ZipFile(wheel).namelist())
    expected = set()
    for path in tracked:
        relative = path.relative_to(PROJECT)
        if not path.exists():
            continue  # a commit is about to remove it
        if relative.parts[0] == "cereflow_bids":
            expected.add(relative.as_posix())
        elif relative.parts[0] in {"heuristics", "derivatives_spec"}:
            expected.add(f"cereflow_bids/{relative.as_posix()}")
    for sample in ("derivatives_spec/outputs.yaml", "heuristics/cereflow.py"):
        assert f"cereflow_bids/{sample}" in expected
    assert not expected - carried
    assert not [name for name in carried if name.startswith(("tests/", "docs/"))]


def test_installed_wheel_finds_its_folders(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        "from cereflow_bids.resources import packaged_folder, template\n"
        "for name in ('heuristics', 'derivatives_spec'):\n"
        "    print(packaged_folder(name))\n"
        "assert template('T1w').is_file()\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [
        str(tmp_path / "cereflow_bids" / name) for name in ("heuristics", "derivatives_spec")
    ]
