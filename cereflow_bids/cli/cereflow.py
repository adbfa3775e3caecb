"""cereflow BIDS_DIR OUTPUT_DIR {participant,group}: the BIDS App."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cereflow_bids import __version__
from cereflow_bids.cli.derivative_options import add_derivatives, derivatives_of
from cereflow_bids.cli.folders import check_folders, check_outside
from cereflow_bids.cli.grammar import Grammar
from cereflow_bids.cli.numbers import COUNT
from cereflow_bids.cli.science_options import add_science, science_of
from cereflow_bids.cli.space_options import add_spaces
from cereflow_bids.errors import CereflowError, UsageError, of_system

if TYPE_CHECKING:
    from cereflow_bids.workflow.settings import Settings

EPILOG = """\
exit codes: 0 all done; 1 some runs failed; 2 wrong usage; 3 parameters are pending;
130, 143 stopped by the user (Ctrl-C), or by the system.
Research use; not a medical device. Not affiliated with the makers of the CereFlow platform.
"""

YOUNG_OBJECTS = 50_000
"""How many new objects Python takes before it looks for garbage; loading makes about as many."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    p = Grammar(
        prog="cereflow",
        usage="%(prog)s [options] BIDS_DIR OUTPUT_DIR {participant,group}",
        description="CBF maps, reports and cohort tables from a BIDS dataset of ASL MRI.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("bids_dir", type=Path, help="top folder of the BIDS dataset; never written to")
    p.add_argument("output_dir", type=Path, help="folder for maps, tables and reports")
    p.add_argument(
        "analysis_level",
        choices=("participant", "group"),
        help="participant: each run on its own; group: tables and report of all that is done",
    )
    p.add_argument("--version", action="version", version=f"cereflow_bids {__version__}")
    p.add_argument("-v", "--verbose", action="count", default=0, help="tell more; repeatable")
    _add_selection(p.add_argument_group("which data"))
    add_science(p.add_argument_group("choices that change numbers"))
    _add_regions(p.add_argument_group("regions"))
    add_spaces(p.add_argument_group("spaces"))
    _add_execution(p.add_argument_group("execution"))
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = parser().parse_args(argv)
    try:
        if arguments.analysis_level == "group":
            return _group(arguments)
        return _participant(arguments)
    except CereflowError as error:
        print(f"cereflow: {error}", file=sys.stderr)
        return error.exit_code
    except SystemExit as stop:
        print("cereflow: stopped; run the same command again to go on.", file=sys.stderr)
        return int(stop.code or 0)
    except KeyboardInterrupt:
        print("cereflow: stopped before anything was begun.", file=sys.stderr)
        return 130
    except OSError as error:
        # No permission, no space, a file where a folder should be: the user's machine, not a bug.
        told = of_system(error)
        print(f"cereflow: {told}", file=sys.stderr)
        return told.exit_code


def _add_selection(group: Any) -> None:
    group.add_argument(
        "--participant-label",
        "--participant_label",
        nargs="+",
        default=[],
        metavar="LABEL",
        help="participants to process, with or without sub-; all if not given",
    )
    group.add_argument(
        "--session-label",
        "--session_label",
        nargs="+",
        default=[],
        metavar="LABEL",
        help="sessions to process, with or without ses-; all if not given",
    )
    group.add_argument(
        "--bids-filter-file",
        type=Path,
        metavar="FILE",
        help='JSON with pybids filters for "asl", e.g. {"asl": {"acquisition": "3D"}}',
    )
    group.add_argument(
        "--ignore",
        nargs="+",
        choices=("t1w",),
        default=[],
        help="images that are not to be used: t1w works without the T1w image",
    )
    add_derivatives(group)
    group.add_argument(
        "--bids-database-dir", type=Path, metavar="DIR", help="pybids index to reuse or to make"
    )
    group.add_argument(
        "--skip-bids-validation",
        "--skip_bids_validation",
        action="store_true",
        help="do not run bids-validator-deno first (it warns, it never stops the run)",
    )


def _add_regions(group: Any) -> None:
    group.add_argument(
        "--atlas",
        type=Path,
        action="append",
        default=[],
        metavar="PATH",
        help="also give CBF by the regions of this atlas: labels as NIfTI in template space, with "
        "a table (index, name, hemisphere, group) of the same name that ends in .tsv; repeatable",
    )


