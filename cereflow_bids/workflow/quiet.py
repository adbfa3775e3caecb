"""Imported by worker processes, before they start work, when the user did not ask for detail.

nipype sets up its loggers when it is imported, so a worker has to be told after that.
"""

import logging

from nipype import logging as nipype_logging

from cereflow_bids.workflow import graph as _preloaded  # noqa: F401

NIPYPE_LOGGERS = tuple(nipype_logging.loggers)


def quieten(level: int = logging.CRITICAL + 1) -> None:
    """Let nipype's loggers tell only what is above a level."""
    for name in NIPYPE_LOGGERS:
        logging.getLogger(name).setLevel(level)


quieten()
