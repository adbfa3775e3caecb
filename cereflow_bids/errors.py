"""The one family of errors that a user can cause and mend.

Anything else that escapes is a bug and keeps its traceback.
"""

import errno


class CereflowError(Exception):
    """A problem with what the user gave, told in a form that can be acted on.

    Parameters
    ----------
    what
        What is wrong, in one sentence, with the key and the value.
    where
        The file, series or option it concerns; never a patient's identity.
    fix
        What the user can do about it.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what = what
        self.where = where
        self.fix = fix
        super().__init__(what, where, fix)

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the keyword arguments when the error crosses a process boundary."""
        return (_rebuild, (type(self), self.what, self.where, self.fix))

    def __str__(self) -> str:
        """Return ``where: what Fix: …`` on one line."""
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text} To fix: {self.fix}" if self.fix else text


class UsageError(CereflowError):
    """The command line contradicts itself or names something that is not there."""

    exit_code = 2


class InputError(CereflowError):
    """A file of the user's cannot be used as it is."""


class PendingError(CereflowError):
    """A parameter that changes CBF is in no file; the user has to supply it.

    Parameters
    ----------
    what, where, fix
        As for every error.
    missing
        Names of the parameters, as BIDS spells them.
    """

    exit_code = 3

    def __init__(
        self, what: str, *, where: str = "", fix: str = "", missing: tuple[str, ...] = ()
    ) -> None:
        super().__init__(what, where=where, fix=fix)
        self.missing = missing

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the keyword arguments when the error crosses a process boundary."""
        return (_rebuild_pending, (self.what, self.where, self.fix, self.missing))


def _rebuild(cls: type[CereflowError], what: str, where: str, fix: str) -> CereflowError:
    return cls(what, where=where, fix=fix)


def _rebuild_pending(what: str, where: str, fix: str, missing: tuple[str, ...]) -> PendingError:
    return PendingError(what, where=where, fix=fix, missing=missing)


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}


def of_system(error: OSError) -> CereflowError:
    """Return what to tell when the machine refuses: a full disk, a folder that is read-only.

    Parameters
    ----------
    error
        As the system gives it.
    """
    where = str(error.filename or "")
    if error.errno in _FULL:
        return InputError(
            f"the disk is full, or your share of it is ({error.strerror}).",
            where=where,
            fix="make room on the disks of output and work folder, and run again: what is "
            "finished is not repeated.",
        )
    if error.errno in _CLOSED:
        return UsageError(
            f"it cannot be written or read ({error.strerror}).",
            where=where,
            fix="choose folders that you may write to, and files that you may read.",
        )
    return InputError(
        f"the system reports: {error.strerror or error}.",
        where=where,
        fix="see to the disk or the folder, and run again: what is finished is not repeated.",
    )
