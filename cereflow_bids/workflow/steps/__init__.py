"""The steps of one run: load, call, save. Each takes a folder to write to and returns paths.

Images travel between steps as uncompressed NIfTI in the work folder, matrices as .npy, the rest
as JSON or TSV.
"""

from cereflow_bids.workflow.steps.motion import motion
from cereflow_bids.workflow.steps.perfusion import PERFUSION_IMAGES, perfusion
from cereflow_bids.workflow.steps.reference import reference
from cereflow_bids.workflow.steps.standard_space import standard_space
from cereflow_bids.workflow.steps.tissue import tissue

__all__ = ["PERFUSION_IMAGES", "motion", "perfusion", "reference", "standard_space", "tissue"]
