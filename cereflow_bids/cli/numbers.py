"""Numbers on the command line, which know their limits: to refuse a wrong one, and to tell them.

The Boutiques descriptors are written from the same limits (scripts/boutiques_descriptors.py).
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Number:
    """A number with limits, as argparse wants it for ``type``.

    Parameters
    ----------
    minimum, maximum
        The least and the most that is allowed.
    above
        Whether `minimum` itself is refused.
    whole
        Whether it has no decimals.
    what
        What it is called where a wrong one is refused, such as ``a fraction``.
    hint
        A sentence on how to give a right one.
    """

    minimum: float = 0
    maximum: float = math.inf
    above: bool = False
    whole: bool = False
    what: str = "a number"
    hint: str = ""

    def __call__(self, text: str) -> float:
        """Return the number that was written.

        Raises
        ------
        argparse.ArgumentTypeError
            If it is none, or beyond the limits.
        """
        value = self._read(text)
        enough = value > self.minimum if self.above else value >= self.minimum
        # Neither comparison holds for nan.
        if not (enough and value <= self.maximum and math.isfinite(value)):
            raise argparse.ArgumentTypeError(self._refusal(text))
        return value

    def _read(self, text: str) -> float:
        if self.whole:
            if not text.strip().isdecimal():
                raise argparse.ArgumentTypeError(self._refusal(repr(text)))
            return int(text)
        try:
            return float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a number; write decimals with a point, such as 0.42."
            ) from None

    def _refusal(self, shown: str) -> str:
        what = "a whole number" if self.whole and self.what == "a number" else self.what
        limits = f"above {self.minimum:g}" if self.above else f"from {self.minimum:g} on"
        if math.isfinite(self.maximum):
            low = f"above {self.minimum:g} and up" if self.above else f"from {self.minimum:g}"
            limits = f"{low} to {self.maximum:g}"
        return f"{shown} is not {what} {limits}.{self.hint and ' '}{self.hint}"


@dataclass(frozen=True)
class Numbers:
    """Several numbers in one argument, with blanks between them; at least one.

    Parameters
    ----------
    each
        What each of them has to be.
    """

    each: Number

    def __call__(self, text: str) -> tuple[float, ...]:
        """Return the numbers that were written."""
        parts = text.split()
        if not parts:
            raise argparse.ArgumentTypeError("no number is given; write 1.8, with a point.")
        return tuple(self.each(part) for part in parts)


COUNT = Number(1, whole=True)
