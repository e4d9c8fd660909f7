"""Compressed CMS, read up to a limit. RFC 3274 §1.1. Raises `BadCms`, `TooLarge`."""

from __future__ import annotations

import zlib
from typing import Final

from . import der
from .algorithms import COMPRESSED_DATA
from .ber import INTEGER, OCTET_STRING, OID, SEQUENCE, BadCms, Effort, octets, only
from .signed import read_algorithm

_ZLIB: Final = der.oid("1.2.840.113549.1.9.16.3.8")
_CONTEXT_0: Final = 0xA0


class TooLarge(BadCms):
    """It grows beyond the limit."""


def decompress(body: memoryview, effort: Effort, most: int) -> bytes:
    """The content that a ContentInfo holds compressed; `most` bytes of it at the most."""
    info = only(body, SEQUENCE, effort)
    if info.take(OID).der != COMPRESSED_DATA:
        raise BadCms("not compressed")
    data = info.inside(_CONTEXT_0).inside(SEQUENCE)
    data.take(INTEGER)
    if read_algorithm(data).oid != _ZLIB:
        raise BadCms("compressed in an unknown way")
    encapsulated = data.inside(SEQUENCE)
    encapsulated.take(OID)
    chunks = octets(
        encapsulated.inside(_CONTEXT_0).take(OCTET_STRING, OCTET_STRING | 0x20), effort
    )
    return _inflated(b"".join(chunks), most)


def _inflated(data: bytes, most: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        found = inflater.decompress(data, most + 1)
    except zlib.error:
        raise BadCms("compressed content that is broken") from None
    if len(found) > most:
        raise TooLarge("compressed content that grows beyond the limit")
    if not inflater.eof:
        raise BadCms("compressed content that is cut off")
    return found
