"""What a correspondent's mail program says it reads: SMIMECapabilities of a signature.

Only what this gateway could use is kept: ciphers of content, and OAEP. RFC 8551 §2.5.2, RFC
4055 §4 (OAEP). Raises nothing: what cannot be read says nothing.
"""

from __future__ import annotations

from typing import Final

from smimefilter.base.algorithms import Capabilities

from . import ber, der
from .algorithms import CONTENT

MOST: Final = 64

_CIPHERS: Final = {content.oid: cipher for cipher, content in CONTENT.items()}
_OAEP: Final = der.oid("1.2.840.113549.1.1.7")


def read_capabilities(value: bytes) -> Capabilities:
    """The capabilities in the value of an attribute, in the order of preference."""
    found = Capabilities()
    try:
        fields = ber.Fields(memoryview(value), ber.Effort(4 * MOST)).inside(ber.SEQUENCE)
        for one in fields.rest(ber.SEQUENCE):
            kind = fields.of(one).take(ber.OID).der
            if kind == _OAEP:
                found = Capabilities(found.ciphers, oaep=True)
            elif kind in _CIPHERS and _CIPHERS[kind] not in found.ciphers:
                found = Capabilities((*found.ciphers, _CIPHERS[kind]), found.oaep)
    except ber.BadCms:
        pass  # as far as it could be read
    return found
