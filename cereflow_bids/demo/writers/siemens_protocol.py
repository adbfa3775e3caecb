"""The protocol of a Siemens sequence, and its print inside the private series header.

Times of the print are µs. What is where follows the prints of real scans and the public readers
of them; a field that a sequence leaves over from another one is written as it was seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cereflow_bids.demo.writers.dicom import Stack

BLOCK_SECONDS = 0.0184
FAIR, PSEUDO_CONTINUOUS, NO_LABELLING = 4, 32, 1
SUPPRESSED, NOT_SUPPRESSED = 2, 1
DELAYS = (0.5, 1.0, 1.5, 2.0, 2.5)


@dataclass(frozen=True)
class SiemensProtocol:
    """What the operator set; times in seconds.

    Attributes
    ----------
    post_labeling_delay
        Of the research pCASL; None for a sequence that has no such line.
    inversion_times
        Places in ``alTI`` and their values.
    mode, suppression
        ``sAsl.ulMode`` and ``sAsl.ulSuppressionMode``.
    protocol_name
        (0018,1030); the series description unless given.
    lines
        Further lines of the print, or other values for those it has; an empty value drops one.
    """

    post_labeling_delay: float | None = 1.8
    labeling_blocks: int = 90
    repetition_time: float = 3.48
    segments: int = 4
    echo_time: float = 0.02822
    field_strength: float = 3.0
    series_number: int = 15
    series_description: str = "pcasl_3d"
    sequence: str = r"%CustomerSeq%\tgse_pcasl_ve11c"
    sequence_name: str = "tgse3d1_7544"
    acquisition_type: str = "3D"
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "ASL", "NONE", "ND", "MOSAIC")
    # Left over from the pulsed product protocol; meaningless for the research sequence.
    inversion_times: Mapping[int, float] = field(default_factory=lambda: {0: 0.7, 2: 1.8})
    mode: int = FAIR
    suppression: int = SUPPRESSED
    protocol_name: str = ""
    lines: Mapping[str, str] = field(default_factory=dict)

    @property
    def labeling_duration(self) -> float:
        """Labelling duration, s."""
        return self.labeling_blocks * BLOCK_SECONDS

    @property
    def name(self) -> str:
        """Protocol name (0018,1030)."""
        return self.protocol_name or self.series_description


def several_delays(
    delays: tuple[float, ...] = DELAYS,
    repeats: tuple[int, ...] = (),
    *,
    series_number: int = 15,
    series_description: str = "tgse_pcasl_pld5",
) -> SiemensProtocol:
    """Return the research pCASL with several delays.

    Parameters
    ----------
    delays
        Post-labelling delays, s.
    repeats
        Pairs per delay; without them the print holds neither repeats nor delays.
    series_number, series_description
        As the scanner numbers and names the series.
    """
    lines = {}
    if repeats:
        lines = {f"sWipMemBlock.alFree[{n}]": str(round(d * 1e6)) for n, d in enumerate(delays)}
        lines |= {f"sWipMemBlock.alFree[{n}]": str(r) for n, r in enumerate(repeats, start=6)}
        lines["sWipMemBlock.alFree[13]"] = ""
    return SiemensProtocol(
        post_labeling_delay=None,
        series_number=series_number,
        series_description=series_description,
        lines=lines,
    )


def pulsed(
    *,
    three_dimensional: bool = True,
    bolus: float = 0.7,
    inversion_time: float = 1.99,
    series_number: int = 11,
    series_description: str = "asl_3d_tra_iso",
    suppression: int = SUPPRESSED,
) -> SiemensProtocol:
    """Return the product PASL (FAIR), read out in 3D or in 2D.

    Parameters
    ----------
    three_dimensional
        GRASE instead of echo-planar slices.
    bolus, inversion_time
        TI1 and TI2, s.
    series_number, series_description
        As the scanner numbers and names the series.
    suppression
        Mode of the background suppression.
    """
    return SiemensProtocol(
        post_labeling_delay=None,
        repetition_time=3.6 if three_dimensional else 2.5,
        segments=6 if three_dimensional else 1,
        echo_time=0.03958 if three_dimensional else 0.011,
        series_number=series_number,
        series_description=series_description,
        sequence=rf"%SiemensSeq%\{'tgse' if three_dimensional else 'ep2d'}_pasl",
        sequence_name="tgse3d1_7544" if three_dimensional else "epfid2d1_64",
        acquisition_type="3D" if three_dimensional else "2D",
        inversion_times={0: bolus, 2: inversion_time},
        suppression=suppression,
    )


def protocol_print(protocol: SiemensProtocol, layout: Stack, count: int) -> str:
    """Return the protocol print, with the lines that converters read.

    Parameters
    ----------
    protocol
        What was set.
    layout
        Shape and place of the volumes.
    count
        Number of volumes.
    """
    lines: dict[str, str] = {
        "ulVersion": "51130001",
        "tSequenceFileName": f'""{protocol.sequence}""',
        "tProtocolName": f'""{protocol.name}""',
        "sProtConsistencyInfo.tBaselineString": '""N4_VE11C_LATEST_20160120""',
        "sProtConsistencyInfo.flNominalB0": f"{protocol.field_strength:.6f}",
        "lRepetitions": str(count - 1),
        "lContrasts": "1",
        "ucCoilCombineMode": "1",
        "alTR[0]": f"{protocol.repetition_time * 1e6:.0f}",
        **{f"alTI[{n}]": f"{t * 1e6:.0f}" for n, t in protocol.inversion_times.items()},
        "alTE[0]": f"{protocol.echo_time * 1e6:.0f}",
        **_geometry(layout, protocol.acquisition_type),
        "sFastImaging.lSegments": str(protocol.segments),
        "sFastImaging.lShots": "1",
        **_labelling(protocol),
        "sAsl.ulMode": str(protocol.mode),
        "sAsl.ulAveragingMode": "1",
        "sAsl.ulSuppressionMode": str(protocol.suppression),
        "sAsl.ulArrayLength": "1",
    }
    lines |= protocol.lines
    body = "".join(f"{key}\t = \t{value}\n" for key, value in lines.items() if value)
    begin = "### ASCCONV BEGIN object=MrProtDataImpl@MrProtocolData version=51130001 "
    converter = "converter=%MEASCONST%/ConverterList/Prot_Converter.txt ###\n"
    return (
        '<XProtocol> \n{\n  <Name> "PhoenixMetaProtocol" \n  <ID> 1000002 \n}\n'
        f"{begin}{converter}{body}### ASCCONV END ###\n"
    )


def _geometry(layout: Stack, acquisition_type: str) -> dict[str, str]:
    """Return the slab, or the slices, and the matrix."""
    slices, _rows, columns = layout.pixels.shape[1:]
    slab = acquisition_type == "3D"
    thickness = layout.spacing[2] * (slices if slab else 1)
    lines: dict[str, str] = {}
    for number in range(1 if slab else slices):
        lines |= _slice(f"sSliceArray.asSlice[{number}]", layout, thickness)
    return lines | {
        "sSliceArray.lSize": "1" if slab else str(slices),
        "sKSpace.dPhaseResolution": "0.854166666667",
        "sKSpace.lBaseResolution": str(columns),
        "sKSpace.lPhaseEncodingLines": "82",
        "sKSpace.lImagesPerSlab": str(slices if slab else 1),
        "sKSpace.ucDimension": "4" if slab else "2",
    }


def _slice(key: str, layout: Stack, thickness: float) -> dict[str, str]:
    rows, columns = layout.pixels.shape[2:]
    normal = layout.normal
    return {
        f"{key}.dThickness": f"{thickness:g}",
        f"{key}.dPhaseFOV": f"{rows * layout.spacing[1]:g}",
        f"{key}.dReadoutFOV": f"{columns * layout.spacing[0]:g}",
        f"{key}.sNormal.dSag": f"{normal[0]:.10g}",
        f"{key}.sNormal.dCor": f"{normal[1]:.10g}",
        f"{key}.sNormal.dTra": f"{normal[2]:.10g}",
    }


def _labelling(protocol: SiemensProtocol) -> dict[str, str]:
    """Return the sequence's own parameters, which is where the research labelling is."""
    if "pcasl" not in protocol.sequence:
        return {}
    delay = protocol.post_labeling_delay
    return {
        "sWipMemBlock.alFree[13]": "1",
        "sWipMemBlock.alFree[63]": "12345",
        "sWipMemBlock.adFree[1]": "90.0",
        "sWipMemBlock.adFree[2]": "" if delay is None else f"{delay * 1e6:.1f}",
        "sWipMemBlock.adFree[3]": f"{protocol.labeling_blocks:.1f}",
        "sWipMemBlock.adFree[4]": "360.0",
        "sWipMemBlock.adFree[10]": "6.0",
        "sWipMemBlock.adFree[11]": "100.0",
        "sWipMemBlock.adFree[12]": "850000.0",
    }
