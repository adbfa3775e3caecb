"""Parts of one step on several processes."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from cereflow_bids.imaging.motion import estimate_motion
from cereflow_bids.processes import side_by_side
from cereflow_bids.workflow.step import told

SCRIPT = """
import os, sys, time
print("begun", flush=True)
from cereflow_bids.processes import side_by_side
print(side_by_side({call}, [(number,) for number in {numbers}], 2), flush=True)
"""


@pytest.mark.parametrize("processes", [1, 2, 3, 9])
def test_results_come_in_the_order_of_the_calls(processes):
    calls = [(number, 2) for number in range(5)]
    assert side_by_side(pow, calls, processes) == [0, 1, 4, 9, 16]
    assert side_by_side(pow, [], processes) == []


def test_main_script_runs_once(tmp_path):
    # A script that nipype gives to a cluster has no guard.
    path = tmp_path / "asks.py"
    path.write_text(SCRIPT.format(call="abs", numbers="(-1, -2, -3)"), encoding="utf-8")
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=True)
    assert done.stdout == "begun\n[1, 2, 3]\n"


def test_error_of_another_process_is_raised():
    with pytest.raises(ZeroDivisionError):
        side_by_side(divmod, [(1, 1), (1, 0)], 2)


def test_killed_process_is_no_result():
    # The first call is this process's own.
    with pytest.raises(BrokenExecutor) as killed:
        side_by_side(_die, [(False,), (True,)], 2)
    # It is no bug of ours, and the record of the run must not call it one.
    message, fix = told(killed.value)
    assert "killed" in message
    assert "memory" in fix


def _die(really):
    if really:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for processes in /proc")
def test_no_process_outlives_the_one_that_asked(tmp_path):
    path = tmp_path / "asks.py"
    path.write_text(SCRIPT.format(call="time.sleep", numbers="(60, 60)"), encoding="utf-8")
    asking = subprocess.Popen([sys.executable, path], stdout=subprocess.DEVNULL)
    below = _wait(lambda: [deep for one in _descendants(asking.pid) for deep in _descendants(one)])
    asking.kill()
    asking.wait()
    _wait(lambda: not any(Path(f"/proc/{one}").exists() for one in below))


def _wait(for_what):
    until = time.monotonic() + 30
    while not (found := for_what()):
        assert time.monotonic() < until
        time.sleep(0.1)
    return found


def _descendants(pid):
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        below = [int(one) for task in tasks for one in (task / "children").read_text().split()]
    except OSError:
        return []
    return below + [other for one in below for other in _descendants(one)]


def test_motion_does_not_depend_on_processes():
    rng = np.random.default_rng(3)
    brain = ndimage.gaussian_filter(rng.random((24, 24, 12)), 2).astype(np.float32)
    series = np.stack([ndimage.shift(brain, (0.3 * k, 0, 0)) for k in range(5)], axis=-1)
    kinds = ["m0scan", "control", "label", "control", "label"]
    alone, together = (
        estimate_motion(series, np.diag([4, 4, 4, 1.0]), kinds, seed=0, processes=n).matrices
        for n in (1, 2)
    )
    assert np.isfinite(alone).all()
    assert np.array_equal(alone, together)
