"""Siemens VE and XA: the labelling is in the protocol text (ASCCONV), in part nowhere else."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from cereflow_bids.intake.protocol import Labeling, Parameter
from cereflow_bids.intake.series import Series

CSA_SERIES = (0x0029, 0x1020)
XA_GROUP = (0x0021, 0x10FE)
XA_PROTOCOL = (0x0021, 0x1019)
# Seconds per RF block of the LOFT tgse_pcasl sequence on VE.
RF_BLOCK = 0.0184
_STANDARD_TYPES = {"PSEUDOCONTINUOUS": "PCASL", "CONTINUOUS": "CASL", "PULSED": "PASL"}
_TYPES = {"M_ZERO_SCAN": "m0scan", "LABEL": "label", "CONTROL": "control"}
_CUTOFF = {"FAIR QII": "QUIPSSII", "PICORE Q2T": "Q2TIPS", "PICORE QII": "QUIPSSII"}
_SUPPRESSED = 2


def read(series: Series, converted: Mapping[str, Any]) -> Labeling:
    """Read type, delay, duration or bolus cut-off, and the tags of the volumes.

    Parameters
    ----------
    series
        One ASL series.
    converted
        dcm2niix's sidecar, which knows the names of the pulsed techniques.
    """
    protocol = protocol_text(series.header)
    kind = _type(series, protocol, converted)
    found: dict[str, Parameter] = {}
    notes: list[str] = []
    if kind is not None:
        found["ArterialSpinLabelingType"] = kind
    if kind is not None and kind.value == "PASL":
        found |= _pulsed(converted)
    elif "tgse_pcasl" in protocol.get("tSequenceFileName", ""):
        found |= _research_pcasl(protocol)
    else:
        more, notes = _enhanced_pcasl(protocol)
        found |= more
    mode = protocol.get("sAsl.ulSuppressionMode")
    if mode is not None:
        found["BackgroundSuppression"] = Parameter(
            int(mode, 0) >= _SUPPRESSED, f"inferred (Siemens protocol: suppression mode {mode})"
        )
    types = tuple(_TYPES.get(tag.context.upper(), "n/a") for tag in series.tags)
    return Labeling(found, types or None, tuple(notes))


def same_preparation(one: Series, other: Series) -> bool:
    """Tell whether two series share inversion times, suppression, TR and sequence.

    An M0 series for which that holds is no calibration: it is as suppressed as the ASL itself.
    """
    keys = ("tSequenceFileName", "alTI[0]", "alTI[2]", "sAsl.ulMode", "sAsl.ulSuppressionMode")
    left, right = protocol_text(one.header), protocol_text(other.header)
    described = "sAsl.ulSuppressionMode" in left
    same = all(left.get(key) == right.get(key) for key in keys)
    return described and same and one.repetition_time == other.repetition_time


def protocol_text(header: Any) -> dict[str, str]:
    """Return the protocol's assignments, ``{"sAsl.ulMode": "4", …}``; empty if there is none."""
    for blob in _blobs(header):
        start = blob.find(b"### ASCCONV BEGIN")
        end = blob.find(b"### ASCCONV END", start)
        if start >= 0 and end > start:
            text = blob[start:end].decode("latin-1")
            pairs = re.findall(r"^\s*([\w.\[\]]+)\s*=\s*(.*?)\s*$", text, re.MULTILINE)
            return {key: value.strip('"') for key, value in pairs}
    return {}


def _blobs(header: Any) -> Iterator[bytes]:
    if CSA_SERIES in header:
        yield _bytes(header[CSA_SERIES].value)
    for group in header.get("SharedFunctionalGroupsSequence", ())[:1]:
        for item in group[XA_GROUP].value if XA_GROUP in group else ():
            if XA_PROTOCOL in item:
                yield _bytes(item[XA_PROTOCOL].value)
    if XA_PROTOCOL in header:
        yield _bytes(header[XA_PROTOCOL].value)


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("latin-1", "replace")


def _type(
    series: Series, protocol: Mapping[str, str], converted: Mapping[str, Any]
) -> Parameter | None:
    stated = _STANDARD_TYPES.get(str(series.header.get("ArterialSpinLabelingContrast", "")))
    if stated:
        return Parameter(stated, "header (0018,9250)")
    sequence = protocol.get("tSequenceFileName", "").rsplit("\\", 1)[-1].casefold()
    for part, kind in (("pcasl", "PCASL"), ("pasl", "PASL"), ("casl", "CASL")):
        if part in sequence:
            return Parameter(kind, f"header (Siemens protocol: {part} sequence)")
    written = converted.get("ArterialSpinLabelingType")
    return Parameter(str(written), "header (read by dcm2niix)") if written else None


def _pulsed(converted: Mapping[str, Any]) -> dict[str, Parameter]:
    """Translate dcm2niix's names: its inversion time is the BIDS delay of a pulsed scan."""
    found: dict[str, Parameter] = {}
    technique = _CUTOFF.get(str(converted.get("PASLType", "")))
    if technique:
        origin = f"header (Siemens protocol: {converted['PASLType']})"
        found["PASLType"] = Parameter(converted["PASLType"], origin)
        found["BolusCutOffFlag"] = Parameter(True, origin)
        found["BolusCutOffTechnique"] = Parameter(technique, origin)
        if converted.get("BolusDuration"):
            found["BolusCutOffDelayTime"] = Parameter(
                converted["BolusDuration"], "header (Siemens protocol: alTI[0])"
            )
    if converted.get("InversionTime"):
        found["PostLabelingDelay"] = Parameter(
            converted["InversionTime"], "header (Siemens protocol: alTI[2])"
        )
    return found


def _research_pcasl(protocol: Mapping[str, str]) -> dict[str, Parameter]:
    """Read tgse_pcasl: adFree[2] is the delay in µs, adFree[3] the number of RF blocks.

    dcm2niix gives the delay as labelling duration; the scanner's own protocol print settles it.
    """
    found: dict[str, Parameter] = {}
    delay = protocol.get("sWipMemBlock.adFree[2]")
    blocks = protocol.get("sWipMemBlock.adFree[3]")
    if delay:
        found["PostLabelingDelay"] = Parameter(
            round(float(delay) * 1e-6, 6), "header (Siemens protocol: adFree[2])"
        )
    if blocks:
        found["LabelingDuration"] = Parameter(
            round(float(blocks) * RF_BLOCK, 3),
            f"header (Siemens protocol: {float(blocks):g} RF blocks x {RF_BLOCK * 1000:g} ms)",
        )
    return found


def _enhanced_pcasl(protocol: Mapping[str, str]) -> tuple[dict[str, Parameter], list[str]]:
    """Read the protocol of XA, which names its values (µs)."""
    found: dict[str, Parameter] = {}
    duration = protocol.get("sAsl.ulLabelingDuration")
    delay = protocol.get("sAsl.sPostLabelingDelay[0]")
    if duration:
        found["LabelingDuration"] = Parameter(
            round(float(duration) * 1e-6, 6), "header (Siemens protocol: ulLabelingDuration)"
        )
    if int(protocol.get("sAsl.ulDelayArraySize", "1"), 0) > 1:
        return found, ["The series has several delays, which are not read from this header yet."]
    if delay:
        found["PostLabelingDelay"] = Parameter(
            round(float(delay) * 1e-6, 6), "header (Siemens protocol: sPostLabelingDelay[0])"
        )
    return found, []
