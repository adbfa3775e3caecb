"""Thousands of mutated uploads through ``cereflow-convert``: nothing may break, leak or hang.

    python benchmarks/fuzz.py [--seed 1] [--count 2000] [--nprocs 2] [--only N …] [--keep FOLDER]

Each case goes into a copy of a dataset that holds one good subject. It counts as bad if the
command raises, prints a traceback or a canary, leaves with another exit code than 0, 1 or 3, takes
more than a minute, touches the good subject, writes anything outside the dataset, or puts a canary
into any byte of it. ``--only`` runs single cases again; ``--keep`` writes the bad uploads down.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import fuzz_driver
import mutations


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--nprocs", type=int, default=2)
    parser.add_argument("--only", type=int, nargs="+", metavar="N")
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    numbers = arguments.only or range(arguments.count)
    clock = time.monotonic()
    codes: Counter[int] = Counter()
    bad, slowest = 0, 0.0
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(arguments.nprocs, mp_context=get_context("spawn")) as pool,
    ):
        start = fuzz_driver.good_dataset(Path(folder))
        for number, outcome in pool.map(partial(_one, arguments.seed, start), numbers):
            codes[outcome.code] += 1
            slowest = max(slowest, outcome.seconds)
            bad += bool(outcome.problems)
            print(f"\r{codes.total()} done, {bad} bad", end="", file=sys.stderr, flush=True)
            if outcome.problems or arguments.only:
                _tell(mutations.case(arguments.seed, number), outcome, arguments.keep)
    listed = ", ".join(f"{codes[code]} with code {code}" for code in sorted(codes))
    minutes = (time.monotonic() - clock) / 60
    print(f"seed {arguments.seed}: {codes.total()} cases in {minutes:.1f} min ({listed});")
    print(f"slowest {slowest:.1f} s; bad: {bad}")
    return int(bad > 0)


def _one(seed: int, start: Path, number: int) -> tuple[int, fuzz_driver.Outcome]:
    with tempfile.TemporaryDirectory() as folder:
        return number, fuzz_driver.run(mutations.case(seed, number), start, Path(folder))


def _tell(case: mutations.Case, outcome: fuzz_driver.Outcome, keep: Path | None) -> None:
    print(f"case {case.number} ({case.vendor}: {', '.join(case.changes)}), code {outcome.code},")
    print(f"  {outcome.seconds:.1f} s", *outcome.problems, sep="\n  ", flush=True)
    print(*outcome.said.splitlines()[-6:], sep="\n  | ")
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        (keep / f"{case.number:05d}.zip").write_bytes(case.content)


if __name__ == "__main__":
    sys.exit(main())
