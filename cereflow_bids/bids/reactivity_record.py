"""What became of each reactivity measurement: one JSON under logs/reactivity/."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from cereflow_bids.atomic import write_text_atomically

ReactivityState = Literal["waiting", "done", "refused", "failed"]


@dataclass(frozen=True)
class ReactivityRecord:
    """How far the reactivity map of one participant and session is.

    Attributes
    ----------
    group
        Participant and session, e.g. ``sub-01_ses-1``.
    state
        waiting, done, refused (the runs do not allow it) or failed.
    baseline, stimulus
        Stems of the two runs; empty where it is not clear which they are.
    since
        UTC time of the last change.
    message, fix
        Why there is no map, and what to do.
    fingerprint
        Digest of the two finished runs, the settings and the version that a map was made from.
    outputs
        Its files, relative to the output folder.
    """

    group: str
    state: ReactivityState
    baseline: str = ""
    stimulus: str = ""
    since: str = ""
    message: str = ""
    fix: str = ""
    fingerprint: str = ""
    outputs: tuple[str, ...] = ()

    @property
    def participant(self) -> str:
        """Label without prefix."""
        return self.group.partition("_")[0].removeprefix("sub-")


def write_reactivity(out_dir: Path, record: ReactivityRecord) -> None:
    """Write a record, stamped with the present time."""
    stamped = replace(record, since=datetime.now(UTC).isoformat(timespec="seconds"))
    write_text_atomically(
        _path(out_dir, record.group), json.dumps(asdict(stamped), indent=1) + "\n"
    )


def read_reactivity(out_dir: Path, group: str) -> ReactivityRecord | None:
    """Return a record, None if there is none or it cannot be read.

    A damaged record only costs that the map is made again.
    """
    try:
        content = json.loads(_path(out_dir, group).read_text(encoding="utf-8"))
        known = {field.name for field in fields(ReactivityRecord)}
        found = {key: value for key, value in content.items() if key in known}
        return ReactivityRecord(**found | {"outputs": tuple(content["outputs"])})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def read_reactivities(out_dir: Path, participant: str = "*") -> list[ReactivityRecord]:
    """Return the records of one participant (label without prefix) or of all, by name."""
    folder = out_dir / "logs" / "reactivity"
    names = {
        path.stem for end in ("", "_*") for path in folder.glob(f"sub-{participant}{end}.json")
    }
    return [one for name in sorted(names) if (one := read_reactivity(out_dir, name))]


def forget_reactivity(out_dir: Path, group: str) -> None:
    """Remove a record."""
    _path(out_dir, group).unlink(missing_ok=True)


def _path(out_dir: Path, group: str) -> Path:
    return out_dir / "logs" / "reactivity" / f"{group}.json"
