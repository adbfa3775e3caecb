"""Whether a series is whole and of one piece, judged from its headers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from cereflow_bids.errors import InputError
from cereflow_bids.intake.headers.dicom_image import Image
from cereflow_bids.intake.headers.dicom_image import number as read_number

# Of the usual distance between two slices.
_UNEVEN = 0.1
# Positions closer than this, mm, are one slice.
_ONE_PLACE = 0.02
# Times the acquired distance from which on slices are missing.
_SPARSE = 1.9
_EXPORT = "export the series again, and check that all of its images are there."


def flaw(number: int, images: Sequence[Image]) -> InputError | None:
    """Return what makes a series unfit for conversion, or None.

    Parameters
    ----------
    number
        Series number, for the message.
    images
        All of its files.
    """
    own = next((image.flaw for image in images if image.flaw is not None), None)
    return own or _mixed(number, images) or _incomplete(number, images)


def _mixed(number: int, images: Sequence[Image]) -> InputError | None:
    if len({(image.patient_key, image.study_uid) for image in images}) > 1:
        return InputError(
            "The series mixes images of several patients or studies.",
            where=f"series {number}",
            fix="do not use this export: it joins what does not belong together.",
        )
    orientations = {_rounded(image.orientation, 3) for image in images}
    if len({image.size for image in images}) > 1 or len(orientations) > 1:
        return InputError(
            "The series mixes images of several sizes or orientations.",
            where=f"series {number}",
            fix=_EXPORT,
        )
    return None


def _incomplete(number: int, images: Sequence[Image]) -> InputError | None:
    """Find slices that are missing, where each file is one slice."""
    places = _slices(images)
    if len(places) < 2:
        return _skipped(number, images)
    counts = Counter(len(found) for found in places.values())
    usual = max(counts)
    short = sum(count for number_of, count in counts.items() if number_of < usual)
    if short:
        there, whole = len(images), usual * len(places)
        return InputError(
            f"The series is incomplete: {there} of {whole} images are there, and {short} of "
            f"{len(places)} slices lack some.",
            where=f"series {number}",
            fix=_EXPORT,
        )
    steps = np.diff(sorted(places))
    if (np.abs(steps - np.median(steps)) > _UNEVEN * np.median(steps)).any():
        return InputError(
            f"The slices of the series are not evenly spaced ({steps.min():.2f} to "
            f"{steps.max():.2f} mm): some are missing.",
            where=f"series {number}",
            fix=_EXPORT,
        )
    return None


def _skipped(number: int, images: Sequence[Image]) -> InputError | None:
    """Find volumes that are missing, where each file is one: later ones would change places."""
    numbers = [image.instance for image in images]
    steps = np.diff(sorted(numbers))
    if len(steps) < 2 or not steps.all() or (steps == steps[0]).all():
        return None
    first = int(np.argmax(steps > steps.min()))
    before, after = sorted(numbers)[first : first + 2]
    return InputError(
        f"Images are missing: instance numbers jump from {before} to {after}.",
        where=f"series {number}",
        fix=_EXPORT,
    )


def sparse(number: int, images: Sequence[Image], header: Any) -> InputError | None:
    """Return what is wrong where slices lie twice as far apart as they were acquired, or None.

    Parameters
    ----------
    number
        Series number, for the message.
    images
        All of its files.
    header
        The first one's data set, for slice thickness and spacing.
    """
    places = sorted(_slices(images))
    known = (read_number(header, key) for key in ("SliceThickness", "SpacingBetweenSlices"))
    acquired = max((value for value in known if value), default=0.0)
    if len(places) < 2 or not acquired:
        return None
    step = float(np.median(np.diff(places)))
    if step < _SPARSE * acquired:
        return None
    return InputError(
        f"The slices lie {step:.2f} mm apart, but were acquired every {acquired:.2f} mm: some "
        "are missing.",
        where=f"series {number}",
        fix=_EXPORT,
    )


def _slices(images: Sequence[Image]) -> dict[float, list[Image]]:
    """Group single-slice images by their place along the slice normal, mm."""
    placed = []
    for image in images:
        if image.position is not None and image.orientation is not None:
            rows, columns = np.reshape(image.orientation, (2, 3))
            placed.append((float(np.cross(rows, columns) @ np.asarray(image.position)), image))
    found: dict[float, list[Image]] = defaultdict(list)
    last = -np.inf
    for place, image in sorted(placed, key=lambda one: one[0]):
        last = place if place - last > _ONE_PLACE else last
        found[last].append(image)
    return found


def _rounded(values: tuple[float, ...] | None, digits: int) -> tuple[float, ...] | None:
    return None if values is None else tuple(round(value, digits) + 0.0 for value in values)
