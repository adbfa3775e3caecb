"""Compressed DICOM: what would fill the memory, and what dcm2niix cannot decode."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from cereflow_bids.errors import InputError

if TYPE_CHECKING:
    from cereflow_bids.intake.headers.series import Series

DEFLATED = "1.2.840.10008.1.2.1.99"
# Forms that dcm2niix reads, the last once it is inflated; GE's own has another byte order.
PLAIN = {
    None,
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.113619.5.2",
    DEFLATED,
}
# The transfer syntax stands in the first elements, behind a preamble of 128 bytes.
_HEAD = 1024
_CHUNK = 1 << 20
# An enhanced series of thousands of frames is smaller; pydicom holds all of it in memory.
_LARGEST = 1 << 30


def refuse_bomb(source: BinaryIO, where: str) -> None:
    """Raise if a file that is compressed as a whole unpacks to more than any image needs.

    pydicom unpacks such a file at once, in memory, even if only its header is wanted.

    Parameters
    ----------
    source
        The file, at its beginning, to which it is brought back.
    where
        What messages call it by.
    """
    head = source.read(_HEAD)
    deflated = head[128:132] == b"DICM" and DEFLATED.encode() in head
    if deflated and _inflated_size(head, source) > _LARGEST:
        raise InputError(
            f"A compressed DICOM file unpacks to more than {_LARGEST >> 20} megabytes.",
            where=where,
            fix="do not use this file; no scanner writes such images.",
        )
    source.seek(0)


def _inflated_size(head: bytes, source: BinaryIO) -> int:
    """Return how much the rest of a file inflates to, counted no further than is of interest."""
    # The length of the group that comes before the compressed part: (0002,0000), UL.
    source.seek(144 + int.from_bytes(head[140:144], "little"))
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    size = 0
    while size <= _LARGEST and not inflate.eof:
        chunk = inflate.unconsumed_tail or source.read(_CHUNK)
        if not chunk:
            break
        size += len(inflate.decompress(chunk, _CHUNK))
    return size


def refuse_undecodable(lost: Sequence[Series]) -> None:
    """Name the compression of images that could not be converted, if there is any."""
    packed = [one for one in lost if syntax(one) not in PLAIN]
    if packed:
        syntaxes = {one.name for one in map(syntax, packed) if not one.is_private}
        listed = ", ".join(sorted(syntaxes)) or "in a way that DICOM does not know"
        raise InputError(
            f"The images are compressed ({listed}), and dcm2niix could not decode them.",
            where=", ".join(f"series {series.number}" for series in packed),
            fix="export them uncompressed, or decompress them first (dcmdjpeg, gdcmconv --raw).",
        )


def syntax(series: Series) -> Any:
    """Return the transfer syntax of a series' first image, or None if it is not written."""
    return series.header.file_meta.get("TransferSyntaxUID")
