"""Rules for anatomical images, the same for every vendor."""

import re

from cereflow_rule import REAL, T1W, T1W_THICK, WRITTEN, Rule, Traits

_T1_NAME = re.compile(
    r"(?:^|[^a-z0-9])t1(?![0-9])|mp2?rage|bravo|fspgr|(?:^|[^a-z])(?:tfe|t1tfe|spgr)",
    re.IGNORECASE,
)
_NOT_T1 = re.compile(
    r"survey|scout|locali[sz]er|t1_?map|t1_?rho|tof|angio|(?:^|[^a-z])mra|flair|"
    r"(?:^|[^a-z])(?:gd|gad|post|contrast)",
    re.IGNORECASE,
)


def is_t1(traits: Traits) -> bool:
    """Tell whether a series is named like an anatomical T1w image."""
    name = traits.description or traits.protocol_name
    return bool(_T1_NAME.search(name)) and not _NOT_T1.search(name)


RULES = (
    Rule(
        "any",
        "t1w-derived",
        None,
        lambda traits: is_t1(traits) and "DERIVED" in traits.image_type,
        "named like a T1w, image type has `DERIVED`",
        "a derived T1w image; the acquired one is used",
        REAL,
    ),
    Rule(
        "any",
        "t1w-3d",
        T1W,
        lambda traits: is_t1(traits) and traits.acquisition_type.upper() == "3D",
        "named T1, MPRAGE, BRAVO, FSPGR, SPGR or TFE, and 3D",
        "3D T1w",
        REAL,
    ),
    Rule(
        "any",
        "t1w-2d",
        T1W_THICK,
        is_t1,
        "named T1, MPRAGE, BRAVO, FSPGR, SPGR or TFE, and not 3D",
        "2D T1w, for display only",
        WRITTEN,
    ),
)
