"""Figures, templates, HTML and PDF."""
