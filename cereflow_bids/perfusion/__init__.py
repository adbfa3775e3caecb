"""Kinetic models, calibration and CBF: array functions on NumPy and SciPy."""
