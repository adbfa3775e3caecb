"""The page of equations names the function of each, and leaves no public function out."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import cereflow_bids.perfusion

PAGE = Path(__file__).resolve().parent.parent / "docs" / "equations.md"


def named() -> set[str]:
    return set(re.findall(r"`(cereflow_bids(?:\.\w+)+)`", PAGE.read_text(encoding="utf-8")))


def public_functions() -> set[str]:
    package = cereflow_bids.perfusion
    found = set()
    for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(info.name)
        found |= {
            f"{info.name}.{name}"
            for name, thing in vars(module).items()
            if inspect.isfunction(thing)
            and thing.__module__ == info.name
            and not name.startswith("_")
        }
    return found


def test_named_functions_exist():
    for path in named():
        module, _, name = path.rpartition(".")
        assert inspect.isfunction(getattr(importlib.import_module(module), name, None)), path


def test_no_public_function_of_perfusion_is_left_out():
    functions = public_functions()
    assert "cereflow_bids.perfusion.kinetics.tissue_response" in functions
    assert not functions - named()
