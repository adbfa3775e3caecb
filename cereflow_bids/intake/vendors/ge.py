"""GE 3D pCASL and eASL: perfusion-weighted (PW) and proton-density (PD) images in one series.

No public sample of the products exists; the tags are those that converters and other packages
read. PW is the sum over the excitations, scaled by a constant that depends on the software.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from cereflow_bids.errors import InputError
from cereflow_bids.intake.headers.series import Image, Series
from cereflow_bids.intake.parameters.labeling import Labeling, Parameter, Part
from cereflow_bids.intake.vendors import ge_easl
from cereflow_bids.intake.vendors.ge_header import number, sequence

DELAY = "InversionTime"
LABELING_DURATION = (0x0043, 0x10A5)
EXCITATIONS = (0x0027, 0x1062)
_SPIRAL = ((0x0027, 0x1060), (0x0027, 0x1061))
_GEOMETRY = ("Rows", "Columns", "ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing")
# Seconds of saturation recovery before the PD image.
SATURATION_RECOVERY = 2.0
SCALING = 32.0
OLD_SCALING = 45.24
LAST_OLD_SOFTWARE = 15
MOST_EXCITATIONS = 100

_NOT_THE_PRODUCT = (
    "Delays and durations of eASL were computed from what the operator set; the header's "
    "(0018,0082) and (0043,10A5) do not describe them."
)
_DISPUTED = (
    "How the number of excitations scales eASL images is disputed: check that the CBF of grey "
    "matter is plausible, or compare it with the console's map."
)
_UNKNOWN_SOFTWARE = (
    f"The header does not tell the software's release: the scale factor {SCALING:g} of later ones "
    f"was taken. On release {LAST_OLD_SOFTWARE} and older it is {OLD_SCALING}."
)
_MEAN = (
    "The series holds one perfusion-weighted image more than delays: the last is taken for their "
    "mean and not used."
)


def read(series: Series) -> Labeling:
    """Read what one GE ASL series says of its labelling.

    Parameters
    ----------
    series
        3D pCASL (one delay) or the "Raw" series of eASL (several).
    """
    types, origin = _volume_types(series.images)
    found = {
        # The PD pass is marked CASL although it is not labelled at all: the product is pCASL.
        "ArterialSpinLabelingType": Parameter("PCASL", "header (GE 3D ASL product)"),
        "BackgroundSuppression": Parameter(True, "inferred (the GE product always suppresses)"),
    }
    notes = _remarks(types, origin)
    if _release(series) is None:
        notes = (*notes, _UNKNOWN_SOFTWARE)
    if is_easl(series):
        return _read_easl(series, found, types, notes)
    for key, tag, name in (
        ("PostLabelingDelay", DELAY, "(0018,0082)"),
        ("LabelingDuration", LABELING_DURATION, "(0043,10A5)"),
    ):
        if milliseconds := number(series.header, tag):
            found[key] = Parameter(round(milliseconds / 1000, 6), f"header {name}")
    if (count := excitations(series)) is not None:
        found["NumberOfExcitations"] = count
    return Labeling(
        found,
        volume_types=types,
        part=Part(_group(series), "delay"),
        divisor=scaling(series),
        notes=notes,
    )


def arrange(
    labeling: Labeling, sidecars: Sequence[Mapping[str, Any]], counts: Sequence[int]
) -> list[tuple[int, int]]:
    """Tell where dcm2niix put each volume of a series: PW and PD become images of their own.

    Parameters
    ----------
    labeling
        What `read` found.
    sidecars
        dcm2niix's, one per image.
    counts
        Volumes of each image.

    Returns
    -------
    list of tuple
        Image and volume within it, in the order of acquisition.

    Raises
    ------
    InputError
        If the images do not hold what the headers say.
    """
    places: dict[bool, list[tuple[int, int]]] = defaultdict(list)
    for position, (sidecar, count) in enumerate(zip(sidecars, counts, strict=True)):
        places[_is_density(sidecar)] += [(position, volume) for volume in range(count)]
    density = [kind == "m0scan" for kind in labeling.volume_types or ()]
    if len(sidecars) == 1 and counts[0] == len(density):
        return places[False] + places[True]
    if any(len(places[kind]) != density.count(kind) for kind in (False, True)):
        raise InputError(
            "The series does not hold the perfusion-weighted and proton-density images that its "
            "headers tell of.",
            fix="export the whole 3D ASL series, with both of its passes.",
        )
    waiting = {kind: iter(found) for kind, found in places.items()}
    return [next(waiting[kind]) for kind in density]


def gaps(delays: Sequence[float], durations: Sequence[float]) -> tuple[str, ...]:
    """Say so if the blocks of one time-encoded labelling leave gaps or overlap.

    Parameters
    ----------
    delays, durations
        One per block, s, whoever gave them.
    """
    if len(delays) != len(durations) or ge_easl.consistent(delays, durations):
        return ()
    return (
        "PostLabelingDelay, LabelingDuration: each delay of eASL should be the one before plus "
        "that one's duration, and these are not; they were kept",
    )


def is_easl(series: Series) -> bool:
    """Tell whether a series comes from the time-encoded sequence."""
    return "easl" in f"{sequence(series.header)} {series.description}".casefold()


def excitations(series: Series) -> Parameter | None:
    """Return the number of excitations (NEX) that PW is summed over, if a header holds it."""
    for tag, name in ((EXCITATIONS, "(0027,1062)"), ("NumberOfAverages", "(0018,0083)")):
        value = number(series.header, tag)
        # Some converters and anonymisers store the float's bits as an integer.
        if value and 1 <= value <= MOST_EXCITATIONS:
            return Parameter(round(value), f"header {name}, number of excitations")
    return None


def scaling(series: Series) -> float:
    """Return the constant by which the scanner multiplies PW."""
    release = _release(series)
    return OLD_SCALING if release is not None and release <= LAST_OLD_SOFTWARE else SCALING


def _release(series: Series) -> int | None:
    """Return the number of the software's release, None if the header does not tell it."""
    found = re.search(r"release:\D*(\d+)", series.software) or re.search(r"\d+", series.software)
    return None if found is None else int(found[found.lastindex or 0])


