"""A run's metadata and images in, perfusion maps out, every constant with its origin."""
