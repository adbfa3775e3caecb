"""The file that tells how the steps are run elsewhere: a nipype plugin and its arguments."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cereflow_bids.errors import UsageError

COMMANDS = {
    "SLURM": ("sbatch", "squeue"),
    "PBS": ("qsub", "qstat"),
    "SGE": ("qsub", "qstat"),
    "LSF": ("bsub", "bjobs"),
    "OAR": ("oarsub", "oarstat"),
}
"""Plugins that hand every step to a cluster, and the commands that they give."""

LOCAL = ("Linear", "MultiProc", "LegacyMultiProc")
"""Plugins that stay on this machine; the second and the third are the same to us."""

_EXAMPLE = (
    "write, for example, {plugin: SLURM, plugin_args: {sbatch_args: --mem=4G --time=1:00:00}}"
)


@dataclass(frozen=True)
class Plugin:
    """How the steps are run.

    Attributes
    ----------
    name
        nipype's name, a key of `COMMANDS` or one of `LOCAL`.
    arguments
        nipype's ``plugin_args``.
    """

    name: str
    arguments: dict[str, Any]

    @property
    def on_cluster(self) -> bool:
        """Whether steps run on other machines."""
        return self.name in COMMANDS


def read_plugin(path: Path) -> Plugin:
    """Read and check a plugin file, YAML or JSON.

    Parameters
    ----------
    path
        The file; ``plugin`` and ``plugin_args`` are its keys.

    Raises
    ------
    UsageError
        If it is not such a file, or the cluster's commands are not on this machine.
    """
    import yaml

    where = str(path)
    try:
        # JSON is YAML, too.
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(
            f"the plugin file cannot be read ({' '.join(str(error).split())}).",
            where=where,
            fix=f"{_EXAMPLE}.",
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("plugin"), str):
        raise UsageError("the plugin file names no plugin.", where=where, fix=f"{_EXAMPLE}.")
    unknown = sorted(str(key) for key in set(content) - {"plugin", "plugin_args"})
    if unknown:
        raise UsageError(
            f"the plugin file has the unknown key {', '.join(unknown)}.",
            where=where,
            fix="give only plugin and plugin_args.",
        )
    name, arguments = content["plugin"], content.get("plugin_args") or {}
    if not isinstance(arguments, dict) or not all(isinstance(key, str) for key in arguments):
        raise UsageError(
            f"plugin_args is {arguments!r}, not an object.", where=where, fix=f"{_EXAMPLE}."
        )
    _check_name(name, where)
    _check_arguments(name, arguments, where)
    return Plugin(name, arguments)


def _check_name(name: str, where: str) -> None:
    """Refuse plugins that are unknown or cannot do, and those whose cluster is not here."""
    known = (*COMMANDS, *LOCAL)
    if name not in known:
        reason = (
            "hands the whole graph over and does not wait for it, so that nobody would know what "
            "becomes of the runs"
            if name.endswith(("Graph", "DAGMan"))
            else "is none that cereflow runs with"
        )
        raise UsageError(
            f"the plugin {name} {reason}.", where=where, fix=f"choose from {', '.join(known)}."
        )
    missing = [command for command in COMMANDS.get(name, ()) if shutil.which(command) is None]
    if missing:
        raise UsageError(
            f"the plugin {name} needs the command {' and '.join(missing)}, which is not on PATH.",
            where=where,
            fix="call cereflow where jobs can be submitted, or choose MultiProc.",
        )


def _check_arguments(name: str, arguments: dict[str, Any], where: str) -> None:
    """Refuse numbers that are none: nipype would fail far from their cause, or wait for ever."""
    if "status_callback" in arguments:
        raise UsageError(
            "status_callback cannot be given: cereflow keeps its records by it.",
            where=where,
            fix="leave it out.",
        )
    whole = ("max_jobs", "n_procs", "max_tries")
    for key in (*whole, "memory_gb", "retry_timeout"):
        value = arguments.get(key)
        right = isinstance(value, int if key in whole else int | float)
        if value is not None and (not right or isinstance(value, bool) or value <= 0):
            raise UsageError(
                f"{key} is {value!r}, which is no {'whole ' if key in whole else ''}number "
                "above zero.",
                where=where,
                fix=f"correct {key} of {name}.",
            )
    for key in ("template", "sbatch_args", "qsub_args", "bsub_args", "oarsub_args"):
        if not isinstance(arguments.get(key, ""), str):
            raise UsageError(
                f"{key} is {arguments[key]!r}, not text.", where=where, fix=f"put {key} in quotes."
            )
