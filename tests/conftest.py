"""Fixtures that every room's tests share."""

import os
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

# The command limits them before numpy is loaded, which calls from within a test cannot.
for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")
os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")

# No deadlines: a busy machine is no bug. CI draws the same examples each time.
hypothesis.settings.register_profile(
    "house", deadline=None, derandomize=bool(os.environ.get("CI"))
)
hypothesis.settings.load_profile("house")

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Return the folder of real scans and phantoms; skip where there is none."""
    folder = Path(os.environ.get("CEREFLOW_TEST_DATA", PROJECT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no test data: set CEREFLOW_TEST_DATA (looked beside {PROJECT.name}/)")
    return folder


@pytest.fixture(scope="session")
def real_bids(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function: stem of a real ZIP → BIDS dataset, each converted once per session."""
    from cereflow_bids.cli.convert import main

    # What the Philips header does not hold; the protocol of that very scan.
    extra = ("--post-labeling-delay", "2.0", "--labeling-duration", "1.8")
    done: dict[str, Path] = {}

    def converted(stem: str) -> Path:
        if stem not in done:
            archive = data_dir / "zips" / f"{stem}.zip"
            target = tmp_path_factory.mktemp(stem) / "bids"
            options = extra if stem.startswith("philips") else ()
            code = main([str(archive), str(target), *options])
            assert code == 0, f"{stem} did not convert: exit code {code}"
            done[stem] = target
        return done[stem]

    return converted
