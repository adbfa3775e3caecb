"""Group tables and the group report."""

from cereflow_bids.cohort.group import GroupResult, build_group

__all__ = ["GroupResult", "build_group"]
