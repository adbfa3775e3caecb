"""A cluster on this machine: its commands, and the one node that works off what they queue.

Commands are those of SLURM and of PBS as far as nipype gives them. Jobs run one after the other,
each in a fork of a process that has loaded the libraries and takes quick steps: starting Python
anew for each is all that a real node does beyond that.
"""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import quick_steps

SUBMIT = """#!/bin/sh
for script; do :; done
n=1
while [ -e "{spool}/$n.job" ]; do n=$((n + 1)); done
printf '%s\\n' "{name} $*" >> "{spool}/submitted.txt"
cp "$script" "{spool}/$n.new" && mv "{spool}/$n.new" "{spool}/$n.job"
echo "{answer}"
"""
SQUEUE = """#!/bin/sh
echo "JOBID PARTITION NAME USER ST"
[ -e "{spool}/$2.end" ] || echo "$2 main job somebody R"
"""
QSTAT = """#!/bin/sh
state=R
[ -e "{spool}/$2.end" ] && state=C
echo "    job_state = $state"
"""
CANCEL = """#!/bin/sh
for job; do touch "{spool}/$job.cancelled"; done
"""
COMMANDS = {
    "sbatch": SUBMIT.replace("{answer}", "Submitted batch job $n"),
    "squeue": SQUEUE,
    "scancel": CANCEL,
    "qsub": SUBMIT.replace("{answer}", "$n.server"),
    "qstat": QSTAT,
    "qdel": CANCEL,
}


class Cluster:
    """The commands, in `commands`, and what was submitted by them."""

    def __init__(self, folder: Path) -> None:
        self.commands, self.spool = folder / "commands", folder / "spool"
        self.journal = folder / quick_steps.JOURNAL
        self.commands.mkdir(parents=True)
        self.spool.mkdir()
        for name, text in COMMANDS.items():
            path = self.commands / name
            path.write_text(text.replace("{spool}", str(self.spool)).replace("{name}", name))
            path.chmod(0o755)

    def submitted(self) -> list[str]:
        """Return every submission: the command with its arguments."""
        path = self.spool / "submitted.txt"
        return path.read_text().splitlines() if path.is_file() else []

    def cancelled(self) -> set[int]:
        """Return the numbers of the jobs that were cancelled."""
        return {int(path.stem) for path in self.spool.glob("*.cancelled")}

    @contextlib.contextmanager
    def node(self, *words: str) -> Iterator[None]:
        """Let jobs run during the block; `words` name steps that do not end well."""
        command = [sys.executable, __file__, str(self.spool), str(self.journal), *words]
        process = subprocess.Popen(command, start_new_session=True)
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def work_off(spool: Path, lost: list[str]) -> None:
    """Run jobs in their order, for ever; those of the steps `lost` are killed at their start."""
    done = 0
    while True:
        job = spool / f"{done + 1}.job"
        if not job.is_file():
            time.sleep(0.02)
            continue
        done += 1
        script = shlex.split(job.read_text().splitlines()[-1])[-1]
        if not any(step in script for step in lost) and not job.with_suffix(".cancelled").exists():
            pid = os.fork()
            if pid == 0:
                _run(script)
            os.waitpid(pid, 0)
        job.with_suffix(".end").touch()


def _run(script: str) -> None:
    import runpy

    try:
        runpy.run_path(script, run_name="__main__")
    finally:
        os._exit(0)


if __name__ == "__main__":
    import cereflow_bids.cli.participant
    import cereflow_bids.report.participant  # noqa: F401

    quick_steps.quicken(Path(sys.argv[2]))
    work_off(Path(sys.argv[1]), sys.argv[3:])
