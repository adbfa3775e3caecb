"""The dataset as the rest of the house sees it: runs in, derivatives out."""