def _add_execution(group: Any) -> None:
    group.add_argument(
        "-w",
        "--work-dir",
        type=Path,
        default=Path("work"),
        metavar="DIR",
        help="intermediate results; a rerun resumes from them (default: ./work)",
    )
    group.add_argument(
        "--nprocs",
        "--n_cpus",
        type=COUNT,
        default=None,
        metavar="N",
        help="processes (default: all cores that this process may use)",
    )
    group.add_argument(
        "--omp-nthreads",
        type=COUNT,
        default=None,
        metavar="N",
        help="cores that one step may use (default: --nprocs, shared by the runs to process)",
    )
    group.add_argument(
        "--mem-mb",
        "--mem_mb",
        type=COUNT,
        metavar="MB",
        help="memory by which it is decided how many steps run at once, from estimates: no hard "
        "limit. A run that takes more by itself is named and tried all the same",
    )
    group.add_argument(
        "--use-plugin",
        type=Path,
        metavar="FILE",
        help="YAML or JSON with a nipype plugin (SLURM, PBS, SGE, LSF, OAR, MultiProc or Linear) "
        "and its plugin_args; its numbers win over --nprocs and --mem-mb",
    )
    group.add_argument(
        "--dry-run", action="store_true", help="list what would be done and write nothing"
    )
    flags = {
        "--stop-on-first-crash": "give up at the first failure instead of finishing the others",
        "--resource-monitor": "record time and peak memory of every step in logs/resources/",
        "--write-graph": "write the graph of steps into logs/ (DOT; SVG where Graphviz is there)",
        "--clean-workdir": "remove the intermediate results of runs that are done",
    }
    for flag, text in flags.items():
        group.add_argument(flag, action="store_true", help=text)


def _participant(arguments: argparse.Namespace) -> int:
    import gc

    from cereflow_bids.processes import limit_threads, prepare_workers

    # What libraries make while they are loaded stays; no need to look through it again and again.
    gc.set_threshold(YOUNG_OBJECTS)
    # Here, for numpy comes with the settings; a single process takes the steps itself.
    limit_threads()
    settings = _settings(arguments)
    if settings.processes > 1 and not arguments.dry_run:
        prepare_workers(settings.worker_modules)
    from cereflow_bids.cli.participant import run

    return run(settings, dry_run=arguments.dry_run)


def _group(arguments: argparse.Namespace) -> int:
    check_folders(arguments.bids_dir, arguments.output_dir)
    _check_level(arguments)
    from cereflow_bids.cohort import build_group

    result = build_group(arguments.bids_dir.resolve(), arguments.output_dir.resolve())
    for path in result.paths:
        print(path)
    print(result.summary())
    return 0


def _settings(arguments: argparse.Namespace) -> Settings:
    import os

    from cereflow_bids.bids.dataset import Selection
    from cereflow_bids.regions.atlas import packaged_atlases
    from cereflow_bids.regions.user_atlas import user_atlases
    from cereflow_bids.workflow.output_spaces import read_spaces
    from cereflow_bids.workflow.plugin_file import read_plugin
    from cereflow_bids.workflow.settings import Settings

    check_folders(arguments.bids_dir, arguments.output_dir)
    for option, folder in (
        ("--work-dir", arguments.work_dir),
        ("--bids-database-dir", arguments.bids_database_dir),
    ):
        if folder is not None:
            check_outside(arguments.bids_dir, folder, option)
    return Settings(
        bids_dir=arguments.bids_dir.resolve(),
        out_dir=arguments.output_dir.resolve(),
        work_dir=arguments.work_dir.resolve(),
        selection=Selection(
            tuple(label.removeprefix("sub-") for label in arguments.participant_label),
            tuple(label.removeprefix("ses-") for label in arguments.session_label),
            _filters(arguments.bids_filter_file),
            tuple(arguments.ignore),
            derivatives_of(arguments),
        ),
        science=science_of(arguments),
        atlases=(*packaged_atlases(), *user_atlases(arguments.atlas)),
        spaces=read_spaces(arguments.output_spaces),
        nprocs=arguments.nprocs or len(os.sched_getaffinity(0)),
        omp_nthreads=arguments.omp_nthreads,
        mem_mb=arguments.mem_mb,
        plugin=read_plugin(arguments.use_plugin) if arguments.use_plugin else None,
        stop_on_first_crash=arguments.stop_on_first_crash,
        resource_monitor=arguments.resource_monitor,
        write_graph=arguments.write_graph,
        clean_workdir=arguments.clean_workdir,
        database_dir=arguments.bids_database_dir,
        validate=not arguments.skip_bids_validation,
        verbose=arguments.verbose,
    )


def _check_level(arguments: argparse.Namespace) -> None:
    """Refuse at the group level what would let somebody expect less than all that is done."""
    for name in ("participant_label", "session_label", "bids_filter_file", "dry_run"):
        if getattr(arguments, name):
            raise UsageError(
                f"--{name.replace('_', '-')} is for the participant level; the group level takes "
                "all runs that are done, and writes its tables and report.",
                fix="leave it out.",
            )


def _filters(path: Path | None) -> dict[str, Any] | None:
    import json

    if path is None:
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"the filter file cannot be read ({error.strerror}).",
            where=str(path),
            fix="check the path.",
        ) from error
    except ValueError as error:
        raise UsageError(
            f"the filter file is no JSON ({error}).", where=str(path), fix="give valid JSON."
        ) from error
    wanted = content.get("asl", {}) if isinstance(content, dict) else None
    if not isinstance(wanted, dict) or {"suffix", "extension"} & set(wanted):
        raise UsageError(
            'the filter file must be an object with "asl" in it, with filters on entities.',
            where=str(path),
            fix='write, for example, {"asl": {"acquisition": "3D"}}; other keys are ignored.',
        )
    return {"asl": wanted}
