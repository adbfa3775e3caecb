"""The participant graph in nipype, its execution, resume and status."""

import os

# nipype asks a server for its newest version; a hospital's machine has no business calling one.
os.environ.setdefault("NO_ET", "1")
os.environ.setdefault("NIPYPE_NO_ET", "1")
