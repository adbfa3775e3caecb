"""Which T1w image goes with an ASL run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cereflow_bids.bids.annex import require_content

if TYPE_CHECKING:
    from bids.layout import BIDSFile

    from cereflow_bids.bids.files import Files

# Of several images, one without these is the plain one.
_VARIANTS = ("acquisition", "ceagent", "reconstruction", "part", "echo", "inversion")


def find_t1w(files: Files, run: BIDSFile) -> tuple[Path | None, str]:
    """Return the T1w image of a run's participant, and a sentence where there was a choice.

    That of the run's own session is preferred, then one without a session, then any other; of
    several, the one with the fewest entities that mark a variant, then the first by name.

    Parameters
    ----------
    files
        Those of the dataset.
    run
        Its ``_asl`` file.
    """
    found = files.images(run.entities["subject"], "T1w")
    # Conversion marks thick 2D images so: they are for display only.
    found = [image for image in found if image.entities.get("acquisition") != "2D"]
    if not found:
        return None, ""
    session = run.entities.get("session")

    def preference(image: BIDSFile) -> tuple[int, int, str]:
        own = image.entities.get("session")
        distance = 0 if own == session else 1 if own is None else 2
        return distance, sum(key in image.entities for key in _VARIANTS), str(image.filename)

    chosen = min(found, key=preference)
    notes = []
    if preference(chosen)[0] == 2:
        notes.append(
            f"The T1w image is of session {chosen.entities['session']}: the run's own session "
            "has none."
        )
    rivals = [one for one in found if preference(one)[0] == preference(chosen)[0]]
    if len(rivals) > 1:
        notes.append(
            f"Of {len(rivals)} T1w images {chosen.filename} was used; a filter file or "
            "--ignore t1w decides otherwise."
        )
    path = Path(chosen.path)
    require_content(path, str(path.relative_to(files.root)))
    return path, " ".join(notes)
