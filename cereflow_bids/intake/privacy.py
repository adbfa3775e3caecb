"""Keep people out of the dataset: keys, labels, ages, and texts that must not get through."""

import json
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from cereflow_bids.errors import InputError

OLDEST = 89
# Shorter texts ("M", "R", "1") stand in every file by chance.
SHORTEST_IDENTIFIER = 4
# Names in Chinese or Korean characters have two or three of them.
_SHORTEST_NAME = 2
_IDENTIFYING = (
    "PatientName",
    "PatientID",
    "OtherPatientNames",
    "OtherPatientIDs",
    "PatientBirthDate",
    "PatientAddress",
    "PatientTelephoneNumbers",
    "PatientComments",
    "AccessionNumber",
    "StudyID",
    "StudyDescription",
    "PerformedProcedureStepDescription",
    "InstitutionName",
    "InstitutionAddress",
    "InstitutionalDepartmentName",
    "StationName",
    "DeviceSerialNumber",
    "OperatorsName",
    "PerformingPhysicianName",
    "ReferringPhysicianName",
    "RequestingPhysician",
    "ImageComments",
    "StudyDate",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
)
_PERSONS = frozenset(
    {
        "PatientName",
        "OtherPatientNames",
        "OperatorsName",
        "PerformingPhysicianName",
        "ReferringPhysicianName",
        "RequestingPhysician",
    }
)
_PERSONAL = (
    *sorted(_PERSONS),
    "PatientID",
    "OtherPatientIDs",
    "PatientBirthDate",
    "PatientTelephoneNumbers",
    "AccessionNumber",
)
# What an image is made of stays, even where a site named its patient after the scanner.
_KEPT = frozenset({"Manufacturer", "ManufacturersModelName"})
# Descriptive words that many headers hold where a name might stand.
_HARMLESS = frozenset({"brain", "head", "none", "unknown", "anonymous", "radiology", "siemens"})


def patient_key(header: Any) -> str:
    """Return the text that tells this patient from others: never to be shown.

    The birth date belongs to it: a number that two persons share (sites that anonymise often give
    the same one to all) must not join them. One patient under two labels is seen; two patients
    under one label are not. Where it is missing, the name stands for it.
    """
    keywords = ("IssuerOfPatientID", "PatientID", "PatientBirthDate")
    issuer, number, birth = (str(header.get(key, "")).strip() for key in keywords)
    name = str(header.get("PatientName", "")).strip()
    if number:
        plain = " ".join(name.replace("^", " ").split()).casefold()
        return f"{issuer}|{number}|{birth or plain}"
    # Without any identity two studies cannot be joined: each is a patient of its own.
    return f"name|{name}|{birth}" if name else f"study|{header.get('StudyInstanceUID', '')}"


def identifiers(header: Any) -> frozenset[str]:
    """Return every text of a header that could identify somebody, with the parts of names."""
    return _texts(header, _IDENTIFYING)


def without_persons(text: str, header: Any) -> str:
    """Return a description without the names and numbers of persons that its header holds.

    Only persons: a description may well be that of the study or the name of the machine.
    """
    pattern = _words(_texts(header, _PERSONAL))
    return pattern.sub("", text).strip() if pattern else text


def _texts(header: Any, keywords: Iterable[str]) -> frozenset[str]:
    found: set[str] = set()
    for keyword in keywords:
        text = str(header.get(keyword, "")).strip()
        found.add(text)
        if keyword in _PERSONS:
            found.update(re.split(r"[\^\s,=]+", text))
    return frozenset(
        text
        for text in found
        if len(text) >= (SHORTEST_IDENTIFIER if text.isascii() else _SHORTEST_NAME)
        and text.casefold() not in _HARMLESS
    )


def without_identifiers(sidecar: Mapping[str, Any], texts: frozenset[str]) -> dict[str, Any]:
    """Drop the keys of `sidecar` whose text holds one of `texts` as a word of its own.

    A second line of defence behind the allow-list: protocol names and coils can be named after
    people.
    """
    pattern = _words(texts)
    if pattern is None:
        return dict(sidecar)
    return {
        key: value
        for key, value in sidecar.items()
        if key in _KEPT or not _mentions(value, pattern)
    }


