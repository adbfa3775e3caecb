"""The labelling: what headers say, what users say, and what is missing."""
