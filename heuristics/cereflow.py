"""HeuDiConv heuristic: which series is ASL, its M0, a console's map, a T1w, or none of them.

Works alone (``heudiconv -f heuristics/cereflow.py …``) and needs nothing but the standard library
and the files beside it, one for each vendor's rules. ``cereflow-convert`` loads this very file for
its own decisions, so the rules are written once; the table in the documentation is made from
`RULES`. What HeuDiConv cannot write (aslcontext.tsv,
labelling parameters, an M0 that is none, several series that are one run) is completed by
``cereflow-convert`` afterwards.
"""

from typing import Any, NamedTuple

from cereflow_ge import RULES as GE
from cereflow_philips import RULES as PHILIPS
from cereflow_rule import (
    ASL,
    CONSOLE_ATT,
    CONSOLE_CBF,
    M0SCAN,
    T1W,
    T1W_THICK,
    Traits,
)
from cereflow_siemens import RULES as SIEMENS
from cereflow_siemens import is_fitted
from cereflow_t1w import RULES as ANATOMICAL

UNRELATED = "not an ASL, M0 or T1w series"
RULES = (*GE, *PHILIPS, *SIEMENS, *ANATOMICAL)


class Role(NamedTuple):
    """What a series is for; ``kind`` is None where it is left out, and ``why`` says why."""

    kind: str | None
    why: str
    rule: str = ""


def vendor(manufacturer: str) -> str | None:
    """Return ``"ge"``, ``"philips"``, ``"siemens"`` or None."""
    name = manufacturer.casefold()
    if name.startswith("ge ") or name == "ge" or "general electric" in name:
        return "ge"
    return next((known for known in ("philips", "siemens") if known in name), None)


def role(traits: Traits) -> Role:
    """Decide what one series is for."""
    maker = vendor(traits.manufacturer)
    for rule in RULES:
        if rule.vendor in (maker, "any") and rule.when(traits):
            return Role(rule.kind, rule.why, rule.name)
    return Role(None, UNRELATED)


# -- what HeuDiConv calls ------------------------------------------------------------------------

_HERE = "{bids_subject_session_dir}"
_NAME = "{bids_subject_session_prefix}"
_TEMPLATES = {
    ASL: (f"{_HERE}/perf/{_NAME}", "asl"),
    M0SCAN: (f"{_HERE}/perf/{_NAME}", "m0scan"),
    # Kept apart from the raw data, where BIDS tools would take it for an acquisition.
    CONSOLE_CBF: (f"derivatives/console/{_HERE}/perf/{_NAME}", "desc-console_cbf"),
    CONSOLE_ATT: (f"derivatives/console/{_HERE}/perf/{_NAME}", "desc-console_att"),
    T1W: (f"{_HERE}/anat/{_NAME}", "T1w"),
    T1W_THICK: (f"{_HERE}/anat/{_NAME}_acq-2D", "T1w"),
}


def sequence_name(header: Any) -> str:
    """Return the vendor's name of the pulse sequence: GE's private one, else (0018,0024)."""
    texts = [str(header[tag].value) for tag in _GE_SEQUENCES if tag in header]
    return " ".join(texts) or str(header.get("SequenceName", "") or "")


_GE_SEQUENCES = ((0x0019, 0x109C), (0x0019, 0x109E))


def custom_seqinfo(wrapper: Any, series_files: list[str]) -> tuple[str, str, str, bool, bool]:
    """Hand on what HeuDiConv's own summary of a series lacks."""
    del series_files
    data = wrapper.dcm_data
    return (
        str(data.get("Manufacturer", "")),
        str(data.get("MRAcquisitionType", "")),
        sequence_name(data),
        int(data.get("SamplesPerPixel") or 1) == 3,
        is_fitted(data),
    )


def stems(kinds: list[str | None]) -> list[str | None]:
    """Return one file stem (with HeuDiConv's placeholders) per series, in the order given.

    A run number is given only where several series have the same role.
    """
    result: list[str | None] = []
    for position, kind in enumerate(kinds):
        if kind is None:
            result.append(None)
            continue
        folder_and_name, suffix = _TEMPLATES[kind]
        run = f"_run-{kinds[: position + 1].count(kind)}" if kinds.count(kind) > 1 else ""
        result.append(f"{folder_and_name}{run}_{suffix}")
    return result


def infotodict(seqinfo: list[Any]) -> dict[tuple[str, tuple[str, ...], None], list[str]]:
    """Map file stems to the series that HeuDiConv found."""
    kinds = []
    for series in seqinfo:
        manufacturer, acquisition, sequence, colour, fitted = series.custom
        traits = Traits(
            manufacturer=manufacturer,
            description=series.series_description or "",
            protocol_name=series.protocol_name or "",
            image_type=tuple(str(part).upper() for part in series.image_type),
            acquisition_type=acquisition,
            sequence=sequence,
            colour=colour,
            fitted=fitted,
        )
        kinds.append(role(traits).kind)
    pairs = zip(stems(kinds), seqinfo, strict=True)
    return {(stem, ("nii.gz",), None): [series.series_id] for stem, series in pairs if stem}
