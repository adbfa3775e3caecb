"""Figures, templates, HTML and PDF."""

from cereflow_bids.report.participant import build_participant_report

__all__ = ["build_participant_report"]
