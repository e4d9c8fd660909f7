"""Protection of CMP messages by a shared secret.

Two ways to make a key of it: PasswordBasedMac, which every CMP server knows, and PBMAC1, which
newer ones do. A message says how often its hash is iterated before it is known who sent it, so
that is bounded.

RFC 4210 §5.1.3.1 and RFC 4211 §4.4 (PasswordBasedMac), RFC 8018 §7.1 and RFC 9481 §6.1.2
(PBMAC1). Raises `UnreadableCmp` for algorithms that are not known or cost too much.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import ClassVar, Final

from asn1crypto import algos, core

from .cmp import UnreadableCmp

PASSWORD_BASED_MAC: Final = "1.2.840.113533.7.66.13"  # noqa: S105 - the name of a way
PBMAC1: Final = "1.2.840.113549.1.5.14"
SCHEMES: Final = (PASSWORD_BASED_MAC, PBMAC1)
ITERATIONS: Final = {PASSWORD_BASED_MAC: 10_000, PBMAC1: 100_000}
MOST_ITERATIONS: Final = {PASSWORD_BASED_MAC: 500_000, PBMAC1: 2_000_000}  # a second's work
_PBKDF2: Final = "1.2.840.113549.1.5.12"
_MACS: Final = {
    "1.3.6.1.5.5.8.1.2": "sha1",  # hmac-SHA1 as RFC 4210 names it
    "1.2.840.113549.2.7": "sha1",
    "1.2.840.113549.2.8": "sha224",
    "1.2.840.113549.2.9": "sha256",
    "1.2.840.113549.2.10": "sha384",
    "1.2.840.113549.2.11": "sha512",
}
_DIGESTS: Final = {
    "1.3.14.3.2.26": "sha1",
    "2.16.840.1.101.3.4.2.4": "sha224",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}
_HMAC_SHA256: Final = "1.2.840.113549.2.9"
_SHA256: Final = "2.16.840.1.101.3.4.2.1"
_LONGEST_KEY: Final = 1024  # octets
_MALFORMED: Final = (ValueError, TypeError, KeyError, IndexError, OverflowError)


class _PbmParameter(core.Sequence):  # type: ignore[misc]
    _fields: ClassVar = [
        ("salt", core.OctetString),
        ("owf", algos.AlgorithmIdentifier),
        ("iterations", core.Integer),
        ("mac", algos.AlgorithmIdentifier),
    ]


class _Pbkdf2(core.Sequence):  # type: ignore[misc]
    _fields: ClassVar = [
        ("salt", core.OctetString),
        ("iterations", core.Integer),
        ("key_length", core.Integer, {"optional": True}),
        ("prf", algos.AlgorithmIdentifier, {"optional": True}),
    ]


class _Pbmac1(core.Sequence):  # type: ignore[misc]
    _fields: ClassVar = [("kdf", algos.AlgorithmIdentifier), ("mac", algos.AlgorithmIdentifier)]


class MacProtector:
    """Protects by a shared secret, with a new salt for every message."""

    def __init__(self, secret: bytes, scheme: str = PASSWORD_BASED_MAC) -> None:
        self._secret = secret
        salt, iterations = secrets.token_bytes(16), ITERATIONS[scheme]
        inside = (
            _pbm(salt, iterations)
            if scheme == PASSWORD_BASED_MAC
            else _pbmac1(salt, iterations)
        )
        self.algorithm = _algorithm(scheme, inside)

    def __repr__(self) -> str:
        return "<MacProtector>"

    def protect(self, data: bytes) -> bytes:
        """The MAC of these bytes."""
        return _mac(self._secret, self.algorithm, data)


def is_mac(algorithm: bytes) -> bool:
    """Whether something is protected by a shared secret."""
    try:
        return algos.AlgorithmIdentifier.load(algorithm)["algorithm"].dotted in SCHEMES
    except _MALFORMED:
        return False


def mac_verifies(secret: bytes, algorithm: bytes, data: bytes, mac: bytes) -> bool:
    """Whether somebody with the secret protected these bytes. Takes up to a second. Raises
    `UnreadableCmp`."""
    return hmac.compare_digest(_mac(secret, algorithm, data), mac)


def _mac(secret: bytes, algorithm: bytes, data: bytes) -> bytes:
    try:
        parsed = algos.AlgorithmIdentifier.load(algorithm)
        scheme, inside = parsed["algorithm"].dotted, parsed["parameters"]
        if scheme == PASSWORD_BASED_MAC:
            key, digest = _pbm_key(secret, inside.parse(_PbmParameter))
        elif scheme == PBMAC1:
            key, digest = _pbmac1_key(secret, inside.parse(_Pbmac1))
        else:
            raise UnreadableCmp("protected in a way that is not known")
    except UnreadableCmp:
        raise
    except _MALFORMED:
        raise UnreadableCmp("the parameters of its protection are damaged") from None
    return hmac.digest(key, data, digest)


def _pbm_key(secret: bytes, given: _PbmParameter) -> tuple[bytes, str]:
    digest = _known(_DIGESTS, given["owf"])
    key = secret + given["salt"].native
    for _ in range(_bounded(given["iterations"].native, PASSWORD_BASED_MAC)):
        key = hashlib.new(digest, key).digest()
    return key, _known(_MACS, given["mac"])


def _pbmac1_key(secret: bytes, given: _Pbmac1) -> tuple[bytes, str]:
    if given["kdf"]["algorithm"].dotted != _PBKDF2:
        raise UnreadableCmp("protected in a way that is not known")
    kdf = given["kdf"]["parameters"].parse(_Pbkdf2)
    digest = _known(_MACS, given["mac"])
    prf = kdf["prf"]
    by = "sha1" if isinstance(prf, core.Void) else _known(_MACS, prf)
    iterations = _bounded(kdf["iterations"].native, PBMAC1)
    length = kdf["key_length"].native or hashlib.new(digest).digest_size
    if not 0 < length <= _LONGEST_KEY:
        raise UnreadableCmp("the key of its protection has an odd length")
    return hashlib.pbkdf2_hmac(by, secret, kdf["salt"].native, iterations, length), digest


def _bounded(iterations: int, scheme: str) -> int:
    if not 0 < iterations <= MOST_ITERATIONS[scheme]:
        raise UnreadableCmp("its protection takes too much work")
    return iterations


def _known(table: dict[str, str], algorithm: algos.AlgorithmIdentifier) -> str:
    try:
        return table[algorithm["algorithm"].dotted]
    except KeyError:
        raise UnreadableCmp("protected in a way that is not known") from None


def _pbm(salt: bytes, iterations: int) -> core.Sequence:
    return _PbmParameter(
        {
            "salt": salt,
            "owf": {"algorithm": _SHA256},
            "iterations": iterations,
            "mac": {"algorithm": _HMAC_SHA256},
        }
    )


def _pbmac1(salt: bytes, iterations: int) -> core.Sequence:
    prf = {"algorithm": _HMAC_SHA256, "parameters": core.Null()}
    kdf = _Pbkdf2({"salt": salt, "iterations": iterations, "key_length": 32, "prf": prf})
    return _Pbmac1({"kdf": {"algorithm": _PBKDF2, "parameters": kdf}, "mac": prf})


def _algorithm(scheme: str, inside: core.Sequence) -> bytes:
    found = algos.AlgorithmIdentifier({"algorithm": scheme, "parameters": inside})
    return bytes(found.dump())
