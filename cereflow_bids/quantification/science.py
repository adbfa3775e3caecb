"""The user's choices that change numbers, frozen: handed in, nobody looks them up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cereflow_bids.perfusion.constants import M0_SMOOTHING_FWHM, T1_TISSUE
from cereflow_bids.perfusion.scheme import KineticModel

Quantification = Literal["consensus", "ge-product"]
Estimator = Literal["spatial", "least-squares"]
BloodSource = Literal["field", "sex", "age-sex"]
PartialVolume = Literal["none", "linear-regression"]
M0Reference = Literal["voxelwise", "csf", "wm"]
ArterialComponent = Literal["auto", "none"]
SpatialGuide = Literal["none", "m0"]
Outliers = Literal["none", "score", "scrub", "enable"]


@dataclass(frozen=True)
class Science:
    """Choices that change numbers.

    Attributes
    ----------
    quantification
        The consensus equations, or those of the GE product.
    m0_smoothing
        FWHM of the Gaussian on M0, mm.
    m0_reference
        Whether each voxel is divided by its own M0, or all by M0 of blood from a tissue.
    t1_tissue
        T1 of tissue for the TR correction of M0 and for the full kinetic model, s.
    t1_blood
        T1 of arterial blood of all runs, s; None to find it run by run.
    haematocrit
        Of all participants, a fraction; None where the dataset tells, or nobody.
    t1_blood_from
        What T1 of blood goes by where no haematocrit is known.
    bolus_duration
        Of pulsed labelling that is not cut off, s; None if unknown.
    kinetic_model
        Form of the general kinetic model for several delays.
    estimator
        How CBF and ATT are estimated from several delays.
    arterial
        Whether label in arteries is modelled where several delays can tell it from tissue.
    outliers
        How differences that would spoil the mean are found.
    partial_volume
        Whether maps of pure grey and white matter are made beside CBF.
    point_spread
        FWHM of the acquisition's point spread, by which tissue fractions are smoothed, mm.
    spatial_guide
        Whether the contrast of M0 tells the spatial estimate where to expect edges.
    seed
        Seed of all random choices (registration sampling).
    """

    quantification: Quantification = "consensus"
    m0_smoothing: float = M0_SMOOTHING_FWHM
    m0_reference: M0Reference = "voxelwise"
    t1_tissue: float = T1_TISSUE
    t1_blood: float | None = None
    haematocrit: float | None = None
    t1_blood_from: BloodSource = "field"
    bolus_duration: float | None = None
    kinetic_model: KineticModel = "consensus"
    estimator: Estimator = "spatial"
    arterial: ArterialComponent = "auto"
    outliers: Outliers = "none"
    partial_volume: PartialVolume = "none"
    point_spread: float = 0.0
    spatial_guide: SpatialGuide = "none"
    seed: int = 0
