"""HeuDiConv heuristic: which series is ASL, its M0, a console's map, a T1w, or none of them.

Works alone (``heudiconv -f heuristics/cereflow.py …``) and needs nothing but the standard library.
``cereflow-convert`` loads this very file for its own decisions, so the rules are written once; the
table in the documentation is made from `RULES`. What HeuDiConv cannot write (aslcontext.tsv,
labelling parameters, an M0 that is none, several series that are one run) is completed by
``cereflow-convert`` afterwards.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

ASL, M0SCAN, T1W, T1W_THICK = "asl", "m0scan", "T1w", "T1w_2D"
CONSOLE_CBF, CONSOLE_ATT = "cbf", "att"
UNRELATED = "not an ASL, M0 or T1w series"
WRITTEN, REAL = "written DICOM", "real scan"

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


class Traits(NamedTuple):
    """What the rules look at.

    Manufacturer (0008,0070), description (0008,103E), protocol name (0018,1030), image type
    (0008,0008) in capitals, acquisition type (0018,0023), the vendor's name of the sequence,
    whether the images are in colour, and whether their comment calls them a fitted map.
    """

    manufacturer: str
    description: str
    protocol_name: str
    image_type: tuple[str, ...]
    acquisition_type: str
    sequence: str = ""
    colour: bool = False
    fitted: bool = False

    def named(self, pattern: re.Pattern[str]) -> bool:
        """Tell whether the description or the protocol's name matches."""
        return bool(pattern.search(self.description) or pattern.search(self.protocol_name))


class Rule(NamedTuple):
    """One line of the table: the first whose condition holds decides.

    ``kind`` is None where the series is left out; ``says`` puts the condition into words; ``why``
    tells what the series is taken for; ``tested`` names what the tests of the rule rest on.
    """

    vendor: str
    name: str
    kind: str | None
    when: Callable[[Traits], bool]
    says: str
    why: str
    tested: str


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


# -- GE ------------------------------------------------------------------------------------------

_GE_ASL_NAME = re.compile(r"(?:^|[^a-z])e?asl(?![a-z])|pcasl", re.IGNORECASE)
_TRANSIT_DELAY = re.compile(r"transit[ _-]*(?:delay|time)|(?:^|[^a-z])att(?![a-z])", re.IGNORECASE)
_FLOW = re.compile(r"cbf|(?:^|[^a-z])flow(?![a-z])|blood flow", re.IGNORECASE)
_COLOUR = re.compile(r"colou?r", re.IGNORECASE)
# What the console makes of finished images: reformatted, averaged, projected, captured.
_SECONDARY = {"SECONDARY", "REFORMATTED", "PROJECTION IMAGE", "SCREEN SAVE", "COMBINED"}


def _is_ge_asl(traits: Traits) -> bool:
    # The sequence's name stays on maps, and on images whose type is not that of the product.
    if "asl" in traits.sequence.casefold() or "ASL" in traits.image_type:
        return True
    # Contrast-agent perfusion has maps of the type CBF, and a T1w can be named for the ASL.
    named = bool(_GE_ASL_NAME.search(traits.description)) and traits.acquisition_type == "3D"
    return not traits.sequence and ("CBF" in traits.image_type or (named and not _is_t1(traits)))


def _is_ge_picture(traits: Traits) -> bool:
    coloured = traits.colour or bool(_COLOUR.search(traits.description))
    return coloured or not _SECONDARY.isdisjoint(traits.image_type)


