"""The option of ``cereflow`` that says in which spaces maps are written."""

from __future__ import annotations

from typing import Any


def add_spaces(group: Any) -> None:
    """Add the choice of output spaces to a parser's group."""
    group.add_argument(
        "--output-spaces",
        "--output_spaces",
        nargs="+",
        default=[],
        metavar="SPACE",
        help="where maps are written: native, T1w, and templates with :res-1 or :res-2 (mm), e.g. "
        "MNI152NLin2009aSym:res-1, which is packaged; others come through templateflow (default: "
        "native, T1w where there is one, MNI152NLin2009aSym:res-2)",
    )
