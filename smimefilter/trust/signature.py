"""Whether a key made a signature, for certificates and CRLs alike.

Everything that is not a plain yes is a no: another kind of key, an algorithm unknown here, a
malformed signature. RFC 4055, RFC 5758, RFC 8410.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, cast

from asn1crypto import algos
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

_HASHES: Final[dict[str, type[hashes.HashAlgorithm]]] = {
    "md5": hashes.MD5,
    "sha1": hashes.SHA1,
    "sha224": hashes.SHA224,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}


@dataclass(frozen=True, slots=True)
class Scheme:
    """How a signature was made: by what kind of key, over which hash, padded how."""

    kind: str  # "rsa", "ec", "dsa", "ed25519", "ed448"
    digest: hashes.HashAlgorithm | None
    padding: padding.AsymmetricPadding | None = None

    @property
    def digest_name(self) -> str:
        """`sha256`, or an empty text where the algorithm fixes it."""
        return self.digest.name if self.digest else ""


@lru_cache(maxsize=256)
def scheme_of(algorithm: bytes) -> Scheme | None:
    """How something is signed, from its AlgorithmIdentifier, DER; None when unknown here."""
    try:
        parsed = algos.SignedDigestAlgorithm.load(algorithm, strict=True)
        match parsed.signature_algo:
            case "rsassa_pkcs1v15":
                return Scheme("rsa", _HASHES[parsed.hash_algo](), padding.PKCS1v15())
            case "rsassa_pss":
                return _pss(parsed["parameters"])
            case "ecdsa":
                return Scheme("ec", _HASHES[parsed.hash_algo]())
            case "dsa":
                return Scheme("dsa", _HASHES[parsed.hash_algo]())
            case "ed25519" | "ed448" as kind:
                return Scheme(kind, None)
            case _:
                return None
    except (ValueError, TypeError, KeyError):
        return None


def verifies(
    key: CertificatePublicKeyTypes, scheme: Scheme, signature: bytes, signed: bytes | memoryview
) -> bool:
    """Whether `key` signed these bytes, by this scheme."""
    data = cast("bytes", signed)  # any buffer does; not every key's annotation says so
    try:
        match key, scheme:
            case rsa.RSAPublicKey(), Scheme("rsa", hashes.HashAlgorithm() as digest, pad) if (
                pad
            ):
                key.verify(signature, data, pad, digest)
            case ec.EllipticCurvePublicKey(), Scheme("ec", hashes.HashAlgorithm() as digest):
                key.verify(signature, data, ec.ECDSA(digest))
            case dsa.DSAPublicKey(), Scheme("dsa", hashes.HashAlgorithm() as digest):
                key.verify(signature, data, digest)
            case ed25519.Ed25519PublicKey(), Scheme("ed25519"):
                key.verify(signature, data)
            case ed448.Ed448PublicKey(), Scheme("ed448"):
                key.verify(signature, data)
            case _:
                return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def _pss(parameters: algos.RSASSAPSSParams) -> Scheme:
    digest = _HASHES[parameters["hash_algorithm"]["algorithm"].native]()
    mask = _HASHES[parameters["mask_gen_algorithm"]["parameters"]["algorithm"].native]()
    salt = parameters["salt_length"].native
    return Scheme("rsa", digest, padding.PSS(padding.MGF1(mask), salt))
