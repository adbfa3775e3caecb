"""The documentation says what the code does: output page, flags and local links."""

import importlib
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

PROJECT = Path(__file__).resolve().parent.parent
PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted(PROJECT.glob("docs/*.md"))]
COMMANDS = {
    "cereflow": "cereflow",
    "cereflow-convert": "convert",
    "cereflow-demo": "demo",
    "cereflow-status": "status",
}

# What containers.md says of docker, podman and apptainer.
RUNTIMES = {"--bind", "--build-arg", "--cleanenv", "--containall", "--entrypoint", "--network"}
RUNTIMES |= {"--no-home", "--read-only", "--tmpfs", "--user", "--userns", "--volume", "--workdir"}
IN_CONTAINER = re.compile(
    r"(docker run|apptainer run|apptainer exec) (.*?)(?:cereflow:\d\S+|cereflow\.sif) (.+)"
)


def page_name(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def code_lines(page: Path) -> list[str]:
    """Return the lines of code blocks, continued lines joined."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    joined = "\n".join(blocks).replace("\\\n", " ")
    return [called(line.strip().removeprefix(".venv/bin/")) for line in joined.splitlines()]


def called(line: str) -> str:
    """Return the command that a line gives, the one in a container where it starts one."""
    match = IN_CONTAINER.match(line)
    if not match:
        return line
    if match[1].endswith("exec"):
        return match[3]
    entry = re.search(r"--entrypoint (\S+)", match[2])
    return f"{entry[1] if entry else 'cereflow'} {match[3]}"


@pytest.fixture(scope="module")
def options() -> dict[str, set[str]]:
    """Return the options that each command's own help lists."""

    def listed(module: str) -> set[str]:
        import contextlib
        import io

        text = io.StringIO()
        main = importlib.import_module(f"cereflow_bids.cli.{module}").main
        with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
            main(["--help"])
        return set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", text.getvalue()))

    return {command: listed(module) for command, module in COMMANDS.items()}


def generator(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, PROJECT / "docs" / f"{name}.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


@pytest.mark.parametrize("page", ["outputs", "series_rules"])
def test_generated_page_is_up_to_date(page):
    script = generator(f"generate_{page}")
    written = getattr(script, f"{page}_page")()
    assert script.PAGE.read_text(encoding="utf-8") == written, "run: make docs"


def test_every_series_rule_is_in_the_table_of_its_vendor_in_order():
    script = generator("generate_series_rules")
    listed = re.findall(r"^\| \d+ \| `([\w-]+)` \|", script.PAGE.read_text("utf-8"), re.M)
    rules = script.heuristic.rules().RULES
    assert listed == [r.name for vendor in script.VENDORS for r in rules if r.vendor == vendor]
    assert len(listed) == len(rules)


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_options_in_examples_exist(page, options):
    for line in code_lines(page):
        command, *words = line.partition("#")[0].split() or [""]
        if command in options:
            used = {word for word in words if re.match(r"--?[a-zA-Z]", word)}
            assert used <= options[command], f"{page_name(page)}: {line}"


def test_every_choice_that_changes_numbers_is_in_the_table():
    from cereflow_bids.cli.cereflow import parser

    (group,) = [g for g in parser()._action_groups if g.title == "choices that change numbers"]
    options = {action.option_strings[-1] for action in group._group_actions}
    page = (PROJECT / "docs" / "processing.md").read_text(encoding="utf-8")
    assert options <= set(re.findall(r"^\| `(--[a-z0-9-]+)`", page, re.M))


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_options_named_in_the_text_exist(page, options):
    known = set().union(*options.values())
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    named = set(re.findall(r"`(--[a-z][\w-]*)", text))
    if page.name == "containers.md":
        named -= RUNTIMES
    assert named <= known, f"{page_name(page)}: {named - known}"


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_local_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), f"{page_name(page)} links to {target}"


def test_readme_names_the_licence_of_all_packaged_data():
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    for licence in (PROJECT / "cereflow_bids" / "resources").rglob("LICENSE*"):
        assert f"]({licence.relative_to(PROJECT)})" in readme


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_make_targets_exist(page):
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):(?!=)", makefile, re.M))
    named = set(re.findall(r"`make ([a-z]+)`", page.read_text(encoding="utf-8")))
    named |= {line.split()[1] for line in code_lines(page) if line.startswith("make ")}
    assert named <= targets
