"""Write boutiques.json and boutiques_convert.json from what the commands themselves take.

Options, types, limits, choices and defaults are those of the parsers; output files are those of
derivatives_spec/. What a parser does not know is in boutiques_facts.py.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from boutiques_facts import CONVERSION, PROCESSING, Facts

from cereflow_bids import __version__
from cereflow_bids.cli.numbers import Number, Numbers

PROJECT = Path(__file__).resolve().parent.parent
JsonObject = dict[str, Any]
# They tell of the command instead of running it.
_TELLING = (argparse._HelpAction, argparse._VersionAction)
_FOLDERS = {
    "root": ("",),
    "figures": ("sub-*/figures/",),
    "anat": ("sub-*/anat/", "sub-*/ses-*/anat/"),
    "perf": ("sub-*/perf/", "sub-*/ses-*/perf/"),
}


def descriptor(facts: Facts, parser: argparse.ArgumentParser | None = None) -> JsonObject:
    """Return the descriptor of one command.

    Parameters
    ----------
    facts
        Which command, and what its parser does not know of it.
    parser
        Another one than the command's own.
    """
    parser = parser or facts.parser()
    inputs = list(_inputs(parser, facts))
    known = {one["id"] for one in inputs}
    if strange := set(facts.changes) - known:
        raise ValueError(f"boutiques_facts.py tells of inputs that are not there: {strange}")
    keys = [one["value-key"] for one in inputs]
    outputs = [*facts.outputs, *(_derivatives() if facts is PROCESSING else ())]
    saved = facts.outputs[0]["id"]
    custom = facts.custom | {
        # Each file would be filed a second time beside the folder that holds it.
        "cbrain:ignore_outputs": [one["id"] for one in outputs if one["id"] != saved]
    }
    return {
        "name": parser.prog,
        "description": facts.description,
        "author": "cereflow_bids contributors",
        "tool-version": __version__,
        "schema-version": "0.5",
        "command-line": " ".join((parser.prog, *keys)),
        # A login shell would forget the PATH of the image.
        "shell": "/bin/bash",
        "container-image": {"type": "docker", "image": f"cereflow:{__version__}"},
        "inputs": inputs,
        "groups": list(_groups(parser, facts)),
        "output-files": outputs,
        "error-codes": [{"code": c, "description": text} for c, text in facts.codes.items()],
        "suggested-resources": facts.resources,
        "tags": facts.tags,
        "tests": facts.tests,
        "custom": custom,
    }


def _inputs(parser: argparse.ArgumentParser, facts: Facts) -> Iterator[JsonObject]:
    """Yield the inputs: positionals first, since an option for several would swallow them."""
    actions = sorted(parser._actions, key=lambda action: bool(action.option_strings))
    for action in actions:
        if isinstance(action, _TELLING):
            continue
        if action.dest in facts.positionals:
            made = facts.positionals[action.dest]
        else:
            made = (_of_action(parser, action, facts),)
        for one in made:
            told = one | {"value-key": f"[{one['id'].upper()}]"} | facts.changes.get(one["id"], {})
            if one["id"] in facts.without_default:
                told.pop("default-value", None)
            yield told


def _of_action(
    parser: argparse.ArgumentParser, action: argparse.Action, facts: Facts
) -> JsonObject:
    about = parser._get_formatter()._expand_help(action) if action.help else ""
    one: JsonObject = {
        "id": action.dest,
        "name": action.dest.replace("_", " ").capitalize(),
        "description": about[:1].upper() + about[1:] + ".",
        "optional": not action.required,
    }
    if isinstance(action, argparse.BooleanOptionalAction):
        # One input with three states: two flags that exclude each other make bosh 0.5.33 crash.
        return one | {"type": "String", "value-choices": list(action.option_strings)}
    if isinstance(action, argparse._StoreTrueAction):
        return one | {"type": "Flag", "command-line-flag": _long(action)}
    if isinstance(action, argparse._CountAction):
        short = action.option_strings[0]
        levels = [short, short + short[-1]]
        return one | {"type": "String", "value-choices": levels}
    if not isinstance(action, argparse._StoreAction | argparse._AppendAction):
        raise TypeError(f"{action.dest}: Boutiques has nothing for {type(action).__name__}.")
    one |= _type(action, facts)
    if action.option_strings:
        one["command-line-flag"] = _long(action)
    one |= _several(action)
    if action.default not in (None, [], (), argparse.SUPPRESS):
        is_path = isinstance(action.default, Path)
        one["default-value"] = str(action.default) if is_path else action.default
    return one


def _long(action: argparse.Action) -> str:
    return next(flag for flag in action.option_strings if flag.startswith("--"))


def _type(action: argparse.Action, facts: Facts) -> JsonObject:
    """Return type and limits; numbers that do not know their limits are refused."""
    kind = action.type
    if isinstance(kind, Numbers):
        return _limits(kind.each)
    if isinstance(kind, Number):
        return _limits(kind)
    if kind in (int, float):
        raise TypeError(f"{action.dest}: give it a Number of cereflow_bids.cli.numbers.")
    if kind is Path:
        return {"type": "String" if action.dest in facts.made else "File"}
    choices = {"value-choices": list(action.choices)} if action.choices else {}
    return {"type": "String"} | choices


def _limits(number: Number) -> JsonObject:
    told: JsonObject = {"type": "Number", "integer": number.whole, "minimum": number.minimum}
    if number.above:
        told["exclusive-minimum"] = True
    if number.maximum != float("inf"):
        told["maximum"] = number.maximum
    return told


def _several(action: argparse.Action) -> JsonObject:
    """Return how several values are given, if they can be."""
    if isinstance(action, argparse._AppendAction):
        if action.nargs is not None:
            raise TypeError(f"{action.dest}: Boutiques cannot repeat an option for several.")
        return {"list": True, "list-separator": f" {_long(action)} ", "min-list-entries": 1}
    if action.nargs == "+" or isinstance(action.type, Numbers):
        return {"list": True, "list-separator": " ", "min-list-entries": 1}
    if action.nargs is not None:
        raise TypeError(f"{action.dest}: nargs={action.nargs!r} is not described.")
    return {}


def _groups(parser: argparse.ArgumentParser, facts: Facts) -> Iterator[JsonObject]:
    """Yield the groups that --help shows, and those of which one option excludes another."""
    for group in parser._action_groups:
        members = [
            one["id"]
            for action in group._group_actions
            if not isinstance(action, _TELLING)
            for one in facts.positionals.get(action.dest, ({"id": action.dest},))
        ]
        if members:
            title = str(group.title)
            name = re.sub(r"\W+", "_", title)
            yield {"id": f"{name}_group", "name": title.capitalize(), "members": members}
    for mutex in parser._mutually_exclusive_groups:
        members = [action.dest for action in mutex._group_actions]
        name = " or ".join(member.replace("_", " ") for member in members)
        yield {
            "id": "_or_".join(members),
            "name": f"Either {name}",
            "members": members,
            "mutually-exclusive": True,
        }


def _derivatives() -> Iterator[JsonObject]:
    """Yield the files of derivatives_spec/; those of datasets with sessions apart."""
    path = PROJECT / "derivatives_spec" / "outputs.yaml"
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    seen = set()
    for key, output in spec["outputs"].items():
        name = output["name"].replace("{run}", "sub-*").replace("{participant}", "sub-*")
        name = re.sub(r"{\w+}", "*", name)
        for folder, suffix in zip(_FOLDERS[output["folder"]], ("", "_sessions"), strict=False):
            template = f"[OUTPUT_DIR]/{folder}{name}"
            if template in seen:
                continue
            seen.add(template)
            unit = f" Unit: {output['units']}." if output.get("units") else ""
            # A glob cannot say that there is no further entity.
            more = " The pattern fits those of other spaces and kinds, too."
            wide = more if re.fullmatch(r"sub-\*_[a-z]+\.nii\.gz", name) else ""
            yield {
                "id": key + suffix,
                "name": key.replace("_", " ").capitalize() + (" by session" if suffix else ""),
                "description": f"{output['description']}{unit} When: {output['when']}.{wide}",
                "path-template": template,
                "optional": True,
            }


def main() -> None:
    """Write both descriptors."""
    for facts in (PROCESSING, CONVERSION):
        text = json.dumps(descriptor(facts), indent=2, ensure_ascii=False)
        (PROJECT / facts.file).write_text(text + "\n", encoding="utf-8")
        print(facts.file, file=sys.stderr)


if __name__ == "__main__":
    main()
