"""Imported with the steps, wherever they run: crash files are not named after an account.

nipype puts the login name of whoever runs it into the name of each, and people send them on.
"""

from __future__ import annotations

from nipype.pipeline.plugins import tools


class _Nobody:
    """Stands in for the module that nipype asks for the login name."""

    @staticmethod
    def getuser() -> str:
        """Return what stands in names of crash files where nipype would have the login name."""
        return "cereflow"


tools.getpass = _Nobody
