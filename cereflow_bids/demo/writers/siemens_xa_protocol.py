"""The protocol of a Siemens XA product sequence, and its print in (0021,1019)."""

from dataclasses import dataclass, replace

from cereflow_bids.demo.writers.dicom import Stack
from cereflow_bids.demo.writers.siemens_protocol import (
    FAIR,
    NOT_SUPPRESSED,
    PSEUDO_CONTINUOUS,
    SiemensProtocol,
    protocol_print,
)

_DELAYS_IN_PRINT = 64


@dataclass(frozen=True)
class XaProtocol:
    """What was set at the console; times in seconds.

    Attributes
    ----------
    delays
        Post-labelling delays; several for the product with several delays.
    contrast
        (0018,9250).
    first_number
        Number of the series, or of the first of them.
    number_step
        Between the series of volumes in the interoperability export; 0 gives all one number.
    """

    labeling_duration: float = 1.8
    delays: tuple[float, ...] = (1.8,)
    contrast: str = "PSEUDOCONTINUOUS"
    acquisition_type: str = "2D"
    first_number: int = 25
    number_step: int = 1
    series_description: str = "asl_2d_tra"
    protocol_name: str = "asl_2d_tra"
    sequence: str = r"%SiemensSeq%\ep2d_asl"
    repetition_time: float = 4.8
    suppression: int = NOT_SUPPRESSED
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "ASL", "NONE")

    def printed(self) -> SiemensProtocol:
        """Return what goes into the protocol print."""
        pulsed = self.contrast == "PULSED"
        lines = {}
        if not pulsed:
            padded = [*self.delays, *[self.delays[-1]] * _DELAYS_IN_PRINT][:_DELAYS_IN_PRINT]
            lines = {
                "sAsl.ulLabelingDuration": f"{self.labeling_duration * 1e6:.0f}",
                "sAsl.ulDelayArraySize": str(len(self.delays)),
                **{
                    f"sAsl.sPostLabelingDelay[{n}]": f"{delay * 1e6:.0f}"
                    for n, delay in enumerate(padded)
                },
            }
        return SiemensProtocol(
            post_labeling_delay=None,
            repetition_time=self.repetition_time,
            segments=1,
            echo_time=0.011,
            series_description=self.series_description,
            protocol_name=self.protocol_name,
            sequence=self.sequence,
            acquisition_type=self.acquisition_type,
            inversion_times={0: 0.7, 2: self.delays[0]},
            mode=FAIR if pulsed else PSEUDO_CONTINUOUS,
            suppression=self.suppression,
            lines=lines,
        )


def print_bytes(protocol: XaProtocol, layout: Stack, count: int) -> bytes:
    """Return the protocol print of `count` volumes, as (0021,1019) holds it."""
    text = protocol_print(protocol.printed(), layout, count).encode("latin-1")
    return text + b"\0" * (len(text) % 2)


def product(protocol: XaProtocol, number: int, description: str, kind: str) -> XaProtocol:
    """Return the protocol of a map that the scanner computed from this acquisition.

    Parameters
    ----------
    protocol
        Of the acquisition, whose protocol name the map keeps.
    number, description
        Of the map's series.
    kind
        Fourth part of its image type, such as ``"SUBTRACTION"`` or ``"RCBF"``.
    """
    return replace(
        protocol,
        first_number=number,
        series_description=description,
        image_type=("DERIVED", "PRIMARY", "ASL", kind),
    )
