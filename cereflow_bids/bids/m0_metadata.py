"""From a sidecar to a validated Calibration: where M0 comes from, or why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cereflow_bids.bids.parameters import Parameter
from cereflow_bids.bids.readout import calibrated_for_readout
from cereflow_bids.bids.run import LABELED, Calibration, Labeling
from cereflow_bids.bids.sidecar import Sidecar, is_number
from cereflow_bids.errors import InputError

LONGEST_TR = 60.0
"""A repetition time beyond this, s, is in milliseconds."""


def read_calibration(
    sidecar: Sidecar,
    context: Sequence[str],
    m0: tuple[Path, Sidecar] | None,
    labeling: Labeling,
) -> Calibration:
    """Decide where M0 comes from, or why absolute CBF is refused.

    Parameters
    ----------
    sidecar
        Metadata of the ``_asl`` file.
    context
        Volume types.
    m0
        The separate ``_m0scan`` and its metadata, where there is one.
    labeling
        A Look-Locker readout asks more of M0, a bolus of unknown duration nothing.
    """
    own = None if m0 is None else m0[1]
    try:
        found = _source(sidecar, context, m0)
        return calibrated_for_readout(found, sidecar, context, own, labeling.readout_flip_angle)
    except InputError as error:
        if labeling.kind != "PASL" or labeling.bolus_cutoff is not None:
            raise
        # Only relative perfusion is made of such a run, unless the user knows the bolus.
        return Calibration("refused", refusal=f"There is no M0: {error.what} {error.fix}")


def _source(
    sidecar: Sidecar,
    context: Sequence[str],
    m0: tuple[Path, Sidecar] | None,
) -> Calibration:
    """Decide by M0Type and background suppression."""
    kind = sidecar.values.get("M0Type")
    suppressed = sidecar.flag("BackgroundSuppression")
    if kind == "Separate":
        return _separate(sidecar, context, m0)
    if kind == "Included":
        return _included(sidecar, context)
    if kind == "Estimate":
        return _estimate(sidecar)
    if kind == "Absent" and suppressed is False:
        index = [k for k, name in enumerate(context) if name == "control"]
        if index:
            return Calibration("control", repetition_time=_tr(sidecar, index, len(context)))
    if kind == "Absent":
        return Calibration(
            "refused",
            refusal="M0Type is Absent, and the control images are background-suppressed or their "
            "suppression is unknown, so that nothing in the data gives the equilibrium signal. "
            "Supply an M0 image, an M0Estimate, or BackgroundSuppression: false if it was off.",
        )
    raise InputError(
        f"M0Type is {kind!r}.",
        where=sidecar.where,
        fix="set it to Separate, Included, Estimate or Absent.",
    )


def _tr(sidecar: Sidecar, volumes: Sequence[int], n_volumes: int) -> Parameter:
    key = "RepetitionTimePreparation"
    value = sidecar.one_for(key, volumes, n_volumes)
    if value is None or value <= 0:
        raise InputError(
            f"{key} is {value}; the recovery of M0 depends on it.",
            where=sidecar.where,
            fix=f"add {key}, in seconds, above 0.",
        )
    if value > LONGEST_TR:
        raise InputError(
            f"{key} is {value:g} s: it looks like milliseconds.",
            where=sidecar.where,
            fix=f"give {key} in seconds.",
        )
    return Parameter(key, value, "s", sidecar.origin(key), "of the M0 images")


def _separate(
    sidecar: Sidecar, context: Sequence[str], m0: tuple[Path, Sidecar] | None
) -> Calibration:
    if m0 is None:
        raise InputError(
            "M0Type is Separate, but no _m0scan goes with this run.",
            where=sidecar.where,
            fix="add the _m0scan with IntendedFor, or correct M0Type.",
        )
    path, own = m0
    if own.flag("BackgroundSuppression"):
        return Calibration(
            "refused",
            refusal=f"the M0 image {path.name} is background-suppressed, as its sidecar says "
            "(BackgroundSuppression), and CBF by it would be far too high. Supply an M0 image "
            "without suppression, or an M0Estimate, or correct the sidecar.",
        )
    several = own.values.get("RepetitionTimePreparation")
    n_volumes = len(several) if isinstance(several, list) and several else 1
    return Calibration(
        "separate",
        m0_file=path,
        repetition_time=_tr(own, range(n_volumes), n_volumes),
        echo_times=_echo_times(_own_echo_time(own), sidecar, context),
        same_preparation=_same_preparation(sidecar, own),
    )


def _same_preparation(sidecar: Sidecar, m0: Sidecar) -> bool:
    """Tell whether M0 waited after an inversion as long as the series did, by its sidecar."""
    keys = ("InversionTime", "PostLabelingDelay")
    told = [sidecar.values.get(key) for key in keys]
    series = [wait for value in told for wait in (value if isinstance(value, list) else [value])]
    own = [wait for wait in map(m0.values.get, keys) if wait is not None and is_number(wait)]
    return any(wait > 0 and wait in series for wait in own)


def _own_echo_time(m0: Sidecar) -> float | None:
    """Return the echo time of a separate M0, None where it is unknown."""
    value = m0.values.get("EchoTime")
    n_volumes = len(value) if isinstance(value, list) and value else 1
    return m0.one_for("EchoTime", range(n_volumes), n_volumes)


def _echo_times(
    m0: float | None, sidecar: Sidecar, context: Sequence[str]
) -> tuple[float, float] | None:
    """Return the echo times of M0 and of the ASL images, where they are known and differ."""
    index = [k for k, name in enumerate(context) if name in LABELED]
    asl = sidecar.one_for("EchoTime", index, len(context))
    return None if m0 is None or asl is None or m0 == asl else (m0, asl)


def _included(sidecar: Sidecar, context: Sequence[str]) -> Calibration:
    index = [k for k, name in enumerate(context) if name == "m0scan"]
    if not index:
        raise InputError(
            "M0Type is Included, but aslcontext.tsv has no m0scan volume.",
            where=sidecar.where,
            fix="correct aslcontext.tsv or M0Type.",
        )
    echo = sidecar.one_for("EchoTime", index, len(context))
    return Calibration(
        "included",
        repetition_time=_tr(sidecar, index, len(context)),
        echo_times=_echo_times(echo, sidecar, context),
    )


def _estimate(sidecar: Sidecar) -> Calibration:
    value = sidecar.number("M0Estimate")
    if value is None or value <= 0:
        raise InputError(
            f"M0Type is Estimate, but M0Estimate is {value}.",
            where=sidecar.where,
            fix="give M0Estimate, the M0 of blood, above 0.",
        )
    return Calibration(
        "estimate",
        estimate=Parameter(
            "M0Estimate", value, "", sidecar.origin("M0Estimate"), "M0 of blood; λ is not applied"
        ),
    )
