"""Rules for Siemens: product, research and XA sequences, and what the scanner computes."""

import re
from typing import Any

from cereflow_rule import (
    ASL,
    ASL_NAME,
    ENCODED_NAME,
    ENCODED_SAYS,
    ENCODED_WHY,
    M0_NAME,
    M0SCAN,
    REAL,
    WRITTEN,
    Rule,
    Traits,
)

_SIEMENS_PRODUCT = re.compile(r"pwi|perfusion_weighted|relcbf|mean_perf|tttmap", re.IGNORECASE)
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
    return "ASL" in traits.image_type or traits.named(ASL_NAME) or _is_siemens_fit(traits)


def _is_siemens_fit(traits: Traits) -> bool:
    return bool(_PARAMETER_FIT.search(traits.description))


def _is_siemens_product(traits: Traits) -> bool:
    # XA keeps the protocol name of the acquisition on its products: only these tell.
    derived = not {"DERIVED", "MOCO"}.isdisjoint(traits.image_type) or traits.colour
    return derived or bool(_SIEMENS_PRODUCT.search(traits.description))


RULES = (
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
        lambda t: bool(M0_NAME.search(t.description)) or t.description.upper().startswith("M0"),
        "description begins with `m0`, or has the word `m0` or `pd_tse`",
        "a separate M0 series",
        REAL,
    ),
    Rule(
        "siemens",
        "siemens-encoded",
        None,
        lambda traits: traits.named(ENCODED_NAME),
        ENCODED_SAYS,
        ENCODED_WHY,
        "its name alone",
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
