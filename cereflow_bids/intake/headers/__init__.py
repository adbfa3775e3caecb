"""DICOM headers: which series there are, and whether they are whole."""
