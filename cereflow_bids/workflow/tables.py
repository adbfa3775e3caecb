"""The tables of one run: regions, quality, confounds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cereflow_bids.bids.run import AslRun
from cereflow_bids.bids.spec import column_dictionary
from cereflow_bids.quality import evaluation_index as qei
from cereflow_bids.quality import measures as m
from cereflow_bids.quality.flags import WITHHELD, raised_flags
from cereflow_bids.quantification.differences import find_differences
from cereflow_bids.quantification.tissues import Tissues
from cereflow_bids.workflow.images import load, load_mask, mean_volume

if TYPE_CHECKING:
    import pandas as pd

GM_THRESHOLD = 0.7
WM_THRESHOLD = 0.8
HIGH_CBF = (100, 150, 200)
PERFUSION_MEASURES = (
    "gm_mean_cbf",
    "wm_mean_cbf",
    "gm_wm_ratio",
    "spatial_cov",
    "negative_fraction",
)
TEXT_MEASURES = ("spatial_cov_category", "flags")


def quality_table(
    run: AslRun, paths: dict[str, str], displacement: np.ndarray, record: Mapping[str, Any]
) -> pd.DataFrame:
    """Return the one row of quality measures.

    Parameters
    ----------
    run
        The run.
    paths
        ``cbf`` (empty where refused), ``deltam``, ``series``, ``m0``, ``aslref``, ``mask``,
        ``gm``, ``wm``, ``brain`` and ``registration`` (what `standard_space` says of it).
    displacement
        Framewise displacement (n,), mm.
    record
        Of quantification: ``Findings``, ``RejectedVolumes`` and the number of pairs.
    """
    import pandas as pd

    from cereflow_bids.imaging.masks import inner_contrast

    mask, affine = load(paths["mask"])
    inside = mask > 0.5
    values = dict.fromkeys(column_dictionary("quality"), float("nan"))
    values |= _mask_measures(inside, load_mask(paths["brain"]), affine)
    values["inner_contrast"] = inner_contrast(load(paths["aslref"])[0], inside, affine)
    values |= _registration(paths["registration"])["measures"]
    values |= {
        "mean_deltam_percent": _deltam_percent(run, paths, inside),
        "temporal_snr": _temporal_snr(run, paths, inside, record["RejectedVolumes"]),
        "n_pairs": record["Acquisition"]["NumberOfPairs"],
    }
    if np.isfinite(displacement).any():
        values["mean_framewise_displacement"] = float(np.nanmean(displacement))
        values["max_framewise_displacement"] = float(np.nanmax(displacement))
    if paths["cbf"]:
        values |= _perfusion_measures(paths, inside) | _structure(paths, inside, affine)
    known = {
        name: value
        for name, value in values.items()
        if name not in TEXT_MEASURES and (paths["cbf"] or name not in PERFUSION_MEASURES)
    }
    category = m.spatial_cov_category(values["spatial_cov"]) or "n/a"
    found = [*record["Findings"], *([WITHHELD] if why_withheld(paths["registration"]) else [])]
    flags = ";".join(raised_flags(known, found)) or "n/a"
    return pd.DataFrame([values | {"spatial_cov_category": category, "flags": flags}])


def confounds_table(
    run: AslRun, matrices: np.ndarray, rejected: Sequence[Mapping[str, Any]], *, mask: str
) -> pd.DataFrame:
    """Return motion and, where it is not in CBF, why not, per volume.

    Parameters
    ----------
    run
        The run.
    matrices
        Of motion (n, 4, 4).
    rejected
        ``volumes`` (counted from 0) and the ``reason`` why they are in no mean.
    mask
        Path of the brain mask: motion is that of its middle.
    """
    import pandas as pd

    columns = list(column_dictionary("confounds"))
    brain, affine = load(mask)
    middle = affine[:3, :3] @ np.argwhere(brain > 0.5).mean(axis=0) + affine[:3, 3]
    displacement = m.framewise_displacement(matrices, run.context, middle)
    table = pd.DataFrame(m.rigid_parameters(matrices, middle), columns=columns[1:7])
    table.insert(0, columns[0], list(run.context))
    reasons: dict[int, str] = {}
    for one in rejected:
        for k in one["volumes"]:
            reasons[k] = "; ".join(filter(None, (reasons.get(k), one["reason"])))
    why = [reasons.get(k, "n/a") for k in range(len(run.context))]
    return table.assign(framewise_displacement=displacement, rejected=why)


def why_withheld(registration: str) -> dict[str, str]:
    """Return why regions have no values, for sidecars; nothing where they have.

    Parameters
    ----------
    registration
        What `standard_space` wrote of it.
    """
    why: str = _registration(registration)["withheld"]
    return {"RegionsWithheld": why} if why else {}


def _registration(path: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return content


def _mask_measures(inside: np.ndarray, brain: np.ndarray, affine: np.ndarray) -> dict[str, float]:
    return {
        "mask_volume": float(inside.sum() * abs(np.linalg.det(affine[:3, :3])) / 1000),
        "mask_coverage": m.coverage(inside, brain),
        "mask_dice": m.dice(inside, brain),
        "mask_overlap_coefficient": m.overlap_coefficient(inside, brain),
    }


def _perfusion_measures(paths: dict[str, str], inside: np.ndarray) -> dict[str, float]:
    cbf = load(paths["cbf"])[0]
    gm = inside & (load(paths["gm"])[0] > GM_THRESHOLD)
    wm = inside & (load(paths["wm"])[0] > WM_THRESHOLD)
    means = m.mean_in(cbf, gm), m.mean_in(cbf, wm)
    values = (
        *means,
        m.tissue_ratio(*means),
        m.spatial_cov(cbf, gm),
        m.negative_fraction(cbf, gm),
    )
    high = {f"fraction_above_{limit}": m.fraction_above(cbf, gm, limit) for limit in HIGH_CBF}
    return dict(zip(PERFUSION_MEASURES, values, strict=True)) | high


def _structure(paths: dict[str, str], inside: np.ndarray, affine: np.ndarray) -> dict[str, float]:
    """Hold CBF against the tissues, of which fluid is what is neither grey nor white matter."""
    tissues = Tissues.of_brain(*(load(paths[name])[0] for name in ("gm", "wm", "brain")))
    voxel_size = np.linalg.norm(affine[:3, :3], axis=0)
    smoothed = qei.smooth_inside(load(paths["cbf"])[0], inside, voxel_size)
    fractions = tissues.gm, tissues.wm
    return {
        "contrast_correlation": qei.contrast_correlation(smoothed, inside, *fractions),
        "qei": qei.quality_evaluation_index(smoothed, inside, *fractions, tissues.csf),
    }


def _temporal_snr(
    run: AslRun,
    paths: dict[str, str],
    inside: np.ndarray,
    rejected: Sequence[Mapping[str, Any]],
) -> float:
    """SNR over the differences that are in the mean, in grey matter."""
    series = load(paths["series"])[0]
    gm = inside & (load(paths["gm"])[0] > GM_THRESHOLD)
    volumes = series if series.ndim == 4 else series[..., None]
    found = find_differences(run, volumes[gm][:, None, None, :])
    out = {k for one in rejected for k in one["volumes"]}
    kept = [k for k, made_of in enumerate(found.volumes) if out.isdisjoint(made_of)]
    measurement = [found.measurement[k] for k in kept]
    differences: np.ndarray = found.values  # noqa: PD011
    return m.temporal_snr(differences[:, 0, 0, kept], measurement)


def _deltam_percent(run: AslRun, paths: dict[str, str], inside: np.ndarray) -> float:
    """ΔM over the M0 or, without one, over the control images; NaN where there is neither."""
    if paths["m0"]:
        base = load(paths["m0"])[0]
    elif run.volumes("control"):
        base = mean_volume(load(paths["series"])[0], run.volumes("control"))
    else:
        return float("nan")
    return m.deltam_percent(load(paths["deltam"])[0], base, inside)
