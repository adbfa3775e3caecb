"""Archive to BIDS: the only room that knows DICOM, vendors, HeuDiConv and names of patients."""
