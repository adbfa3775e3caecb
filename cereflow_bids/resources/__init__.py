"""Packaged data: where it lies, whichever way the package was installed."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent
RESOURCES = _PACKAGE / "resources"
TEMPLATE_SPACE = "MNI152NLin2009aSym"


def packaged_folder(name: str) -> Path:
    """Return a folder that lies beside the package in a checkout and inside it in a wheel.

    Parameters
    ----------
    name
        ``"heuristics"`` or ``"derivatives_spec"``.

    Raises
    ------
    FileNotFoundError
        If the installation lacks the folder.
    """
    for parent in (_PACKAGE, _PACKAGE.parent):
        folder = parent / name
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"{name}/ is missing from this installation of cereflow_bids")


def template(kind: str) -> Path:
    """Return a packaged template on the 1 mm MNI152NLin2009aSym grid.

    Parameters
    ----------
    kind
        ``"T1w"`` (skull-stripped, arbitrary units), ``"GM"`` or ``"WM"`` (probability × 255).
    """
    tail = "desc-brain_T1w" if kind == "T1w" else f"label-{kind}_probseg"
    return RESOURCES / "templates" / f"tpl-{TEMPLATE_SPACE}_res-01_{tail}.nii.gz"
