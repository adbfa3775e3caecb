"""Vendor DICOM, written from arrays, as scanners of three manufacturers export it."""
