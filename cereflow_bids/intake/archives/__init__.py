"""What users upload, unpacked without trusting it."""