_GE = (
    Rule(
        "ge",
        "ge-picture",
        None,
        lambda traits: _is_ge_asl(traits) and _is_ge_picture(traits),
        "ASL by its sequence, image type or name, and in colour, reformatted or secondary",
        "a picture that the console made of ASL images; it holds no measured values",
        WRITTEN,
    ),
    Rule(
        "ge",
        "ge-easl-transit-delay",
        CONSOLE_ATT,
        lambda t: _is_ge_asl(t) and bool(_TRANSIT_DELAY.search(t.description)),
        "ASL by its sequence, image type or name, and `Transit delay` or `ATT` in its description",
        "the console's map of arterial transit times, in ms",
        WRITTEN,
    ),
    Rule(
        "ge",
        "ge-console-cbf",
        CONSOLE_CBF,
        lambda t: _is_ge_asl(t) and ("CBF" in t.image_type or bool(_FLOW.search(t.description))),
        "ASL by its sequence, image type or name, and `CBF` in its image type, `CBF` or `Flow` in "
        "its description",
        "the console's CBF map",
        WRITTEN,
    ),
    Rule(
        "ge",
        "ge-easl-raw",
        ASL,
        lambda t: _is_ge_asl(t) and "easl" in f"{t.sequence} {t.description}".casefold(),
        "ASL by its sequence, image type or name, and `easl` in the sequence's name or its "
        "description",
        "the decoded image of each delay, then the proton-density image",
        WRITTEN,
    ),
    Rule(
        "ge",
        "ge-pcasl-3d",
        ASL,
        _is_ge_asl,
        "image type or the sequence's name has `ASL`; without a sequence's name, a 3D series of "
        "that name",
        "perfusion-weighted and proton-density images",
        WRITTEN,
    ),
)

# -- Philips -------------------------------------------------------------------------------------

_MAGNITUDE = {"M_SE", "M_FFE", "M"}
# What the scanner puts before the name of the protocol.
_SOURCE = re.compile("source", re.IGNORECASE)
# Not "PD_TSE": on these scanners that is a clinical scan.
_M0_ALONE = re.compile(r"(?:^|[^a-z0-9])m0(?:scan)?(?![a-z0-9])", re.IGNORECASE)


def _is_philips_source(traits: Traits) -> bool:
    magnitude = not _MAGNITUDE.isdisjoint(traits.image_type)
    return traits.named(_SOURCE) or (traits.named(_ASL_NAME) and magnitude)


def _is_philips_map(traits: Traits) -> bool:
    # Enhanced source images have the contrast PERFUSION as well: only the name tells.
    perfusion = any(kind.startswith("PERFUSION") for kind in traits.image_type)
    return perfusion and not traits.named(_SOURCE)


_PHILIPS = (
    Rule(
        "philips",
        "philips-console-cbf",
        CONSOLE_CBF,
        _is_philips_map,
        "image type has `PERFUSION…`, and no `SOURCE` in its name",
        "the console's CBF map",
        REAL,
    ),
    Rule(
        "philips",
        "philips-m0",
        M0SCAN,
        lambda traits: bool(_M0_ALONE.search(traits.description)),
        "description has `m0`",
        "a separate M0 series",
        WRITTEN,
    ),
    Rule(
        "philips",
        "philips-source",
        ASL,
        _is_philips_source,
        "its name has `SOURCE`; or it has `asl` and is a magnitude image",
        "control and label images",
        REAL,
    ),
)

# -- Siemens -------------------------------------------------------------------------------------


_PARAMETER_FIT = re.compile(r"parameter[_ ]?fit", re.IGNORECASE)
# Inversion of all (ns) or of the slab alone (ss); the M0 has the longest inversion time.
_RESEARCH = re.compile(r"(?<![a-z])(ns|ss)[ _-]?TE\d+[ _-]?TI(\d+)", re.IGNORECASE)
_RESEARCH_M0 = re.compile(r"(?<![a-z])(ns|ss)[ _-]?TE\d+[ _-]?TI4000(?!\d)", re.IGNORECASE)


def _research_m0_kind(traits: Traits) -> str:
    found = _RESEARCH_M0.search(traits.description)
    return found[1].casefold() if found else ""


_FITTED = ("m0 image", "relcbf", "bolus arrival time")


def is_fitted(header: Any) -> bool:
    """Tell whether the image comment is one that Siemens gives the maps of its own fit."""
    comment = str(header.get("ImageComments", "") or "").casefold()
    return any(comment.startswith(name) for name in _FITTED)


