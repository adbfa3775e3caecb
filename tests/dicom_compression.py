"""DICOM files rewritten in other transfer syntaxes, without loss."""

import io
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    RLELossless,
)

# Category 16 is the difference of 32768 alone, which has no bits of its own.
_CATEGORIES = 17
_CODE_BITS = 5


def _implicit(image: Dataset) -> None:
    image.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian


def _deflated(image: Dataset) -> None:
    image.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian


def _big_endian(image: Dataset) -> None:
    image.PixelData = np.frombuffer(image.PixelData, "<u2").astype(">u2").tobytes()
    image.file_meta.TransferSyntaxUID = ExplicitVRBigEndian


def _run_length(image: Dataset) -> None:
    image.compress(RLELossless, generate_instance_uid=False)


def _jpeg_2000(image: Dataset) -> None:
    sink = io.BytesIO()
    # Without a file's boxes: DICOM holds the codestream alone.
    Image.fromarray(_pixels(image)).save(sink, "JPEG2000", irreversible=False, no_jp2=True)
    _encapsulate(image, sink.getvalue(), JPEG2000Lossless)


def _jpeg_lossless(image: Dataset) -> None:
    _encapsulate(image, jpeg_lossless(_pixels(image)), JPEGLosslessSV1)


def _pixels(image: Dataset) -> NDArray[np.uint16]:
    return np.frombuffer(image.PixelData, "<u2").reshape(image.Rows, image.Columns)


def _encapsulate(image: Dataset, frame: bytes, syntax: str) -> None:
    image.PixelData = encapsulate([frame])
    image["PixelData"].VR = "OB"
    image["PixelData"].is_undefined_length = True
    image.file_meta.TransferSyntaxUID = syntax


SYNTAXES: dict[str, Callable[[Dataset], None]] = {
    "implicit": _implicit,
    "big endian": _big_endian,
    "deflated": _deflated,
    "run length": _run_length,
    "JPEG lossless": _jpeg_lossless,
    "JPEG 2000": _jpeg_2000,
}


def rewrite(folder: Path, syntax: str) -> None:
    """Write every DICOM file below `folder` once more, in one of `SYNTAXES`."""
    for path in sorted(folder.rglob("*.*")):
        image = _without_past(dcmread(path))
        SYNTAXES[syntax](image)
        image.save_as(path, enforce_file_format=True)


def _without_past(image: Dataset) -> Dataset:
    """Return a data set that does not remember how it was written: pydicom would insist on it."""
    # Elements are parsed when they are looked at.
    fresh = Dataset({element.tag: element for element in image})
    fresh.file_meta = image.file_meta
    return fresh


def append_zeros(path: Path, size: int) -> None:
    """Let a deflated file end with a private element of `size` zeros: small until unpacked."""
    content = path.read_bytes()
    # The length of the first group is not compressed, and neither is the group.
    start = 144 + int.from_bytes(content[140:144], "little")
    squeeze = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    tail = b"\xe1\x7f\x11\x00OB\0\0" + size.to_bytes(4, "little")
    packed = [squeeze.compress(zlib.decompress(content[start:], -zlib.MAX_WBITS) + tail)]
    packed += [squeeze.compress(bytes(1 << 20)) for _ in range(size >> 20)]
    path.write_bytes(b"".join((content[:start], *packed, squeeze.flush())))


def jpeg_lossless(pixels: NDArray[np.uint16]) -> bytes:
    """Encode ``(rows, columns)`` as lossless JPEG of 16 bits, each pixel predicted by its left.

    Every category of differences has a code of equal length: nothing is gained, nothing lost.
    """
    rows, columns = pixels.shape
    values = pixels.astype(np.int64)
    predicted = np.roll(values, 1, axis=1)
    predicted[1:, 0], predicted[0, 0] = values[:-1, 0], 1 << 15
    bits = "".join(_code(int(one)) for one in (values - predicted).ravel())
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\x00")
    counts = bytes(_CATEGORIES * (length == _CODE_BITS) for length in range(1, 17))
    return b"".join(
        (
            b"\xff\xd8",
            _segment(0xC3, bytes((16, *divmod(rows, 256), *divmod(columns, 256), 1, 1, 0x11, 0))),
            _segment(0xC4, b"\0" + counts + bytes(range(_CATEGORIES))),
            _segment(0xDA, bytes((1, 1, 0, 1, 0, 0))),
            scan,
            b"\xff\xd9",
        )
    )


def _segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2, "big") + content


def _code(difference: int) -> str:
    wrapped = (difference + 32767) % 65536 - 32767
    category = abs(wrapped).bit_length()
    code = f"{category:0{_CODE_BITS}b}"
    if category in (0, 16):
        return code
    value = wrapped if wrapped > 0 else wrapped + (1 << category) - 1
    return code + f"{value:0{category}b}"


# -- what dcm2niix cannot decode -----------------------------------------------------------------

_UNDECODABLE = {
    "extended": "1.2.840.10008.1.2.4.51",
    "high throughput": "1.2.840.10008.1.2.4.201",
    "broken": "1.2.840.10008.1.2.4.80",
    "private": "1.2.3.4",
}


def damage(folder: Path, how: str) -> None:
    """Give every DICOM file of `folder` pixels that nobody can decode, compressed as it says."""
    for path in sorted(folder.iterdir()):
        image = dcmread(path)
        _encapsulate(image, b"\xff\xd8\xff\xf7" + bytes(200), UID(_UNDECODABLE[how]))
        image.save_as(path, implicit_vr=False, little_endian=True)
