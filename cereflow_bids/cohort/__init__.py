"""Group tables and the group report."""
