"""The one family of errors that a user can cause and mend.

Anything else that escapes is a bug and keeps its traceback.
"""


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
