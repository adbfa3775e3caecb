"""Quality: one measure per function."""
