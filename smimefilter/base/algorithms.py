"""Names of the algorithms a policy may ask for; `policy/` offers them, `cms/` carries them out.

RFC 8551 §2 (what S/MIME agents support), RFC 5652, RFC 5083, RFC 8017.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


class SignatureAlgorithm(StrEnum):
    """Digest, and for RSA keys the padding; EC and Ed25519 keys sign in their own way."""

    SHA256 = "sha256"
    SHA384 = "sha384"
    SHA512 = "sha512"
    SHA256_PSS = "sha256-pss"
    SHA384_PSS = "sha384-pss"
    SHA512_PSS = "sha512-pss"


class ContentCipher(StrEnum):
    """The content encryption algorithm."""

    AES_128_CBC = "aes-128-cbc"
    AES_192_CBC = "aes-192-cbc"
    AES_256_CBC = "aes-256-cbc"
    AES_128_GCM = "aes-128-gcm"
    AES_256_GCM = "aes-256-gcm"


class KeyTransport(StrEnum):
    """How the content key reaches an RSA recipient; EC recipients use ECDH always."""

    PKCS1 = "pkcs1"
    OAEP = "oaep"


class Capabilities(NamedTuple):
    """What a mail program says it reads."""

    ciphers: tuple[ContentCipher, ...] = ()  # the one it likes best first
    oaep: bool = False

    def __str__(self) -> str:
        return " ".join([*self.ciphers, *(["oaep"] if self.oaep else [])])

    @classmethod
    def of(cls, text: str) -> Capabilities:
        """From the text form; words that are not known are passed over."""
        words = text.split()
        known = {str(cipher): cipher for cipher in ContentCipher}
        return cls(tuple(known[word] for word in words if word in known), "oaep" in words)

    @property
    def best(self) -> ContentCipher | None:
        """The strongest cipher that it reads; None where there is none of ours."""
        return next((cipher for cipher in _STRONGEST_FIRST if cipher in self.ciphers), None)


_STRONGEST_FIRST: Final = (
    ContentCipher.AES_256_GCM, ContentCipher.AES_256_CBC, ContentCipher.AES_128_GCM,
    ContentCipher.AES_192_CBC, ContentCipher.AES_128_CBC,
)  # fmt: skip
