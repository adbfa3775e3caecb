"""Siemens VE and XA: the labelling is in the protocol text (ASCCONV), in part nowhere else."""

from __future__ import annotations

from collections.abc import Mapping

from cereflow_bids.errors import InputError
from cereflow_bids.intake.headers.series import Series
from cereflow_bids.intake.parameters.labeling import Labeling, Parameter
from cereflow_bids.intake.vendors.siemens_parts import (
    is_volume,
    part_of,
    research_delay,
    slice_times,
    volume_delays,
    volume_types,
)
from cereflow_bids.intake.vendors.siemens_protocol import (
    CSA_SERIES,
    XA_PROTOCOL,
    count,
    number,
    protocol_text,
)
from cereflow_bids.intake.vendors.siemens_timing import (
    DELAY,
    OWN_DELAY,
    Timing,
    continuous,
    pulsed,
)

__all__ = ["CSA_SERIES", "XA_PROTOCOL", "protocol_text", "read"]

_STANDARD_TYPES = {"PSEUDOCONTINUOUS": "PCASL", "CONTINUOUS": "CASL", "PULSED": "PASL"}
# sAsl.ulMode, each seen in a real scan.
_MODES = {4: "PASL", 32: "PCASL"}
_NO_ASL, _SUPPRESSED = 1, 2
# M0, relative CBF and bolus arrival time.
_MAPS = 3


def read(series: Series) -> Labeling:
    """Read type, delays, duration or bolus cut-off, and the tags of the volumes.

    Raises
    ------
    InputError
        If the series can only be the scanner's fitted maps.
    """
    _refuse_maps(series)
    protocol = protocol_text(series.header)
    kind = _type(series, protocol)
    timing = _timing(series, protocol, kind)
    found = dict(timing.found)
    notes = timing.notes
    if kind is not None:
        found["ArterialSpinLabelingType"] = kind
    if (dark := _suppression(protocol)) is not None:
        found["BackgroundSuppression"] = dark
    types, doubts = volume_types(series)
    notes += doubts
    delays = None
    if DELAY in found and found[DELAY].origin == OWN_DELAY:
        delays = _own_delays(series, found[DELAY].value, types)
    elif DELAY in found and isinstance(found[DELAY].value, tuple) and not is_volume(series):
        delays, note = _delays(series, found[DELAY].value, types)
        notes += note
    if is_volume(series) and series.acquisition_type.upper() == "2D":
        times = slice_times(series)
        found |= {} if times is None else {"SliceTiming": times}
    return Labeling(
        found,
        types,
        volume_delays=delays,
        part=part_of(series, found, protocol),
        preparation=_preparation(protocol, series.repetition_time),
        notes=notes,
    )


def _refuse_maps(series: Series) -> None:
    """Refuse M0, relative CBF and arrival time where a comment no longer tells that they are."""
    mosaics = "MOSAIC" in series.images[0].image_type
    if mosaics and "parameter" in series.description.casefold() and len(series.images) <= _MAPS:
        raise InputError(
            f"A Parameter_Fit series of {len(series.images)} volumes holds the scanner's fitted "
            "maps, not control and label images.",
            where=f"series {series.number}",
            fix="export the source series (control and label) instead of it.",
        )


def _type(series: Series, protocol: Mapping[str, str]) -> Parameter | None:
    stated = _STANDARD_TYPES.get(str(series.header.get("ArterialSpinLabelingContrast", "")))
    if stated:
        return Parameter(stated, "header (0018,9250)")
    sequence = protocol.get("tSequenceFileName", "").rsplit("\\", 1)[-1].casefold()
    for part, kind in (("pcasl", "PCASL"), ("pasl", "PASL"), ("casl", "CASL")):
        if part in sequence:
            return Parameter(kind, f"header (Siemens protocol: {part} sequence)")
    mode = count(protocol, "sAsl.ulMode")
    if mode in _MODES:
        return Parameter(_MODES[mode], f"header (Siemens protocol: ASL mode {mode})")
    if research_delay(series) is not None:
        return Parameter("PASL", "inferred (ns and ss are the two inversions of FAIR)")
    return None


def _timing(series: Series, protocol: Mapping[str, str], kind: Parameter | None) -> Timing:
    named = research_delay(series)
    if named is not None:
        origin = f"header (series description: TI {round(named * 1000)})"
        return Timing({DELAY: Parameter(named, origin)}, (_FAIR,))
    if kind is not None and kind.value == "PASL":
        return pulsed(series, protocol)
    return continuous(series, protocol)


_FAIR = (
    "The series are named ns and ss (inversion of all, and of the slab alone). Which of them are "
    "controls is told by the signal: the brighter ones, as in FAIR."
)


def _suppression(protocol: Mapping[str, str]) -> Parameter | None:
    mode = number(protocol, "sAsl.ulSuppressionMode")
    if mode is None or number(protocol, "sAsl.ulMode") == _NO_ASL:
        return None
    return Parameter(
        mode >= _SUPPRESSED, f"inferred (Siemens protocol: suppression mode {round(mode)})"
    )


def _delays(
    series: Series, stated: tuple[float, ...], types: tuple[str, ...] | None
) -> tuple[tuple[float, ...] | None, tuple[str, ...]]:
    """Return each volume's own delay where its images hold those that the protocol has."""
    found = volume_delays(series, types)
    if found is None:
        return None, ()
    own = {delay for delay in found if delay > 0}
    if own == set(stated):
        return found, ()
    if len(own) == 1:
        # The same in all images: the protocol's first, not each volume's own.
        return None, ()
    return None, ("The delays in the images are not those of the protocol, and were not used.",)


def _own_delays(
    series: Series, first: float, types: tuple[str, ...] | None
) -> tuple[float, ...] | None:
    """Return each volume's own delay where no protocol tells whether all have the first one's."""
    return (first,) if is_volume(series) else volume_delays(series, types)


def _preparation(protocol: Mapping[str, str], repetition_time: float | None) -> str:
    """Return what two series share if they are prepared alike; empty where it is not described.

    An M0 series for which that holds is no calibration: it is as suppressed as the ASL itself.
    """
    if "sAsl.ulSuppressionMode" not in protocol:
        return ""
    keys = ("tSequenceFileName", "alTI[0]", "alTI[2]", "sAsl.ulMode", "sAsl.ulSuppressionMode")
    return " ".join(str(part) for part in (*map(protocol.get, keys), repetition_time))
