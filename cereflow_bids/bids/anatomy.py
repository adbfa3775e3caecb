"""Which anatomy goes with an ASL run: a T1w image, or what was made of one before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cereflow_bids.bids.annex import require_content
from cereflow_bids.bids.precomputed import Precomputed, distance, of_participant

if TYPE_CHECKING:
    from bids.layout import BIDSFile

    from cereflow_bids.bids.derivative_folders import DerivativeFolder
    from cereflow_bids.bids.files import Files

# Of several images, one without these is the plain one.
_VARIANTS = ("acquisition", "ceagent", "reconstruction", "part", "echo", "inversion")


@dataclass(frozen=True)
class Anatomy:
    """What is known of the head of an ASL run.

    Attributes
    ----------
    precomputed
        To be used, if there is any.
    t1w
        To be used otherwise, or if the precomputed anatomy turns out to be unfit.
    notes
        Sentences for the report.
    """

    precomputed: Precomputed | None = None
    t1w: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files; when one of them changes, the run is done anew."""
        known = self.precomputed.files.values() if self.precomputed else ()
        return (*known, *([self.t1w] if self.t1w else []))


def find_anatomy(files: Files, run: BIDSFile, folders: Sequence[DerivativeFolder] = ()) -> Anatomy:
    """Return the anatomy of a run's participant.

    What was precomputed for the run's own session, or for no session, goes before the T1w images
    of the dataset; what was precomputed for another session, only before those of others, too.

    Parameters
    ----------
    files
        Those of the dataset.
    run
        Its ``_asl`` file.
    folders
        Of precomputed anatomy, in the order of preference.

    Raises
    ------
    InputError
        If a file that is to be used is a link that leads nowhere.
    """
    session = run.entities.get("session")
    found, far = of_participant(folders, run.entities["subject"], session)
    images = _of_dataset(files, run)
    nearest = min((distance(one.entities.get("session"), session) for one in images), default=3)
    if found is not None and (far < 2 or nearest >= 2):
        # The same for all runs that share what was precomputed, which is prepared once.
        kept = _chosen(images, found.session) if images else None
        t1w = Path(kept.path) if kept is not None and Path(kept.path).is_file() else None
        return Anatomy(found, t1w, _told_of_session(found, far))
    t1w, told = find_t1w(files, run)
    notes = _told_of_absence(folders, found, t1w)
    return Anatomy(None, t1w, (*notes, *([told] if told else [])))


def _told_of_session(found: Precomputed, far: int) -> tuple[str, ...]:
    if far < 2:
        return ()
    return (
        f"The precomputed anatomy ({found.origin}) is of session {found.session}: there is none "
        "of the run's own session.",
    )


def _told_of_absence(
    folders: Sequence[DerivativeFolder], found: Precomputed | None, t1w: Path | None
) -> tuple[str, ...]:
    if not folders:
        return ()
    names = ", ".join(folder.name for folder in folders)
    whom = "this participant" if found is None else "this session"
    instead = "the T1w image of the dataset was used" if t1w else "nor has the dataset a T1w image"
    return (f"There is no precomputed anatomy of {whom} in what was given ({names}): {instead}.",)


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
    found = _of_dataset(files, run)
    if not found:
        return None, ""
    session = run.entities.get("session")
    chosen = _chosen(found, session)
    near = _preference(chosen, session)[0]
    notes = []
    if near == 2:
        notes.append(
            f"The T1w image is of session {chosen.entities['session']}: the run's own session "
            "has none."
        )
    rivals = [one for one in found if _preference(one, session)[0] == near]
    if len(rivals) > 1:
        notes.append(
            f"Of {len(rivals)} T1w images {chosen.filename} was used; a filter file or "
            "--ignore t1w decides otherwise."
        )
    path = Path(chosen.path)
    require_content(path, str(path.relative_to(files.root)))
    return path, " ".join(notes)


def _of_dataset(files: Files, run: BIDSFile) -> list[BIDSFile]:
    found = files.images(run.entities["subject"], "T1w")
    # Conversion marks thick 2D images so: they are for display only.
    return [image for image in found if image.entities.get("acquisition") != "2D"]


def _chosen(images: Sequence[BIDSFile], session: str | None) -> BIDSFile:
    return min(images, key=lambda image: _preference(image, session))


def _preference(image: BIDSFile, session: str | None) -> tuple[int, int, str]:
    near = distance(image.entities.get("session"), session)
    return near, sum(key in image.entities for key in _VARIANTS), str(image.filename)
