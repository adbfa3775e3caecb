"""The files of a series laid out for HeuDiConv: linked, or copied where it could not read them."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cereflow_bids.intake.headers.compression import DEFLATED, syntax

if TYPE_CHECKING:
    from cereflow_bids.intake.headers.series import Series

# HeuDiConv stops at a moment that it cannot read, such as an anonymiser leaves: 00000000, ANON.
_DATES = ("AcquisitionDate", "SeriesDate")
_TIMES = ("AcquisitionTime", "SeriesTime")
_DAY = "%Y%m%d"
_CLOCK = ("%H", "%H%M", "%H%M%S", "%H%M%S.%f")
_ZONE = re.compile(r"[+-]?([01]\d|2[0-3])[0-5]\d")


def link(series: Series, folder: Path) -> None:
    """Lay out the files of one series under numbers.

    Parameters
    ----------
    series
        The series; its files are never changed.
    folder
        Where to; made.
    """
    folder.mkdir(parents=True)
    deflated = syntax(series) == DEFLATED
    unreadable = unreadable_moments(series.header)
    for number, image in enumerate(series.images, start=1):
        goal = folder / f"{number:06d}.dcm"
        if deflated or unreadable:
            _copy(image.path, goal, unreadable)
        else:
            goal.symlink_to(image.path.resolve())


def _copy(source: Path, goal: Path, without: list[str]) -> None:
    """Copy a file, inflated if it is compressed as a whole, which dcm2niix cannot read."""
    from pydicom import dcmread
    from pydicom.uid import ExplicitVRLittleEndian

    image = dcmread(source)
    if image.file_meta.TransferSyntaxUID == DEFLATED:
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for keyword in without:
        if keyword in image:
            del image[keyword]
    image.save_as(goal)


def unreadable_moments(header: Any) -> list[str]:
    """Return the dates, times and time zones of a header that are there and none."""
    tests = [
        *((keyword, _is_date) for keyword in _DATES),
        *((keyword, _is_time) for keyword in _TIMES),
        ("AcquisitionDateTime", _is_moment),
        ("TimezoneOffsetFromUTC", _is_zone),
    ]
    found = []
    for keyword, test in tests:
        value = header.get(keyword)
        if value is not None and str(value).strip() and not test(str(value)):
            found.append(keyword)
    return found


def _is_date(text: str) -> bool:
    return _fits(text, _DAY)


def _is_time(text: str) -> bool:
    return any(_fits(text, form) for form in _CLOCK)


def _is_moment(text: str) -> bool:
    plain = re.sub(r"[+-]\d{4}$", "", text)
    forms = ("%Y", "%Y%m", _DAY, *(_DAY + form for form in _CLOCK))
    return any(_fits(plain, form) for form in forms)


def _is_zone(text: str) -> bool:
    return bool(_ZONE.fullmatch(text))


def _fits(text: str, form: str) -> bool:
    try:
        dt.datetime.strptime(text, form)
    except ValueError:
        return False
    return True
