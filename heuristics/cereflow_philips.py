"""Rules for Philips: SOURCE images, M0, and the console's map."""

import re

from cereflow_rule import (
    ASL,
    ASL_NAME,
    CONSOLE_CBF,
    ENCODED_NAME,
    ENCODED_SAYS,
    ENCODED_WHY,
    M0SCAN,
    REAL,
    WRITTEN,
    Rule,
    Traits,
)

_MAGNITUDE = {"M_SE", "M_FFE", "M"}
# What the scanner puts before the name of the protocol.
_SOURCE = re.compile("source", re.IGNORECASE)
# Not "PD_TSE": on these scanners that is a clinical scan.
_M0_ALONE = re.compile(r"(?:^|[^a-z0-9])m0(?:scan)?(?![a-z0-9])", re.IGNORECASE)


def _is_philips_source(traits: Traits) -> bool:
    magnitude = not _MAGNITUDE.isdisjoint(traits.image_type)
    return traits.named(_SOURCE) or (traits.named(ASL_NAME) and magnitude)


def _is_philips_map(traits: Traits) -> bool:
    # Enhanced source images have the contrast PERFUSION as well: only the name tells.
    perfusion = any(kind.startswith("PERFUSION") for kind in traits.image_type)
    return perfusion and not traits.named(_SOURCE)


RULES = (
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
        "philips-encoded",
        None,
        lambda traits: traits.named(ENCODED_NAME),
        ENCODED_SAYS,
        ENCODED_WHY,
        "its name alone",
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