def _is_siemens_asl(traits: Traits) -> bool:
    return "ASL" in traits.image_type or traits.named(_ASL_NAME) or _is_siemens_fit(traits)


def _is_siemens_fit(traits: Traits) -> bool:
    return bool(_PARAMETER_FIT.search(traits.description))


def _is_siemens_product(traits: Traits) -> bool:
    # XA keeps the protocol name of the acquisition on its products: only these tell.
    derived = not {"DERIVED", "MOCO"}.isdisjoint(traits.image_type) or traits.colour
    return derived or bool(_SIEMENS_PRODUCT.search(traits.description))


_SIEMENS = (
    Rule(
        "siemens",
        "siemens-fitted-maps",
        None,
        lambda t: t.fitted or (_is_siemens_fit(t) and "DERIVED" in t.image_type),
        "image comment is `M0 Image`, `relCBF` or `Bolus Arrival Time`; or named Parameter_Fit "
        "and derived",
        "maps that the scanner fitted; the source images (control and label) are needed",
        WRITTEN,
    ),
    Rule(
        "siemens",
        "siemens-product-map",
        None,
        lambda traits: _is_siemens_asl(traits) and _is_siemens_product(traits),
        "an ASL series that is derived, motion-corrected, in colour, or named PWI, "
        "Perfusion_Weighted or relCBF",
        "a map that the scanner computed; CBF is computed from the raw images",
        REAL,
    ),
    Rule(
        "siemens",
        "siemens-research-m0",
        M0SCAN,
        lambda traits: _research_m0_kind(traits) == "ss",
        "description is `ss_TE…_TI4000`",
        "the M0 of the older research protocol",
        WRITTEN,
    ),
    Rule(
        "siemens",
        "siemens-research-m0-other",
        None,
        lambda traits: _research_m0_kind(traits) == "ns",
        "description is `ns_TE…_TI4000`",
        "it has the inversion time of the M0; the slab-selective one is used",
        WRITTEN,
    ),
    Rule(
        "siemens",
        "siemens-research",
        ASL,
        lambda traits: bool(_RESEARCH.search(traits.description)),
        "description is `ns_TE…_TI…` or `ss_TE…_TI…`",
        "control or label images of one inversion time",
        WRITTEN,
    ),
    Rule(
        "siemens",
        "siemens-m0",
        M0SCAN,
        lambda t: bool(_M0_NAME.search(t.description)) or t.description.upper().startswith("M0"),
        "description begins with `m0`, or has the word `m0` or `pd_tse`",
        "a separate M0 series",
        REAL,
    ),
    Rule(
        "siemens",
        "siemens-asl",
        ASL,
        _is_siemens_asl,
        "image type has `ASL`, or its name has `asl`, `tgse` or `Parameter_Fit`",
        "control and label images",
        REAL,
    ),
)

# -- T1w, all vendors ----------------------------------------------------------------------------


def _is_t1(traits: Traits) -> bool:
    name = traits.description or traits.protocol_name
    return bool(_T1_NAME.search(name)) and not _NOT_T1.search(name)


_T1W = (
    Rule(
        "any",
        "t1w-derived",
        None,
        lambda traits: _is_t1(traits) and "DERIVED" in traits.image_type,
        "named like a T1w, image type has `DERIVED`",
        "a derived T1w image; the acquired one is used",
        REAL,
    ),
    Rule(
        "any",
        "t1w-3d",
        T1W,
        lambda traits: _is_t1(traits) and traits.acquisition_type.upper() == "3D",
        "named T1, MPRAGE, BRAVO, FSPGR, SPGR or TFE, and 3D",
        "3D T1w",
        REAL,
    ),
    Rule(
        "any",
        "t1w-2d",
        T1W_THICK,
        _is_t1,
        "named T1, MPRAGE, BRAVO, FSPGR, SPGR or TFE, and not 3D",
        "2D T1w, for display only",
        WRITTEN,
    ),
)

RULES = (*_GE, *_PHILIPS, *_SIEMENS, *_T1W)

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
