"""HeuDiConv heuristic: which series is ASL, its M0, the console's CBF map, a T1w, or none of them.

Works alone (``heudiconv -f heuristics/cereflow.py …``) and needs nothing but the standard library.
``cereflow-convert`` loads this very file for its own decisions, so the rules are written once.
What HeuDiConv cannot write (aslcontext.tsv, labelling parameters, an M0 that is none) is
completed by ``cereflow-convert`` afterwards.
"""

import re
from typing import Any, NamedTuple

ASL, M0SCAN, CONSOLE_CBF, T1W, T1W_THICK = "asl", "m0scan", "cbf", "T1w", "T1w_2D"
UNRELATED = "not an ASL, M0 or T1w series"

# "perf" alone is no sign of ASL: contrast-agent perfusion is named so as well.
_ASL_NAME = re.compile(r"asl|tgse", re.IGNORECASE)
_M0_NAME = re.compile(r"(?:^|[^a-z0-9])m0(?:scan)?(?![a-z0-9])|pd_tse", re.IGNORECASE)
_SIEMENS_PRODUCT = re.compile(r"pwi|perfusion_weighted|relcbf|mean_perf|tttmap", re.IGNORECASE)
_T1_NAME = re.compile(
    r"(?:^|[^a-z0-9])t1(?![0-9])|mp2?rage|bravo|fspgr|(?:^|[^a-z])(?:tfe|t1tfe|spgr)",
    re.IGNORECASE,
)
_NOT_T1 = re.compile(
    r"survey|scout|locali[sz]er|t1_?map|t1_?rho|tof|angio|(?:^|[^a-z])mra|flair|"
    r"(?:^|[^a-z])(?:gd|gad|post|contrast)",
    re.IGNORECASE,
)


class Role(NamedTuple):
    """What a series is for; ``kind`` is None where it is left out, and ``why`` says why."""

    kind: str | None
    why: str


def vendor(manufacturer: str) -> str | None:
    """Return ``"ge"``, ``"philips"``, ``"siemens"`` or None."""
    name = manufacturer.casefold()
    if name.startswith("ge ") or name == "ge" or "general electric" in name:
        return "ge"
    return next((known for known in ("philips", "siemens") if known in name), None)


def role(
    *,
    manufacturer: str,
    description: str,
    protocol_name: str,
    image_type: tuple[str, ...],
    acquisition_type: str,
) -> Role:
    """Decide what one series is for.

    Parameters
    ----------
    manufacturer, description, protocol_name, acquisition_type
        DICOM (0008,0070), (0008,103E), (0018,1030) and (0018,0023) (``"2D"`` or ``"3D"``).
    image_type
        DICOM (0008,0008) of any image of the series.
    """
    rules = {"ge": _ge, "philips": _philips, "siemens": _siemens}
    rule = rules.get(vendor(manufacturer) or "")
    kinds = tuple(part.upper() for part in image_type)
    found = rule(description, protocol_name, kinds) if rule else None
    return found or _t1w(description, protocol_name, kinds, acquisition_type)


def _ge(description: str, _protocol_name: str, kinds: tuple[str, ...]) -> Role | None:
    if "easl" in description.casefold():
        return Role(None, "GE eASL (seven delays) is not read yet")
    if "CBF" in kinds:
        return Role(CONSOLE_CBF, "the console's CBF map")
    if "ASL" in kinds:
        return Role(ASL, "perfusion-weighted and proton-density images")
    return None


def _philips(description: str, protocol_name: str, kinds: tuple[str, ...]) -> Role | None:
    if any(kind.startswith("PERFUSION") for kind in kinds):
        return Role(CONSOLE_CBF, "the console's CBF map")
    source = "source" in description.casefold()
    named = _ASL_NAME.search(description) or _ASL_NAME.search(protocol_name)
    if source or (named and ({"M_SE", "M_FFE", "M"} & set(kinds))):
        if _M0_NAME.search(description):
            return Role(M0SCAN, "a separate M0 series")
        return Role(ASL, "control and label images")
    return None


def _siemens(description: str, protocol_name: str, kinds: tuple[str, ...]) -> Role | None:
    if not ("ASL" in kinds or _ASL_NAME.search(description) or _ASL_NAME.search(protocol_name)):
        return Role(M0SCAN, "a separate M0 series") if _M0_NAME.search(description) else None
    # XA keeps the protocol name of the acquisition on its products: only these two tell.
    if "DERIVED" in kinds or _SIEMENS_PRODUCT.search(description):
        return Role(None, "a map that the scanner computed; CBF is computed from the raw images")
    if _M0_NAME.search(description):
        return Role(M0SCAN, "a separate M0 series")
    return Role(ASL, "control and label images")


def _t1w(description: str, protocol_name: str, kinds: tuple[str, ...], acquisition: str) -> Role:
    name = description or protocol_name
    if not _T1_NAME.search(name) or _NOT_T1.search(name):
        return Role(None, UNRELATED)
    if "DERIVED" in kinds:
        return Role(None, "a derived T1w image; the acquired one is used")
    if acquisition.upper() == "3D":
        return Role(T1W, "3D T1w")
    return Role(T1W_THICK, "2D T1w, for display only")


# -- what HeuDiConv calls ------------------------------------------------------------------------

_HERE = "{bids_subject_session_dir}"
_NAME = "{bids_subject_session_prefix}"
_TEMPLATES = {
    ASL: (f"{_HERE}/perf/{_NAME}", "asl"),
    M0SCAN: (f"{_HERE}/perf/{_NAME}", "m0scan"),
    # Kept apart from the raw data, where BIDS tools would take it for an acquisition.
    CONSOLE_CBF: (f"derivatives/console/{_HERE}/perf/{_NAME}", "desc-console_cbf"),
    T1W: (f"{_HERE}/anat/{_NAME}", "T1w"),
    T1W_THICK: (f"{_HERE}/anat/{_NAME}_acq-2D", "T1w"),
}


def custom_seqinfo(wrapper: Any, series_files: list[str]) -> tuple[str, str]:
    """Hand on what HeuDiConv's own summary of a series lacks."""
    del series_files
    data = wrapper.dcm_data
    return str(data.get("Manufacturer", "")), str(data.get("MRAcquisitionType", ""))


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
    kinds = [
        role(
            manufacturer=series.custom[0],
            description=series.series_description or "",
            protocol_name=series.protocol_name or "",
            image_type=tuple(series.image_type),
            acquisition_type=series.custom[1],
        ).kind
        for series in seqinfo
    ]
    pairs = zip(stems(kinds), seqinfo, strict=True)
    return {(stem, ("nii.gz",), None): [series.series_id] for stem, series in pairs if stem}
