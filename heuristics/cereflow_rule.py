"""What a rule of the heuristic is, and the words that several vendors' rules look for."""

import re
from collections.abc import Callable
from typing import NamedTuple

ASL, M0SCAN, T1W, T1W_THICK = "asl", "m0scan", "T1w", "T1w_2D"
CONSOLE_CBF, CONSOLE_ATT = "cbf", "att"
WRITTEN, REAL = "written DICOM", "real scan"

# "perf" alone is no sign of ASL: contrast-agent perfusion is named so as well.
ASL_NAME = re.compile(r"asl|tgse", re.IGNORECASE)
M0_NAME = re.compile(r"(?:^|[^a-z0-9])m0(?:scan)?(?![a-z0-9])|pd_tse", re.IGNORECASE)

# Not "multi-TE": that is echo time.
ENCODED_NAME = re.compile(
    r"hadamard|encoded[ _-]images|time[ _-]?encod"
    r"|(?<![a-z])had[ _-]?(?:0?4|0?8|12)(?!\d)"
    r"|(?<!multi)(?<!multi[ _-])(?<![a-z])te[ _-]p?casl",
    re.IGNORECASE,
)
ENCODED_SAYS = "its name has `hadamard`, `HAD4`, `HAD8`, `Encoded_Images`, `te-pcasl` or the like"
ENCODED_WHY = (
    "time-encoded images, which no header tells apart; convert them by hand, with "
    "TimeEncodedMatrix as docs/method.md says, or export what the scanner decoded"
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
