"""Whose scan it is: identity, visit and series, with UIDs that follow from them.

The identities are artificial and easy to search for, so that a test can show that none of them
survives conversion.
"""

from dataclasses import astuple, dataclass

# The arc for numbers of 128 bits, which needs no registration.
UID_ROOT = "2.25."


@dataclass(frozen=True)
class Identity:
    """Everything in a header that names a person, a place or a machine."""

    patient_name: str
    patient_id: str
    birth_date: str
    accession_number: str
    institution: str
    institution_address: str
    department: str
    station: str
    serial_number: str
    operator: str
    physician: str
    comment: str

    @classmethod
    def canary(cls, tag: str, *, birth_date: str = "19010203") -> "Identity":
        """Return an artificial identity, each text of which contains ``CANARY`` and `tag`.

        Parameters
        ----------
        tag
            Letters and digits that tell two identities apart.
        birth_date
            ``YYYYMMDD``.
        """
        return cls(
            patient_name=f"CANARY^NAME{tag}",
            patient_id=f"CANARYID{tag}",
            birth_date=birth_date,
            accession_number=f"CANARYACC{tag}",
            institution=f"CANARY HOSPITAL {tag}",
            institution_address=f"CANARY STREET {tag}",
            department=f"CANARY WARD {tag}",
            station=f"CANARYSTN{tag}",
            serial_number=f"CANARYSER{tag}",
            operator=f"CANARY^OPERATOR{tag}",
            physician=f"CANARY^PHYSICIAN{tag}",
            comment=f"CANARY COMMENT {tag}",
        )

    def texts(self) -> tuple[str, ...]:
        """Return every value, and the parts of the names, as a search for leaks needs them."""
        names = (self.patient_name, self.operator, self.physician)
        parts = {part for name in names for part in name.split("^") if part != "CANARY"}
        return (*astuple(self), *sorted(parts))


@dataclass(frozen=True)
class Study:
    """One visit to the scanner."""

    identity: Identity
    date: str
    time: str
    description: str = "Brain perfusion"
    sex: str = "O"
    age: str = "050Y"

    @property
    def uid(self) -> str:
        """Study instance UID, the same whenever the same study is written again."""
        return derived_uid(self.identity.patient_id, self.date, self.time)


@dataclass(frozen=True)
class Series:
    """One series of a study."""

    study: Study
    number: int
    description: str
    protocol: str

    @property
    def uid(self) -> str:
        """Series instance UID."""
        return derived_uid(self.study.uid, str(self.number))


def derived_uid(*parts: str) -> str:
    """Return a UID that depends on `parts` alone."""
    from hashlib import sha256

    return UID_ROOT + str(int.from_bytes(sha256("/".join(parts).encode()).digest()[:16]))
