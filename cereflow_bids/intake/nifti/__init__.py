"""Converted images: their volumes, scaling, labelling, sidecars and faces."""