def _words(texts: Iterable[str]) -> re.Pattern[str] | None:
    """Return what finds any of `texts` as a word of its own, or None if there are none."""
    # Of two that begin alike the longer one comes first.
    alternatives = "|".join(re.escape(text) for text in sorted(texts, key=len, reverse=True))
    if not alternatives:
        return None
    return re.compile(rf"(?<![A-Za-z0-9])(?:{alternatives})(?![A-Za-z0-9])", re.IGNORECASE)


def _mentions(value: Any, pattern: re.Pattern[str]) -> bool:
    if isinstance(value, str):
        return bool(pattern.search(value))
    if isinstance(value, Mapping):
        return any(_mentions(part, pattern) for part in value.values())
    return isinstance(value, list | tuple) and any(_mentions(part, pattern) for part in value)


def age_in_years(header: Any) -> int | None:
    """Return the age at the study in whole years, from (0010,1010) or the birth date."""
    text = str(header.get("PatientAge", "")).strip()
    if match := re.fullmatch(r"(\d{1,3})([DWMY])", text):
        divisor = {"D": 365.25, "W": 52.18, "M": 12, "Y": 1}[match[2]]
        return int(int(match[1]) / divisor)
    birth, study = (str(header.get(key, "")) for key in ("PatientBirthDate", "StudyDate"))
    if re.fullmatch(r"\d{8}", birth) and re.fullmatch(r"\d{8}", study) and birth <= study:
        return (int(study) - int(birth)) // 10000
    return None


def published_age(age: int | None, *, keep: bool = False) -> str:
    """Return an age as participants.tsv may show it: the oldest are rare enough to be found.

    With `keep` every age is shown as it is.

    >>> published_age(63), published_age(93), published_age(None)
    ('63', '89+', 'n/a')
    """
    if age is None:
        return "n/a"
    return str(age) if keep or age <= OLDEST else f"{OLDEST}+"


def anonymous(uid: str) -> str:
    """Return a digest that recognises a UID again without holding it."""
    return sha256(uid.encode()).hexdigest()[:24]


@dataclass
class KeyFile:
    """The one file that joins labels to patients; it lies outside the dataset, mode 0600.

    Attributes
    ----------
    entries
        Patient key → ``{"label": "01", "studies": {digest: {"session": …, "date": …, …}}}``.
    choices
        What holds for the whole dataset: name of the choice → whether.
    """

    path: Path
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    choices: dict[str, bool] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "KeyFile":
        """Read `path`; an absent file is an empty key.

        Raises
        ------
        InputError
            If the file is not a key file.
        """
        if not path.exists():
            return cls(path)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            entries, choices = content["patients"], dict(content.get("choices", {}))
            for entry in entries.values():
                _ = entry["label"], entry["studies"].items()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                "The key file cannot be read, so that no label can be given.",
                where="--key-file",
                fix="restore it from a backup, or choose another file for a new dataset.",
            ) from error
        return cls(path, entries, choices)

    def entry(self, patient_key_text: str, taken: set[str]) -> dict[str, Any]:
        """Return the patient's entry, with the next free label if there is none yet."""
        if patient_key_text not in self.entries:
            labels = {str(entry["label"]) for entry in self.entries.values()} | taken
            highest = max((int(label) for label in labels if label.isdecimal()), default=0)
            self.entries[patient_key_text] = {"label": f"{highest + 1:02d}", "studies": {}}
        return self.entries[patient_key_text]

    def write(self) -> None:
        """Write the key atomically, readable by its owner alone."""
        content = {
            "about": "Joins participant labels to patients. Keep it secret, outside the dataset.",
            "choices": self.choices,
            "patients": self.entries,
        }
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as sink:
                json.dump(content, sink, indent=2, ensure_ascii=False)
                sink.flush()
                os.fsync(sink.fileno())
            temporary.replace(self.path)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()
