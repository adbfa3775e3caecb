"""What Boutiques wants to know of the commands, and their parsers do not know."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cereflow_bids.cli.cereflow import parser as processing
from cereflow_bids.cli.convert_options import parser as conversion

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class Facts:
    """A command, and what is to be said of it.

    Attributes
    ----------
    file
        Name of the descriptor.
    parser
        Makes the command's parser.
    description
        What the command does.
    made
        Paths that need not exist before: the command makes them.
    positionals
        Inputs that stand for a positional, by its name.
    changes
        What is added to an input, by its id.
    without_default
        Inputs whose default is left to the command: another choice disables them, and a value
        that is always given could not be disabled.
    outputs
        Output files besides those of derivatives_spec/; the first is the folder with all of them.
    codes
        Meaning of the exit codes.
    resources, tags, tests, custom
        As Boutiques has them.
    """

    file: str
    parser: Callable[[], argparse.ArgumentParser]
    description: str
    made: frozenset[str]
    positionals: Mapping[str, tuple[JsonObject, ...]]
    changes: Mapping[str, JsonObject]
    without_default: frozenset[str]
    outputs: tuple[JsonObject, ...]
    codes: Mapping[int, str]
    resources: JsonObject
    tags: JsonObject
    tests: list[JsonObject]
    custom: JsonObject


_PARTICIPANT_ONLY = ["participant_label", "session_label", "bids_filter_file", "dry_run"]

PROCESSING = Facts(
    file="boutiques.json",
    parser=processing,
    description="CBF maps, reports and cohort tables from a BIDS dataset of arterial spin "
    "labelling (ASL) MRI of the brain. Research use; not a medical device.",
    made=frozenset({"output_dir", "work_dir", "bids_database_dir"}),
    positionals={},
    changes={
        "output_dir": {"default-value": "cereflow"},
        # A platform hands over files and folders; it cannot put a name before them.
        "derivatives": {"type": "File"},
        "analysis_level": {
            "default-value": "participant",
            "value-disables": {"participant": [], "group": _PARTICIPANT_ONLY},
        },
        "quantification": {
            "value-disables": {
                "consensus": [],
                "ge-product": ["t1_tissue", "t1_blood", "haematocrit", "t1_blood_from"],
            }
        },
        "m0_reference": {
            "value-disables": {"voxelwise": [], "csf": ["m0_smoothing"], "wm": ["m0_smoothing"]}
        },
        "partial_volume_correction": {
            "value-disables": {"none": ["point_spread"], "linear-regression": []}
        },
    },
    without_default=frozenset({"t1_tissue", "t1_blood_from", "m0_smoothing", "point_spread"}),
    outputs=(
        {
            "id": "output",
            "name": "Output folder",
            "description": "A BIDS derivative dataset with maps, tables, "
            "reports and logs. The group level takes the same folder as the participant level.",
            "path-template": "[OUTPUT_DIR]",
            "optional": False,
        },
        {
            "id": "status_records",
            "name": "Status records",
            "description": "What became of each run, as cereflow-status shows it.",
            "path-template": "[OUTPUT_DIR]/logs/status/*.json",
            "optional": True,
        },
    ),
    codes={
        1: "Some runs failed, or were left to another call that is at work on them; the others "
        "are done. The same command again does only what is missing.",
        2: "The command line or a folder is wrong; nothing was done.",
        3: "A labelling parameter is missing in the dataset; the message names it. The other "
        "runs are done.",
        130: "Stopped by the user; what was finished is kept, and the same command goes on.",
        143: "Stopped by the system, such as by a time limit; the same command goes on.",
    },
    # What the recipes of docs/recipes ask for; the largest step is measured in workflow/graph.py.
    resources={"cpu-cores": 1, "ram": 4, "disk-space": 5, "walltime-estimate": 3600},
    tags={
        "application-type": ["bids"],
        "domain": ["neuroinformatics", "mri", "perfusion", "asl"],
    },
    tests=[
        {
            "name": "participant level, in a folder where `cereflow-demo demo` has run",
            "invocation": {
                "bids_dir": "demo/bids",
                "output_dir": "tested",
                "analysis_level": "participant",
                "participant_label": ["01"],
                "skip_bids_validation": True,
            },
            "assertions": {
                "exit-code": 0,
                "output-files": [{"id": name} for name in ("output", "cbf", "report_html")],
            },
        },
        {
            "name": "group level, after it",
            "invocation": {
                "bids_dir": "demo/bids",
                "output_dir": "tested",
                "analysis_level": "group",
            },
            "assertions": {"exit-code": 0, "output-files": [{"id": "group_table"}]},
        },
    ],
    custom={
        "cbrain:readonly-input-files": True,
        "cbrain:integrator_modules": {
            "BoutiquesBidsSingleSubjectMaker": {
                "dataset_input_id": "bids_dir",
                "subjects_input_id": "participant_label",
                "keep_sub_prefix": True,
            },
            "BoutiquesPostProcessingCleaner": ["[WORK_DIR]"],
        },
    },
)

CONVERSION = Facts(
    file="boutiques_convert.json",
    parser=conversion,
    description="A BIDS dataset from ASL exports of GE, Philips and Siemens scanners (ZIP or tar "
    "archives, folders of DICOM). No name, date or number of a patient gets into it. Values given "
    "here fill only what no DICOM header holds.",
    made=frozenset({"key_file"}),
    positionals={
        "paths": (
            {
                "id": "archives",
                "name": "Archives",
                "description": "ZIP or tar archives, or folders of DICOM. None: finish a dataset "
                "that waits for parameters.",
                "type": "File",
                "list": True,
                "list-separator": " ",
                "min-list-entries": 1,
                "optional": True,
            },
            {
                "id": "bids_dir",
                "name": "BIDS dataset",
                "description": "Folder of the dataset to make, or to add to.",
                "type": "String",
                "default-value": "bids",
                "optional": False,
            },
        )
    },
    changes={"descriptions": {"requires-inputs": ["explain"]}},
    without_default=frozenset(),
    outputs=(
        {
            "id": "dataset",
            "name": "BIDS dataset",
            "description": "The dataset; none with --explain.",
            "path-template": "[BIDS_DIR]",
            "optional": True,
        },
        {
            "id": "asl",
            "name": "ASL images",
            "description": "Each with a JSON sidecar and a table of its volumes.",
            "path-template": "[BIDS_DIR]/sub-*/perf/*_asl.nii.gz",
            "optional": True,
        },
        {
            "id": "asl_sessions",
            "name": "ASL images by session",
            "description": "As above, where patients have sessions.",
            "path-template": "[BIDS_DIR]/sub-*/ses-*/perf/*_asl.nii.gz",
            "optional": True,
        },
        {
            "id": "pending",
            "name": "List of what is pending",
            "description": "Runs that wait for a parameter, and the options that give it.",
            "path-template": "[BIDS_DIR]/pending.json",
            "optional": True,
        },
        {
            "id": "key",
            "name": "Key file",
            "description": "Joins labels to patients, for later conversions into the dataset: "
            "keep it secret. Elsewhere if --key-file says so.",
            "path-template": "[BIDS_DIR].key.json",
            "optional": True,
        },
    ),
    codes={
        1: "Something failed; the message tells which input, and the others are converted.",
        2: "The command line or a folder is wrong; nothing was converted.",
        3: "All is converted, but a labelling parameter is missing: the message names the option.",
        130: "Stopped by the user; unfinished work has been removed.",
        143: "Stopped by the system; unfinished work has been removed.",
    },
    resources={"cpu-cores": 1, "ram": 2, "disk-space": 10, "walltime-estimate": 3600},
    tags={
        "application-type": ["conversion"],
        "domain": ["neuroinformatics", "mri", "asl", "dicom", "bids"],
    },
    tests=[
        {
            "name": "the scans of the demo, in a folder where `cereflow-demo demo` has run",
            "invocation": {
                "archives": ["demo/zips"],
                "bids_dir": "converted",
                "post_labeling_delay": [1.8],
                "labeling_duration": [1.8],
            },
            "assertions": {"exit-code": 0, "output-files": [{"id": "dataset"}]},
        }
    ],
    custom={
        "cbrain:readonly-input-files": True,
        "cbrain:integrator_modules": {
            # 3: the dataset is there, and only waits for a parameter.
            "BoutiquesAllowedExitCodes": [0, 3],
            "BoutiquesOutputFileTypeSetter": {"dataset": "BidsDataset"},
        },
    },
)
