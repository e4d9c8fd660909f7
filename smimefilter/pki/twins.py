"""Other forms of the very same certificate, that anybody can make without a key.

The signature of a certificate lies outside what it covers. One of ECDSA, (r, s), holds as
(r, n - s) as well, so that a certificate has a second form with a thumbprint of its own; what
strikes out one form has to strike out the other. With other changes
of form no signature holds (`trust/link.py`).

SEC 1 §4.1.4. Raises nothing: what cannot be read has no other form.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha512
from typing import Final

from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from . import tlv

_ECDSA: Final = bytes.fromhex("06072a8648ce3d04")  # how the OID of ECDSA with a hash begins
_ECDSA_SHA2: Final = bytes.fromhex("06082a8648ce3d0403")

# The orders of the curves, by which curve the key of the issuer is on (SEC 2, RFC 5639).
_ORDERS: Final = tuple(
    int(order, 16)
    for order in [
        "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
        "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
        "1fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
        "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
        "a9fb57dba1eea9bc3e660a909d838d718c397aa3b561a6f7901e0e82974856a7",
        "8cb91e82a3386d280f5d6f7e50e641df152f7109ed5456b31f166e6cac0425a7cf3ab6af6b7fc3103b883202e9046565",
        "aadd9db8dbe9c48b3fd4e6ae33c9fc07cb308db3b3c9d20ed6639cca70330870553e5c414ca92619418661197fac10471db1d381085ddaddb58796829ca90069",
        "ffffffffffffffffffffffff99def836146bc9b1b4d22831",
        "ffffffffffffffffffffffffffff16a2e0b8f03e13dd29455c5c2a3d",
    ]
)


def twins_of(certificate: bytes) -> Iterator[str]:
    """Thumbprints of the forms that it has with the other signature, one for each curve that
    its issuer's key could be on. None where it is not signed with ECDSA."""
    try:
        start, end = tlv.whole(certificate, tlv.SEQUENCE)
        frame = tlv.Cursor(certificate, start, end)
        frame.take(tlv.SEQUENCE)
        algorithm, _ = frame.take(tlv.SEQUENCE)
        if not certificate.startswith((_ECDSA, _ECDSA_SHA2), algorithm):
            return
        before = certificate[start : frame.position]
        at, stop = frame.take(tlv.BIT_STRING)
        r, s = decode_dss_signature(certificate[at + 1 : stop])
    except ValueError:
        return
    for order in _ORDERS:
        if 0 < r < order and 0 < s < order:
            signature = b"\0" + encode_dss_signature(r, order - s)
            content = before + tlv.written(tlv.BIT_STRING, signature)
            yield sha512(tlv.written(tlv.SEQUENCE, content)).hexdigest()
