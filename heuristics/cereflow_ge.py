"""Rules for GE: 3D pCASL, eASL, and the console's maps."""

import re

from cereflow_rule import ASL, CONSOLE_ATT, CONSOLE_CBF, WRITTEN, Rule, Traits
from cereflow_t1w import is_t1

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
    return not traits.sequence and ("CBF" in traits.image_type or (named and not is_t1(traits)))


def _is_ge_picture(traits: Traits) -> bool:
    coloured = traits.colour or bool(_COLOUR.search(traits.description))
    return coloured or not _SECONDARY.isdisjoint(traits.image_type)


RULES = (
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
