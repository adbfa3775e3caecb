"""A digital brain, written as vendor DICOM, taken through the ordinary commands."""
