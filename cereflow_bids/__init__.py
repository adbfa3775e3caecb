"""Vendor ASL DICOM to BIDS, CBF maps, reports and cohort tables."""

__version__ = "0.1.0"
