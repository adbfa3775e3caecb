"""What a sidecar may hold: an allow-list of dcm2niix's fields, completed by the labelling."""

from collections.abc import Mapping, Sequence
from typing import Any

from cereflow_bids.intake.parameters.protocol import Parameters
from cereflow_bids.intake.privacy import without_identifiers

ORIGINS = "CereflowOrigins"
SCALING = "CereflowScaling"
SERIES = "CereflowSeries"
DEFACED = "CereflowDefaced"

# Free text (descriptions, protocol and institution names), dates, times and numbers of machines
# are left out because they can hold, or lead to, a person.
_ANY = frozenset(
    {
        "AcquisitionMatrixPE",
        "AcquisitionVoxelSize",
        "BandwidthPerPixelPhaseEncode",
        "BaseResolution",
        "BodyPart",
        "CoilCombinationMethod",
        "ConversionSoftware",
        "ConversionSoftwareVersion",
        "DwellTime",
        "EchoTime",
        "EchoTrainLength",
        "EffectiveEchoSpacing",
        "FlipAngle",
        "ImageType",
        "ImagingFrequency",
        "MRAcquisitionType",
        "MTState",
        "MagneticFieldStrength",
        "Manufacturer",
        "ManufacturersModelName",
        "MatrixCoilMode",
        "Modality",
        "NonlinearGradientCorrection",
        "ParallelAcquisitionTechnique",
        "ParallelReductionFactorInPlane",
        "ParallelReductionFactorOutOfPlane",
        "PartialFourier",
        "PartialFourierDirection",
        "PatientPosition",
        "PercentPhaseFOV",
        "PercentSampling",
        "PhaseEncodingAxis",
        "PhaseEncodingDirection",
        "PhaseResolution",
        "PhilipsRWVIntercept",
        "PhilipsRWVSlope",
        "PhilipsRescaleIntercept",
        "PhilipsRescaleSlope",
        "PhilipsScaleSlope",
        "PixelBandwidth",
        "PulseSequenceType",
        "ReceiveCoilActiveElements",
        "ReceiveCoilName",
        "ReconMatrixPE",
        "ScanOptions",
        "ScanningSequence",
        "SequenceName",
        "SequenceVariant",
        "SliceThickness",
        "SoftwareVersions",
        "SpacingBetweenSlices",
        "SpoilingState",
        "SpoilingType",
        "TotalReadoutTime",
        "UsePhilipsFloatNotDisplayScaling",
    }
)
_ONLY_T1W = frozenset({"InversionTime", "RepetitionTime"})
_ONLY_2D = frozenset({"SliceTiming", "MultibandAccelerationFactor", "SliceEncodingDirection"})


# What tells the files apart that dcm2niix made of one series; never published.
_ONLY_SORTING = frozenset(
    {"ArterialSpinLabelingType", "ImageType", "InversionTime", "RawImage", "TriggerDelayTime"}
)


def kept(converted: Mapping[str, Any], identifiers: frozenset[str]) -> dict[str, Any]:
    """Return the fields of dcm2niix's sidecar that are of use, without any that names a person.

    Parameters
    ----------
    converted
        dcm2niix's sidecar.
    identifiers
        Texts that must not get through even in an allowed field.
    """
    keys = _ANY | _ONLY_T1W | _ONLY_2D | _ONLY_SORTING
    found = {key: converted[key] for key in sorted(keys) if key in converted}
    return without_identifiers(found, identifiers)


def allowed(kept_fields: Mapping[str, Any], suffix: str) -> dict[str, Any]:
    """Return the fields that may be published.

    Parameters
    ----------
    kept_fields
        What `kept` left.
    suffix
        ``"asl"``, ``"m0scan"``, ``"cbf"``, ``"att"`` or ``"T1w"``: repetition and inversion time
        of a perfusion scan mean something else there and are written by us; slice times of a 3D
        readout mean nothing.
    """
    keys = _ANY | (_ONLY_T1W if suffix == "T1w" else frozenset())
    if str(kept_fields.get("MRAcquisitionType", "")).upper() == "2D":
        keys |= _ONLY_2D
    return {key: kept_fields[key] for key in sorted(keys) if key in kept_fields}


def common(several: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the fields that all sidecars share with one value: those of a joined image."""
    first, *others = several
    return {
        key: value
        for key, value in first.items()
        if all(key in other and other[key] == value for other in others)
    }


def perfusion(
    base: Mapping[str, Any],
    parameters: Parameters,
    *,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a complete ``_asl`` sidecar: what was converted, the labelling, and the origins."""
    values = {key: parameter.value for key, parameter in parameters.items()}
    origins = {key: parameter.origin for key, parameter in sorted(parameters.items())}
    return {**base, **values, **(extra or {}), ORIGINS: origins}


def calibration(
    base: Mapping[str, Any], parameters: Parameters, intended_for: Sequence[str]
) -> dict[str, Any]:
    """Return a complete ``_m0scan`` sidecar; `intended_for` are BIDS URIs."""
    values = {key: parameter.value for key, parameter in parameters.items()}
    result = {**base, **values, "IntendedFor": list(intended_for)}
    if result.get("MRAcquisitionType") == "2D" and "SliceTiming" not in result:
        # BIDS would demand slice times, which a proton-density scan of spin echoes has not.
        del result["MRAcquisitionType"]
    result[ORIGINS] = {key: parameter.origin for key, parameter in sorted(parameters.items())}
    return result


def context_table(types: Sequence[str]) -> str:
    """Return the text of an ``aslcontext.tsv``."""
    return "\n".join(("volume_type", *types)) + "\n"