def is_perfusion(image_type: Sequence[str]) -> bool:
    """Tell the PW image from the PD image by its image type."""
    kinds = {str(part).upper() for part in image_type}
    return "DERIVED" in kinds or any(kind.startswith("PERFUSION") for kind in kinds)


def _is_density(sidecar: Mapping[str, Any]) -> bool:
    # Anonymisers drop the private element that the type comes from, and keep the image type.
    kind = sidecar.get("ArterialSpinLabelingType")
    return kind == "CASL" if kind else not is_perfusion(sidecar.get("ImageType", ()))


def _read_easl(
    series: Series, found: dict[str, Parameter], types: tuple[str, ...], notes: tuple[str, ...]
) -> Labeling:
    """Read the decoded images of eASL, one per delay."""
    decoded = types.count("deltam")
    set_up = ge_easl.timing(series.header)
    delays: tuple[float, ...] = ()
    if set_up is not None and decoded == set_up.delays + 1:
        last = len(types) - 1 - types[::-1].index("deltam")
        types = (*types[:last], "n/a", *types[last + 1 :])
        decoded, notes = decoded - 1, (*notes, _MEAN)
    if set_up is not None and decoded == set_up.delays:
        delays, durations = ge_easl.blocks(set_up)
        found["PostLabelingDelay"] = Parameter(delays, set_up.origin)
        found["LabelingDuration"] = Parameter(durations, set_up.origin)
        notes = (*notes, _NOT_THE_PRODUCT)
    elif set_up is not None:
        notes = (
            *notes,
            f"The header tells of {set_up.delays} delays, the series holds {decoded} "
            "perfusion-weighted images: its timing was not used.",
        )
    if decoded:
        found["RepeatsPerDelay"] = Parameter((1,) * decoded, "header (one image per delay)")
    if (count := _decoded_excitations(series, decoded)) is not None:
        found["NumberOfExcitations"] = count
    return Labeling(
        found,
        volume_types=types,
        volume_delays=_per_volume(delays, types) if delays else None,
        divisor=scaling(series),
        notes=(*notes, _DISPUTED),
    )


def _decoded_excitations(series: Series, delays: int) -> Parameter | None:
    """Return the excitations behind each encoded image: the header counts the encodings, too."""
    stated = excitations(series)
    if stated is None or stated.value % (delays + 1):
        return stated
    return Parameter(
        stated.value // (delays + 1),
        f"inferred (excitations {stated.value} / {delays + 1} encodings)",
    )


def _per_volume(delays: Sequence[float], types: Sequence[str]) -> tuple[float, ...]:
    left = iter(delays)
    return tuple(next(left) if kind == "deltam" else 0.0 for kind in types)


def _volume_types(images: Sequence[Image]) -> tuple[tuple[str, ...], str]:
    """Return what each volume is, by its image type or else by its place: PD comes last."""
    kinds = [is_perfusion(kind) for kind in _image_types(images)]
    if len(set(kinds)) == 2 or len(kinds) < 2:
        return tuple("deltam" if kind else "m0scan" for kind in kinds), "header (image type)"
    return ("deltam",) * (len(kinds) - 1) + ("m0scan",), "inferred"


def _image_types(images: Sequence[Image]) -> list[tuple[str, ...]]:
    """Return the image type of each volume; the n-th image of a slice belongs to the n-th."""
    seen: dict[Any, int] = defaultdict(int)
    found: dict[int, tuple[str, ...]] = {}
    for image in images:
        place = None if image.position is None else tuple(round(x, 2) for x in image.position)
        found.setdefault(seen[place], image.image_type)
        seen[place] += 1
    return [found[volume] for volume in sorted(found)]


def _remarks(types: Sequence[str], origin: str) -> tuple[str, ...]:
    """Say what is to be said of the passes."""
    if "m0scan" not in types:
        return ("The series holds no proton-density image: export it with both of its passes.",)
    if origin.startswith("header"):
        return ()
    return (
        f"The image types do not tell which of {len(types)} volumes is the proton-density image: "
        "the last was taken.",
    )


def _group(series: Series) -> str:
    """Return what series of one protocol that differ in the delay alone have in common."""
    header = series.header
    told = [str(header.get(key, "")) for key in (*_GEOMETRY, "EchoTime", "SliceThickness")]
    told += [str(number(header, tag)) for tag in (LABELING_DURATION, *_SPIRAL)]
    return "|".join(("ge", sequence(header), series.software, str(len(series.images)), *told))
