"""The S/MIME wrappings of an entity: multipart/signed and application/pkcs7-mime.

Each takes an entity apart from its CMS and gives the entity that replaces it. The forms are
those that mail programs of any age read: `smime-type`, `protocol`, `micalg`, and the names
`smime.p7m` and `smime.p7s` for those that go by file names.

Leaves CMS to `cms/`, canonical and 7-bit form to `entity.py` and `clear.py`. RFC 8551 §3.2 to
§3.5, RFC 1847 §2.1. Raises `ValueError` for a boundary token that is no safe one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from .entity import Entity
from .lines import base64_lines
from .wire import Chunk

# Some 100 random bits: what was written before they were drawn does not hold them.
_TOKEN: Final = re.compile(r"[0-9A-Za-z]{22,50}")
_MIME: Final = """\
Content-Type: application/pkcs7-mime; smime-type={kind};\r
 name="smime.p7m"\r
Content-Transfer-Encoding: base64\r
Content-Disposition: attachment; filename="smime.p7m"\r
"""
_SIGNED: Final = """\
Content-Type: multipart/signed; protocol="application/pkcs7-signature";\r
 micalg={micalg}; boundary="{boundary}"\r
"""
_PREAMBLE: Final = "This is an S/MIME signed message.\r\n\r\n--{boundary}\r\n"
_SIGNATURE: Final = """\
\r
--{boundary}\r
Content-Type: application/pkcs7-signature; name="smime.p7s"\r
Content-Transfer-Encoding: base64\r
Content-Disposition: attachment; filename="smime.p7s"\r
Content-Description: S/MIME cryptographic signature\r
\r
"""


class SmimeType(StrEnum):
    """The `smime-type` of an application/pkcs7-mime entity."""

    SIGNED = "signed-data"
    ENVELOPED = "enveloped-data"
    AUTH_ENVELOPED = "authEnveloped-data"


_HEADERS: Final = {kind: _MIME.format(kind=kind).encode() for kind in SmimeType}


def pkcs7_mime(kind: SmimeType, der: Iterable[Chunk]) -> Entity:
    """CMS that carries its content: encrypted, or signed opaquely. `der` is read once."""
    return Entity(_HEADERS[kind], list(base64_lines(der)))


def multipart_signed(entity: Entity, signature: bytes, micalg: str, token: str) -> Entity:
    """A clear-signed entity. `entity` is what was signed, byte for byte; `signature` the DER
    of the detached CMS; `token` 22 or more random letters and digits, new for each message."""
    boundary = boundary_of(token)
    header = _SIGNED.format(micalg=micalg, boundary=boundary).encode()
    before = _PREAMBLE.format(boundary=boundary).encode()
    after = _SIGNATURE.format(boundary=boundary).encode()
    end = f"--{boundary}--\r\n".encode()
    body = (before, *entity.chunks, after, *base64_lines((signature,)), end)
    return Entity(header, body)


def boundary_of(token: str) -> str:
    """A boundary for parts that were written before `token` was drawn."""
    if not _TOKEN.fullmatch(token):
        raise ValueError("a boundary needs a random token of 22 to 50 letters and digits")
    return f"=_{token}"  # "=_" stands in neither base64 nor quoted-printable
