"""The BIDS dataset: its files, sessions and pending runs, and the folder beside it."""
