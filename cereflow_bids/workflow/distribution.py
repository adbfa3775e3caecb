"""Which nipype plugin runs the steps, and how it is set up."""

from __future__ import annotations

from typing import Any

from nipype.pipeline.plugins.linear import LinearPlugin

from cereflow_bids.processes import prepare_workers
from cereflow_bids.workflow import cluster
from cereflow_bids.workflow.plugin import ResilientMultiProc
from cereflow_bids.workflow.settings import Settings

POLL_SECONDS = 0.001
"""nipype's pause after each look for what has ended; it is our plugin that waits for something."""


def plugin(settings: Settings) -> tuple[type, dict[str, Any]]:
    """Return the nipype plugin and its arguments."""
    chosen = settings.plugin
    if chosen is not None and chosen.on_cluster:
        return cluster.PLUGINS[chosen.name], dict(chosen.arguments)
    processes = settings.processes
    if processes == 1:
        return LinearPlugin, {}
    prepare_workers(settings.worker_modules)
    memory = {} if settings.memory_gb is None else {"memory_gb": settings.memory_gb}
    return ResilientMultiProc, memory | {
        "n_procs": processes,
        "mp_context": "forkserver",
        # A step that takes more than all that there is runs alone; the user is told before.
        "raise_insufficient": False,
    }


def polling(settings: Settings) -> dict[str, str]:
    """Return how often nipype looks for what has ended, as its configuration has it."""
    if settings.plugin is None or not settings.plugin.on_cluster:
        return {"poll_sleep_duration": str(POLL_SECONDS)}
    return {
        "poll_sleep_duration": str(cluster.POLL_SECONDS),
        "job_finished_timeout": str(cluster.RESULT_SECONDS),
    }
