"""Atlases, regional statistics, asymmetry."""
