"""The protocol of the Siemens sequence, and its print inside the private series header."""

from dataclasses import dataclass

from cereflow_bids.demo.writers.dicom import Stack

BLOCK_SECONDS = 0.0184


@dataclass(frozen=True)
class SiemensProtocol:
    """What the operator set; times in seconds."""

    post_labeling_delay: float = 1.8
    labeling_blocks: int = 90
    repetition_time: float = 3.48
    segments: int = 4
    echo_time: float = 0.02822
    field_strength: float = 3.0
    series_number: int = 15
    series_description: str = "pcasl_3d"
    sequence: str = r"%CustomerSeq%\tgse_pcasl_ve11c"

    @property
    def labeling_duration(self) -> float:
        """Labelling duration, s."""
        return self.labeling_blocks * BLOCK_SECONDS


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
        "tProtocolName": f'""{protocol.series_description}""',
        "sProtConsistencyInfo.tBaselineString": '""N4_VE11C_LATEST_20160120""',
        "sProtConsistencyInfo.flNominalB0": f"{protocol.field_strength:.6f}",
        "lRepetitions": str(count - 1),
        "lContrasts": "1",
        "ucCoilCombineMode": "1",
        "alTR[0]": f"{protocol.repetition_time * 1e6:.0f}",
        # Left over from the pulsed product protocol; meaningless for this sequence.
        "alTI[0]": "700000",
        "alTI[2]": "1800000",
        "alTE[0]": f"{protocol.echo_time * 1e6:.0f}",
        **_geometry(layout),
        "sFastImaging.lSegments": str(protocol.segments),
        "sFastImaging.lShots": "1",
        **_labelling(protocol),
        "sAsl.ulMode": "4",
        "sAsl.ulAveragingMode": "1",
        "sAsl.ulSuppressionMode": "2",
        "sAsl.ulArrayLength": "1",
    }
    body = "".join(f"{key}\t = \t{value}\n" for key, value in lines.items())
    begin = "### ASCCONV BEGIN object=MrProtDataImpl@MrProtocolData version=51130001 "
    converter = "converter=%MEASCONST%/ConverterList/Prot_Converter.txt ###\n"
    return (
        '<XProtocol> \n{\n  <Name> "PhoenixMetaProtocol" \n  <ID> 1000002 \n}\n'
        f"{begin}{converter}{body}### ASCCONV END ###\n"
    )


def _geometry(layout: Stack) -> dict[str, str]:
    """Return the slab and the matrix."""
    slices, rows, columns = layout.pixels.shape[1:]
    normal = layout.normal
    return {
        "sSliceArray.asSlice[0].dThickness": f"{slices * layout.spacing[2]:g}",
        "sSliceArray.asSlice[0].dPhaseFOV": f"{rows * layout.spacing[1]:g}",
        "sSliceArray.asSlice[0].dReadoutFOV": f"{columns * layout.spacing[0]:g}",
        "sSliceArray.asSlice[0].sNormal.dSag": f"{normal[0]:.10g}",
        "sSliceArray.asSlice[0].sNormal.dCor": f"{normal[1]:.10g}",
        "sSliceArray.asSlice[0].sNormal.dTra": f"{normal[2]:.10g}",
        "sSliceArray.lSize": "1",
        "sKSpace.dPhaseResolution": "0.854166666667",
        "sKSpace.lBaseResolution": str(columns),
        "sKSpace.lPhaseEncodingLines": "82",
        "sKSpace.lImagesPerSlab": str(slices),
        "sKSpace.ucDimension": "4",
    }


def _labelling(protocol: SiemensProtocol) -> dict[str, str]:
    """Return the sequence's own parameters, which is where the labelling is."""
    return {
        "sWipMemBlock.alFree[13]": "1",
        "sWipMemBlock.alFree[63]": "12345",
        "sWipMemBlock.adFree[1]": "90.0",
        "sWipMemBlock.adFree[2]": f"{protocol.post_labeling_delay * 1e6:.1f}",
        "sWipMemBlock.adFree[3]": f"{protocol.labeling_blocks:.1f}",
        "sWipMemBlock.adFree[4]": "360.0",
        "sWipMemBlock.adFree[10]": "6.0",
        "sWipMemBlock.adFree[11]": "100.0",
        "sWipMemBlock.adFree[12]": "850000.0",
    }
