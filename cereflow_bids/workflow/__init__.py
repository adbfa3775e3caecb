"""The participant graph in nipype, its execution, resume and status."""
