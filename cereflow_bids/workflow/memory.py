"""How much memory the steps take, estimated from the size of what they work on.

An estimate is what a process takes that runs the step, libraries included, after other steps, of
which it keeps up to 1 GB. Estimates decide how many steps run at once; none is stopped by them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cereflow_bids.bids.run import AslRun
from cereflow_bids.errors import UsageError
from cereflow_bids.workflow.settings import Settings

GB = 1024**3
FLOAT_BYTES = 4
ONE_MM_BYTES = FLOAT_BYTES * 170 * 256 * 256
"""The T1w image of which the fixed part was measured, in float32."""

RAW_BYTES = 2
"""Of a voxel of a T1w image, as scanners and converters write it."""

COMPRESSION = 2.5
"""How much smaller gzip makes a T1w image: 2.45 and 2.55 for those of the test data."""

NAMED_RUNS = 3


@dataclass(frozen=True)
class Need:
    """What a step takes.

    Attributes
    ----------
    bare, fixed
        GB, for a small series, without a T1w image and with one of 1 mm.
    series
        Times the series in float32.
    volume
        Times one volume of it.
    t1w
        Times the T1w image in float32, as far as it is larger than one of 1 mm.
    """

    bare: float
    fixed: float
    series: float = 0.0
    volume: float = 0.0
    t1w: float = 0.0


NEEDS = {
    "anatomy": Need(0.0, 1.6, t1w=25.0),
    "motion": Need(0.6, 1.0, series=5.0),
    "reference": Need(1.2, 1.6, series=1.5),
    "standard_space": Need(0.7, 1.2, series=2.5),
    "tissue": Need(0.95, 1.4, volume=80.0),
    "perfusion": Need(0.6, 1.1, series=3.5),
    "deposit": Need(0.6, 1.2, series=1.5),
    "report": Need(0.65, 1.15),
}
"""By --resource-monitor, in processes that had done other steps before, and rounded up;
`benchmarks/README.md` has what was measured."""

LEAST_GB = max(need.bare for need in NEEDS.values())
"""What the largest step takes of the smallest run without a T1w image."""


def step_gb(name: str, run: AslRun) -> float:
    """Return the memory of a step of a run, GB, by estimate.

    Parameters
    ----------
    name
        A key of `NEEDS`.
    run
        The run; its images are not opened.
    """
    need = NEEDS[name]
    fixed = need.fixed if _has_anatomy(run) else need.bare
    series = FLOAT_BYTES * math.prod(run.shape)
    volume = FLOAT_BYTES * math.prod(run.shape[:3])
    more = max(0.0, _t1w_bytes(run) - ONE_MM_BYTES) if need.t1w else 0.0
    return fixed + (need.series * series + need.volume * volume + need.t1w * more) / GB


def largest_step(run: AslRun) -> tuple[str, float]:
    """Return the step of a run that takes most, and how much, GB, by estimate."""
    needed = {name: step_gb(name, run) for name in _steps(run)}
    name = max(needed, key=needed.__getitem__)
    return name, needed[name]


def check_memory(runs: Sequence[AslRun], settings: Settings) -> str:
    """Return a warning of runs that take more than the limit, by estimate; empty if none does.

    Parameters
    ----------
    runs
        What there is to do.
    settings
        What the user chose.

    Raises
    ------
    UsageError
        If the limit is below what any step of them takes, however small the series.
    """
    limit = settings.memory_gb
    if limit is None:
        return ""
    told = _told(settings)
    least = min((_least_gb(run) for run in runs), default=LEAST_GB)
    if limit < least:
        raise UsageError(
            f"{told} is too little: the largest step of the smallest run takes about "
            f"{_mb(least)} MB.",
            fix=f"allow at least {_mb(least)} MB, or leave the limit out.",
        )
    large = {run.stem: largest_step(run) for run in runs}
    large = {stem: found for stem, found in large.items() if found[1] > limit}
    if not large:
        return ""
    order = sorted(large, key=lambda stem: -large[stem][1])
    named = [f"{stem} {_mb(large[stem][1])} MB ({large[stem][0]})" for stem in order[:NAMED_RUNS]]
    if len(order) > NAMED_RUNS:
        named.append(f"and {len(order) - NAMED_RUNS} runs more")
    most = _mb(large[order[0]][1])
    return (
        f"memory: {told} is less than some runs take in their largest step, by estimate: "
        f"{', '.join(named)}. They are tried all the same, each such step alone, and may take "
        f"more than the limit. To fix: allow {most} MB if there are as many, or leave them out."
    )


def _steps(run: AslRun) -> list[str]:
    return [name for name in NEEDS if name != "anatomy" or _has_anatomy(run)]


def _least_gb(run: AslRun) -> float:
    """Return what the largest step of a run would take if its series were small."""
    known = _has_anatomy(run)
    return max(need.fixed if known else need.bare for need in NEEDS.values())


def _has_anatomy(run: AslRun) -> bool:
    return run.t1w is not None or run.precomputed is not None


def _t1w_bytes(run: AslRun) -> float:
    """Return the size of the T1w image in float32, from the size of its file."""
    known = run.precomputed
    path = (known.files.get("head") if known is not None else None) or run.t1w
    if path is None:
        return 0.0
    try:
        size = Path(path).stat().st_size
    except OSError:
        # The step that reads it says what is wrong.
        return 0.0
    packed = COMPRESSION if Path(path).suffix in (".gz", ".mgz") else 1.0
    return packed * size * FLOAT_BYTES / RAW_BYTES


def _told(settings: Settings) -> str:
    """Return the limit as the user gave it."""
    if settings.plugin is not None and settings.plugin.arguments.get("memory_gb"):
        return f"memory_gb {settings.plugin.arguments['memory_gb']:g} of the plugin file"
    return f"--mem-mb {settings.mem_mb}"


def _mb(gigabytes: float) -> int:
    """Return MB, rounded up to tens."""
    return 10 * math.ceil(gigabytes * 102.4 - 1e-9)
