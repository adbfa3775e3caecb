"""The Boutiques descriptors: what the commands take, no less, no more, and not otherwise."""

import argparse
import importlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import ValidationError

from cereflow_bids.cli import cereflow, convert_options
from cereflow_bids.cli.numbers import Number
from cereflow_bids.cli.science_options import science_of
from cereflow_bids.errors import UsageError
from cereflow_bids.workflow.memory import NEEDS

PROJECT = Path(__file__).resolve().parent.parent
BOSH = Path(sys.executable).parent / "bosh"
NAMES = ("boutiques.json", "boutiques_convert.json")


@pytest.fixture(scope="module")
def script():
    """Return the modules that write the descriptors."""
    sys.path.insert(0, str(PROJECT / "scripts"))
    try:
        yield importlib.import_module("boutiques_descriptors")
    finally:
        sys.path.remove(str(PROJECT / "scripts"))


def parser_of(name: str) -> argparse.ArgumentParser:
    return cereflow.parser() if name == NAMES[0] else convert_options.parser()


def read(name: str) -> dict:
    return json.loads((PROJECT / name).read_text(encoding="utf-8"))


def bosh(*words: object) -> subprocess.CompletedProcess:
    """Call the tool; what it says of a wrong invocation is in its answer, too."""
    command = [BOSH, *(str(word) for word in words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def simulated(name: str, invocation: dict, folder: Path) -> list[str]:
    """Return the words of the command line that a descriptor makes of an invocation."""
    (folder / "invocation.json").write_text(json.dumps(invocation))
    ended = bosh("exec", "simulate", "-i", folder / "invocation.json", PROJECT / name)
    assert ended.returncode == 0, ended.stderr
    return shlex.split(ended.stdout.partition("Generated Command:")[2])


def facts_of(script, name: str):
    return next(one for one in (script.PROCESSING, script.CONVERSION) if one.file == name)


@pytest.mark.parametrize("name", NAMES)
def test_descriptors_are_those_of_the_commands(script, name):
    assert read(name) == script.descriptor(facts_of(script, name)), "run: make docs"


@pytest.mark.parametrize("name", NAMES)
def test_an_option_that_is_added_changes_the_descriptor(script, name):
    facts = facts_of(script, name)
    for added, field, expected in (
        ({"action": "store_true"}, "type", "Flag"),
        ({"type": Number(0, 1, above=True)}, "maximum", 1),
        ({"choices": ("a", "b"), "default": "a"}, "default-value", "a"),
        ({"type": Path, "nargs": "+"}, "type", "File"),
        ({"type": Path, "action": "append"}, "list-separator", " --added "),
    ):
        parser = facts.parser()
        parser.add_argument("--added", **added)
        made = script.descriptor(facts, parser)
        assert made != read(name)
        assert "[ADDED]" in made["command-line"]
        assert made["inputs"][-1][field] == expected


@pytest.mark.parametrize(
    "added",
    [
        {"type": int},
        {"type": float},
        {"nargs": "?"},
        {"nargs": 2},
        {"action": "append_const", "const": 1},
    ],
)
def test_what_cannot_be_described_is_refused(script, added):
    parser = cereflow.parser()
    parser.add_argument("--added", **added)
    with pytest.raises(TypeError, match="added"):
        script.descriptor(script.PROCESSING, parser)


@pytest.mark.parametrize("name", NAMES)
def test_descriptors_are_valid(name):
    ended = bosh("validate", PROJECT / name)
    assert (ended.returncode, ended.stdout.strip()) == (0, "OK"), ended.stderr


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_there_with_its_group(name):
    parser = parser_of(name)
    told = {"help", "version"}
    expected = {action.dest for action in parser._actions} - told
    if name == NAMES[1]:
        expected = (expected - {"paths"}) | {"archives", "bids_dir"}
    descriptor = read(name)
    assert {one["id"] for one in descriptor["inputs"]} == expected
    shown = [group for group in descriptor["groups"] if not group.get("mutually-exclusive")]
    assert sorted(one for group in shown for one in group["members"]) == sorted(expected)


def value(one: dict) -> object:
    """Return a value that an input may have and does not have by default."""
    if one["type"] == "Flag":
        single: object = True
    elif one["type"] == "Number":
        low, high = one["minimum"], one.get("maximum", one["minimum"] + 4)
        single = int(low + 1) if one["integer"] else (low + high) / 2
    elif "value-choices" in one:
        single = one["value-choices"][-1]
    else:
        single = "two words"
    return [single, single] if one.get("list") else single


@pytest.mark.parametrize("name", NAMES)
def test_each_input_is_taken_by_the_command(name, tmp_path):
    """Each by itself: the words of bosh come to the same values in the command."""
    descriptor = read(name)
    parser = parser_of(name)
    base = {"bids_dir": "some data"} | ({} if name == NAMES[0] else {"archives": ["a b.zip"]})
    inputs = [one for one in descriptor["inputs"] if one["id"] not in base]
    # In two parts, since some exclude others.
    groups = descriptor["groups"]
    excluded = {one for g in groups if g.get("mutually-exclusive") for one in g["members"][1:]}
    needed = {"partial_volume_correction": "linear-regression", "quantification": "consensus"}
    for part in (0, 1):
        taken = [one for one in inputs if (one["id"] in excluded) == bool(part)]
        given = {one["id"]: value(one) for one in taken}
        given |= {one: kept for one, kept in needed.items() if one in given}
        given |= {"analysis_level": "participant"} if "analysis_level" in given else {}
        program, *words = simulated(name, base | given, tmp_path)
        assert program == parser.prog
        if name == NAMES[1]:
            words = convert_options.gathered(words)
        arguments = vars(parser.parse_intermixed_args(words))
        for one in given:
            if one != "bids_dir":
                assert given_as(given[one], one) == as_json(arguments[one]), one


def given_as(value: object, name: str) -> object:
    """Return what the command makes of a value that stands for a flag or for its absence."""
    signs = {"-v": 1, "-vv": 2, "--no-deface": False, "--no-keep-ages": False}
    return signs.get(value, value) if isinstance(value, str) and name else value


def as_json(value: object) -> object:
    if isinstance(value, list | tuple):
        return [as_json(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def wrong_values() -> list[tuple[str, str, object]]:
    """Return for each limit a value just beyond it: descriptor, input, value."""
    found = []
    for name in NAMES:
        for one in read(name)["inputs"]:
            if one["type"] != "Number":
                continue
            step = 1 if one["integer"] else 1e-6
            beyond = [one["minimum"] - (0 if one.get("exclusive-minimum") else step)]
            beyond += [one["maximum"] + step] if "maximum" in one else []
            found += [(name, one["id"], [bad] if one.get("list") else bad) for bad in beyond]
    return found


@pytest.mark.parametrize(("name", "key", "bad"), wrong_values())
def test_what_is_beyond_a_limit_is_refused_by_descriptor_and_command(name, key, bad, capsys):
    from boutiques.invocationSchemaHandler import generateInvocationSchema, validateSchema

    schema = generateInvocationSchema(read(name))
    base = dict.fromkeys(schema["required"], "x")
    if "analysis_level" in base:
        base["analysis_level"] = "participant"
    validateSchema(schema, base)
    with pytest.raises(ValidationError):
        validateSchema(schema, base | {key: bad})
    words = ["x", "y"] + (["participant"] if name == NAMES[0] else [])
    flag = next(one for one in read(name)["inputs"] if one["id"] == key)["command-line-flag"]
    number = bad[0] if isinstance(bad, list) else bad
    with pytest.raises(SystemExit):
        parser_of(name).parse_args([*words, f"{flag}={number}"])
    assert "is not a" in capsys.readouterr().err


def test_what_a_choice_disables_the_command_refuses():
    seen = 0
    inputs = {one["id"]: one for one in read(NAMES[0])["inputs"]}
    for one in inputs.values():
        for choice, disabled in one.get("value-disables", {}).items():
            for other in disabled:
                seen += 1
                assert "default-value" not in inputs[other]
                words = ["x", "y", "participant", *words_of(one, choice)]
                words += words_of(inputs[other], value(inputs[other]))
                if one["id"] == "analysis_level":
                    words[2:4] = [choice]
                arguments = cereflow.parser().parse_args(words)
                with pytest.raises(UsageError, match="--"):
                    refused(arguments)
    assert seen > 8


def words_of(one: dict, given: object) -> list[str]:
    values = given if isinstance(given, list) else [given]
    flag = [one["command-line-flag"]] if "command-line-flag" in one else []
    return flag + [str(one) for one in values if one is not True]


def refused(arguments: argparse.Namespace) -> None:
    if arguments.analysis_level == "group":
        cereflow._check_level(arguments)
    else:
        science_of(arguments)


def test_what_excludes_each_other_is_refused(tmp_path):
    given = {"bids_dir": "x", "t1_blood": 1.6, "haematocrit": 0.4}
    (tmp_path / "both.json").write_text(json.dumps(given))
    ended = bosh("exec", "simulate", "-i", tmp_path / "both.json", PROJECT / NAMES[0])
    assert ended.returncode != 0
    assert "t1_blood" in ended.stdout + ended.stderr


def test_exit_codes_are_those_of_the_docs():
    text = (PROJECT / "docs" / "processing.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\d, ]+) \| ", text.partition("## Exit codes")[2], re.M)
    codes = {int(code) for row in rows for code in row.split(",")}
    only_status, done = {4}, {0}
    for name in NAMES:
        assert {one["code"] for one in read(name)["error-codes"]} == codes - only_status - done


def test_suggested_resources_hold_the_largest_step():
    """And the process that leads, which takes less than a step does."""
    largest = max(need.fixed for need in NEEDS.values())
    assert read(NAMES[0])["suggested-resources"]["ram"] >= 2 * largest


@pytest.mark.parametrize("name", NAMES)
def test_tests_of_the_descriptors_name_outputs_that_are_there(name, tmp_path):
    descriptor = read(name)
    outputs = {one["id"] for one in descriptor["output-files"]}
    for test in descriptor["tests"]:
        assert simulated(name, test["invocation"], tmp_path)[0] == descriptor["name"]
        assert {one["id"] for one in test["assertions"]["output-files"]} <= outputs
