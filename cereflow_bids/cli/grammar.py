"""The grammar of a command line whose errors are short and say what was perhaps meant."""

from __future__ import annotations

import argparse
import difflib
import sys
from typing import Any, NoReturn


class Grammar(argparse.ArgumentParser):
    """A parser that takes no abbreviations: they would change their meaning with new options."""

    def __init__(self, **choices: Any) -> None:
        super().__init__(**choices)
        self.allow_abbrev = False

    def error(self, message: str) -> NoReturn:
        """Print usage, what is wrong and what is near it, and end with exit code 2."""
        self.print_usage(sys.stderr)
        near = self._near(message) if message.startswith("unrecognized arguments") else []
        meant = f"Did you mean {' or '.join(near)}? " if near else ""
        self.exit(2, f"{self.prog}: error: {message}\n{meant}{self.prog} --help tells of all.\n")

    def _near(self, message: str) -> list[str]:
        """Return the options that words of a message begin, or misspell; each by one name."""
        named = self._option_string_actions.items()
        # Spellings with underscores are for those who know them from other tools.
        known = {n: action for n, action in named if n[:2] == "--" and "_" not in n}
        found: dict[int, str] = {}
        for word in message.split():
            option = word.partition("=")[0]
            begun = [name for name in known if option[:2] == "--" and name.startswith(option)]
            close = difflib.get_close_matches(option, known, n=1, cutoff=0.75)
            for name in begun or close:
                found.setdefault(id(known[name]), name)
        return list(found.values())
